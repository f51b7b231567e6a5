"""
Maps that are killed (SIGKILL) at random moments, again and again, and then left to finish: are they the same bytes?

    python benchmarks/kill_map.py [--kills 10] [--seed 0] [--side 1500] [--folder FOLDER]

Two jobs, each in a process of its own as QGIS starts it: `classifyraster` with all of its outputs, and `classifyrasters` over
four sheets. Moments are drawn evenly over what an unbroken run takes. The polygons' features are compared, since a GeoPackage
holds the date at which it was made.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ENGINE = str(ROOT / "geodl_qgis_plugin" / "run_engine.py")


def prepare(folder, side):
    import numpy as np

    from geodl_qgis_plugin.engine.bands import Band
    from geodl_qgis_plugin.engine.classification.networks import choose_architecture
    from geodl_qgis_plugin.engine.rasters.grid import Grid
    from tests.engine.models import write_classifier
    from tests.engine.planted import reference, write_raster

    bands = [Band("one"), Band("other")]
    architecture = choose_architecture("unet", "each pixel", bands, 4, 64, {"widths": [16, 24, 32]})
    write_classifier(folder / "m.geodl", architecture, bands, list("abcd"))
    waves = np.sin(np.arange(side) / 19)[:, None] * np.cos(np.arange(side) / 31)
    values = (20 + 10 * waves + np.random.default_rng(0).normal(0, 0.5, (2, side, side))).astype(np.float32)
    values[:, 100:300, 200:500] = np.nan
    grid = Grid(reference(26912).ExportToWkt(), (318000, 30, 0, 4132000, 0, -30), side, side)
    write_raster(folder / "r.tif", values, grid, names=["one", "other"])
    (folder / "sheets").mkdir()
    half = side // 2
    for name, row, column in (("nw", 0, 0), ("ne", 0, half), ("sw", half, 0), ("se", half, half)):
        part = Grid(grid.crs, (318000 + 30 * column, 30, 0, 4132000 - 30 * row, 0, -30), half, half)
        sheet = np.ascontiguousarray(values[:, row : row + half, column : column + half])
        write_raster(folder / "sheets" / f"{name}.tif", sheet, part, names=["one", "other"])


def settings_of(job, folder, out):
    shared = {"model": str(folder / "m.geodl"), "min_area": 9000.0}
    names = ("confidence", "entropy", "probabilities")
    if job == "classifyrasters":
        wanted = dict.fromkeys((*names, "polygons"), True)
        return shared | wanted | {"folder": str(folder / "sheets"), "output": str(out)}
    wanted = {name: str(out / f"{name}.tif") for name in ("output", *names)}
    return shared | wanted | {"predictors": [str(folder / "r.tif")], "polygons": str(out / "polygons.gpkg")}


def contents(folder):
    """Return what a folder holds, by name: bytes, or the features of a GeoPackage."""
    from osgeo import ogr

    ogr.UseExceptions()
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".gpkg":
            source = ogr.Open(str(path))
            found[path.name] = [feature.ExportToJson() for feature in source.GetLayer(0)]
        else:
            found[path.name] = path.read_bytes() if path.is_file() else "a folder that was left behind"
    return found


def run(command, seconds=None):
    """Run to the end, or kill after so many seconds; return how long it took, and whether it was killed."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return time.perf_counter() - start, True
    if process.returncode:
        raise SystemExit(f"{command} failed")
    return time.perf_counter() - start, False


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--kills", type=int, default=10)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--side", type=int, default=1500)
    arguments.add_argument("--folder", type=Path)
    given = arguments.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    prepare(folder, given.side)
    generator = random.Random(given.seed)
    same = True
    for job in ("classifyraster", "classifyrasters"):
        results, seconds = {}, 0.0
        for name in ("unbroken", "broken"):
            out = folder / f"{job}-{name}"
            out.mkdir()
            file = folder / f"{job}-{name}.json"
            file.write_text(json.dumps(settings_of(job, folder, out)))
            command, killed = [sys.executable, "-E", ENGINE, job, str(file)], []
            while name == "broken" and len(killed) < given.kills:
                taken, was_killed = run(command, generator.uniform(0.1, 1.0) * seconds)
                if was_killed:
                    killed.append(taken)
                else:  # it had little left to do, or the machine is quicker now: what follows begins afresh
                    seconds = min(seconds, taken)
            seconds, _ = run(command)
            results[name] = contents(out)
        equal = results["unbroken"] == results["broken"]
        same &= equal
        moments = ", ".join(f"{moment:.1f}" for moment in killed)
        print(f"{job}: killed {len(killed)} times, after {moments} s; {'the same' if equal else 'OTHER'} bytes")
        for name in sorted(set(results["unbroken"]) | set(results["broken"])):
            if results["unbroken"].get(name) != results["broken"].get(name):
                print(f"  {name} differs")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
