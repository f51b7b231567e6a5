"""
Score what Train classifier makes of real rasters, with default settings and seed 0, beside a random forest on the same split.

Needs the shared data beside the checkout (../shared/data, or --data); a set that is not there is left out. Each set's time
limit is that of the yardstick it is held against; --minutes sets another one for all. Test areas are seen at the
end of a run.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress

LAPLAND = {
    "predictors": ["geology_central_lapland/clb_predictors_100m.tif"],
    "labels": ["geology_central_lapland/clb_rockname_100m.tif"],
    "test_areas": "geology_central_lapland/test_areas.gpkg",
}
SETS = {
    "lapland": (LAPLAND, 20, "rock names, no buffer"),
    "lapland_buffer": ({**LAPLAND, "buffer": 1500}, 20, "rock names, buffer of 1,500 m"),
    "bigtujunga": (
        {
            "predictors": ["landform_geomorphon/bigtujunga_dem.tif"],
            "labels": ["landform_geomorphon/bigtujunga_dem_geomorphon_L15.tif"],
            "test_areas": "landform_geomorphon/bigtujunga_test_areas.gpkg",
        },
        15,
        "geomorphons",
    ),
    "landsat": (
        {
            "predictors": ["landcover_nc_landsat/lsat7_2000_6band.tif"],
            "labels": ["landcover_nc_landsat/landclass96_strata.tif"],
            "tile_size": 64,
        },
        3,
        "land cover, blocks",
    ),
}


class Messages(SilentProgress):
    """Prints what the job says, but not how far it is."""

    def message(self, text):
        """Print a message."""
        print(f"    {text}", flush=True)


def settings_of(given, data, output):
    """Return settings of Extract tiles with whole paths; None where a file is not there."""
    settings = {**given, "output": str(output), "seed": 0}
    for name in ("predictors", "labels"):
        settings[name] = [str(data / path) for path in given[name]]
    if "test_areas" in given:
        settings["test_areas"] = str(data / given["test_areas"])
    files = [*settings["predictors"], *settings["labels"], *filter(None, [settings.get("test_areas")])]
    return settings if all(Path(file).is_file() for file in files) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all if none is named")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--minutes", type=float, help="for training, instead of each set's own")
    parser.add_argument("--architecture", default="automatic")
    chosen = parser.parse_args()
    if unknown := set(chosen.sets) - set(SETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    rows = []
    for name in chosen.sets or SETS:
        given, minutes, title = SETS[name]
        with tempfile.TemporaryDirectory(prefix="geodl-") as folder:
            settings = settings_of(given, chosen.data, Path(folder) / "tiles")
            if settings is None:
                print(f"{name}: its files are not under {chosen.data}; left out.")
                continue
            run_job("extracttiles", settings, SilentProgress())
            train = {"tiles": settings["output"], "output": str(Path(folder) / "m.geodl"), "seed": 0}
            train |= {"minutes": chosen.minutes or minutes, "architecture": chosen.architecture}
            print(f"{name}:", flush=True)
            started = time.perf_counter()
            result = run_job("trainclassifier", train, Messages())
            rows.append((title, train["minutes"], time.perf_counter() - started, result))
    print(
        "| data | minutes | in all | majority | forest: accuracy, kappa, macro-F1 | GeoDL: accuracy, kappa, macro-F1 |"
    )
    print("|---|---|---|---|---|---|")
    for title, minutes, seconds, result in rows:
        forest, own = (
            ", ".join(f"{result[prefix + key]:.3f}" for key in ("accuracy", "kappa", "macro_f1"))
            for prefix in ("forest_", "")
        )
        print(f"| {title} | {minutes:g} | {seconds / 60:.1f} | {result['majority_accuracy']:.3f} | {forest} | {own} |")


if __name__ == "__main__":
    main()
