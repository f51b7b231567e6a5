"""
Time how long Extract tiles takes for ten thousand tiles of 128 × 128 pixels with nine bands.

The raster is made up: noise in Float32, written tiled and uncompressed, with five classes in patches. One block in a hundred is
the test part. Printed are the wall clock, the processor time and the load before: on a shared machine the processor time says
more.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress

gdal.UseExceptions()
SIZE, BANDS, ACROSS = 128, 9, 100


def make_rasters(folder, side):
    """Write bands of noise and five classes in patches, side × side pixels."""
    generator = np.random.default_rng(0)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32632)
    paths = []
    for name, bands, kind in (("predictors.tif", BANDS, gdal.GDT_Float32), ("labels.tif", 1, gdal.GDT_Byte)):
        options = ["TILED=YES", "BLOCKXSIZE=256", "BLOCKYSIZE=256", "BIGTIFF=IF_SAFER"]
        raster = gdal.GetDriverByName("GTiff").Create(str(folder / name), side, side, bands, kind, options)
        raster.SetGeoTransform((500000, 30, 0, 5500000, 0, -30))
        raster.SetSpatialRef(reference)
        for row in range(0, side, 256):
            height = min(256, side - row)
            if bands == 1:
                rows, columns = np.mgrid[row : row + height, 0:side] // 512
                values = (1 + (7 * rows + 3 * columns) % 5).astype(np.uint8)
            else:
                values = generator.standard_normal((bands, height, side), np.float32)
            raster.WriteArray(values, 0, row)
        paths.append(str(folder / name))
    return paths


def timed(folder, side, stride):
    """Cut and return the number of tiles, seconds by the clock and of the processor, and the size of the set in GB."""
    predictors, labels = make_rasters(folder, side)
    os.sync()
    wall, processor = time.perf_counter(), os.times()
    result = run_job(
        "extracttiles",
        {
            "predictors": [predictors],
            "labels": [labels],
            "tile_size": SIZE,
            "stride": stride,
            "validation": 0.0,
            "test": 1.0,
            "block_size": 30.0 * SIZE,
            "output": str(folder / "set"),
        },
        SilentProgress(),
    )
    after = os.times()
    seconds = (after.user - processor.user) + (after.system - processor.system)
    size = sum(path.stat().st_size for path in (folder / "set").rglob("*") if path.is_file())
    return result["tiles"], time.perf_counter() - wall, seconds, size / 1e9


def main():
    """Time tiles that overlap by half, and tiles side by side where the disk has room."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--folder", type=Path, help="where to write; else the system's temporary folder")
    options = parser.parse_args()
    for what, stride in (("overlapping by half", SIZE // 2), ("side by side", SIZE)):
        side = SIZE + (ACROSS - 1) * stride
        needed = 2.2 * 4 * BANDS * side**2
        with tempfile.TemporaryDirectory(prefix="geodl-bench-", dir=options.folder) as folder:
            free = shutil.disk_usage(folder).free
            if free < needed:
                print(f"{what}: left out, needs {needed / 1e9:.0f} GB of disk, {free / 1e9:.0f} GB are free")
                continue
            load = os.getloadavg()[0]
            tiles, wall, processor, size = timed(Path(folder), side, stride)
        print(
            f"{what}: {tiles:,} tiles of {SIZE} × {SIZE} × {BANDS} out of {side:,} × {side:,} pixels in {wall:.1f} s, "
            f"{processor:.1f} s of processor time, set of {size:.1f} GB, load {load:.1f} on {os.cpu_count()} cores",
            flush=True,
        )


if __name__ == "__main__":
    main()
