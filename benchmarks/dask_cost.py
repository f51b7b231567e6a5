"""
Time a map by one process and by two local Dask workers of one core each, in turn: what the cluster costs.

The net is a U-Net of about 1.9 million weights, the raster noise of 8192 × 4096 pixels with four bands, float32, tiled. Each
run is an engine of its own, from its start to the finished classes and confidence. The maps are compared, too.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

gdal.UseExceptions()
BANDS = ("a", "b", "c", "d")


def make_raster(path, width, height):
    """Write noise of four bands."""
    random = np.random.default_rng(0)
    options = ["TILED=YES", "BLOCKXSIZE=256", "BLOCKYSIZE=256"]
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), width, height, len(BANDS), gdal.GDT_Float32, options)
    dataset.SetGeoTransform((500000, 30, 0, 5500000, 0, -30))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32632)
    dataset.SetSpatialRef(reference)
    for number, name in enumerate(BANDS, start=1):
        dataset.GetRasterBand(number).SetDescription(name)
    for row in range(0, height, 256):
        rows = min(256, height - row)
        dataset.WriteArray(random.standard_normal((len(BANDS), rows, width), np.float32), 0, row)


def make_model(path):
    """Write a U-Net of about 1.9 million weights that nobody trained; return their number."""
    from geodl_qgis_plugin.engine.bands import Band
    from geodl_qgis_plugin.engine.classification.networks import Architecture
    from tests.engine.models import write_classifier

    unet = Architecture("unet", 4, 8, [0, 1, 2, 3], numbers={"widths": [32, 64, 128, 320]})
    model = write_classifier(path, unet, [Band(name) for name in BANDS], [f"class {i}" for i in range(8)])
    return sum(array.size for array in model.file.weights.values())


def timed(folder, scheduler):
    """Run an engine and return seconds by the clock and the processor."""
    out = folder / (scheduler.replace(":", "") or "alone")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    settings = {"model": str(folder / "m.geodl"), "predictors": [str(folder / "v.tif")], "scheduler": scheduler}
    settings |= {"output": str(out / "c.tif"), "confidence": str(out / "conf.tif")}
    (folder / "s.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "geodl_qgis_plugin.engine", "classifyraster", str(folder / "s.json")]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - started, os.times()
    if '"type": "result"' not in done.stdout:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, processor, [gdal.Open(str(out / name)).ReadAsArray() for name in ("c.tif", "conf.tif")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--height", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="geodl-dask-"))
    try:
        make_raster(folder / "v.tif", options.width, options.height)
        print(f"{make_model(folder / 'm.geodl'):,} weights, {options.width} × {options.height} pixels")
        ratios, maps = [], {}
        for _ in range(options.runs):
            seconds = {}
            for scheduler in ("", "local:2"):
                load = os.getloadavg()[0]
                wall, processor, maps[scheduler] = timed(folder, scheduler)
                seconds[scheduler] = wall
                name = scheduler or "one process"
                print(f"{name}: {wall:.1f} s by the clock, {processor:.1f} s of the processor, load before {load:.1f}")
            ratios.append(seconds["local:2"] / seconds[""])
        print(f"two workers / one process: {', '.join(f'{ratio:.3f}' for ratio in ratios)}")
        differ = [int((one != other).sum()) for one, other in zip(maps[""], maps["local:2"])]
        print(f"pixels with another class: {differ[0]}, with another confidence (in steps of 0.4 %): {differ[1]}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
