"""
Score the automatic choice for tiles, beside a random forest, on data that lie beside the checkout.

    python benchmarks/tile_skill.py [DATA] [statlog] [nc]

Statlog's Landsat tiles (3 × 3 pixels, official split) and tiles of 32 pixels of North Carolina's land cover (blocks), all
settings as they are by default, seed 0. One line of JSON each: the scores on the test part, and what was tried.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from geodl_qgis_plugin.engine.environment import tune_memory, tune_threads

tune_threads()
tune_memory()

import lay_tiles

from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model


def statlog(data, folder):
    """Return the settings that cut the official tiles."""
    laid = lay_tiles.lay(data / "tiles_statlog_landsat" / "statlog_satellite_3x3x4.npz", folder)
    settings = {name.lower(): value for name, value in laid.items()}
    return settings | {name: [settings[name]] for name in ("predictors", "labels")}


def nc(data, folder):
    """Return the settings that cut tiles of 32 pixels."""
    source = data / "landcover_nc_landsat"
    return {
        "predictors": [str(source / "lsat7_2000_6band.tif")],
        "labels": [str(source / "landclass96_strata.tif")],
        "tile_size": 32,
    }


SETS = {"statlog": statlog, "nc": nc}


def main():
    """Cut, train, score."""
    given = [word for word in sys.argv[1:] if word not in SETS]
    data = Path(given[0]) if given else ROOT.parent / "shared" / "data"
    if not data.is_dir():
        sys.exit(f"There is no folder {data}. Give the one that holds the data.")
    for name in [word for word in sys.argv[1:] if word in SETS] or SETS:
        with tempfile.TemporaryDirectory(prefix="geodl-") as temporary:
            folder = Path(temporary)
            run_job("extracttiles", {**SETS[name](data, folder), "output": str(folder / "tiles")}, SilentProgress())
            started = time.monotonic()
            settings = {"tiles": str(folder / "tiles"), "output": str(folder / "m.geodl"), "task": "each tile"}
            result = run_job("trainclassifier", settings, SilentProgress())
            tried = read_model(folder / "m.geodl").part("classifier")["training"]["tried"]
        told = {key: value for key, value in result.items() if isinstance(value, float)}
        minutes = (time.monotonic() - started) / 60
        print(json.dumps({"data": name, **told, "minutes": round(minutes, 1), "tried": tried}), flush=True)


if __name__ == "__main__":
    main()
