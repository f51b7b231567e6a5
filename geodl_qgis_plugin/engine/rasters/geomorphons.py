"""
Geomorphons, the ten landform elements that each pixel sees around it, worked out by GRASS where it is installed.

Jasiewicz & Stepinski (2013), doi:10.1016/j.geomorph.2012.11.005. GRASS runs in a location of its own in a temporary folder, one
command at a time and without a shell.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from osgeo import gdal

from ..errors import Cancelled, EnvironmentProblem, GeoDLError, GridError
from ..messages import Progress
from .single_band import SingleBand, open_band, windows

NAMES = ("flat", "peak", "ridge", "shoulder", "spur", "slope", "hollow", "footslope", "valley", "pit")  # codes 1 to 10
_SKIP_PX = 3
_NODATA = -99999.0


def find_grass() -> str:
    """
    Return the path of GRASS's program.

    Raises
    ------
    EnvironmentProblem
        If it is not installed, or not on the path.
    """
    program = os.environ.get("GEODL_GRASS") or shutil.which("grass")
    if not program or shutil.which(program) is None:
        raise EnvironmentProblem(
            "Geomorphons need GRASS GIS, and no program called grass was found. Install it (Debian and Ubuntu: sudo apt "
            "install "
            "grass-core), name it in the environment variable GEODL_GRASS, or leave GEOMORPHONS out."
        )
    return program


def check_geomorphons(dem: SingleBand) -> str:
    """Return GRASS's program if it is there and can take the DEM's grid, else raise a sentence."""
    program = find_grass()
    t = dem.grid.transform
    if t[2] or t[4] or t[1] < 0 or t[5] > 0:
        raise GridError(
            f"{dem.what} is rotated or has its south on top, which GRASS cannot read. Warp it first, or leave GEOMORPHONS out."
        )
    return program


@contextlib.contextmanager
def geomorphons(
    dem: SingleBand, program: str, search_px: int, flat_degrees: float, progress: Progress
) -> Iterator[SingleBand]:
    """
    Give the geomorphons of a DEM as a raster of codes 1 to 10 on its grid; the files are gone when the block ends.

    Parameters
    ----------
    search_px : int
        How far each pixel looks.
    flat_degrees : float
        What counts as flat.
    """
    with tempfile.TemporaryDirectory(prefix="geodl-grass-") as folder:
        source, result, location = (str(Path(folder, name)) for name in ("dem.tif", "forms.tif", "location"))
        _write(dem, source)
        mapset = str(Path(location, "PERMANENT"))
        inside = [program, mapset, "--exec"]
        commands = [
            [program, "-c", source, "-e", location],
            [*inside, "r.in.gdal", "--q", "-o", f"input={source}", "output=dem"],
            [*inside, "g.region", "raster=dem"],
            [
                *inside, "r.geomorphon", "--q", "elevation=dem", "forms=forms",
                f"search={search_px}", f"skip={min(_SKIP_PX, search_px - 1)}", f"flat={flat_degrees:g}",
            ],
            [*inside, "r.out.gdal", "--q", "-f", "input=forms", f"output={result}", "type=Byte", "nodata=0"],
        ]  # fmt: skip
        for done, command in enumerate(commands):
            progress.update(done / len(commands), "GRASS works out geomorphons")
            _run(command, folder, progress)
        yield open_band(result, "The geomorphons", 1, coded=True)


def _write(dem: SingleBand, path: str) -> None:
    grid = dem.grid
    dataset = gdal.GetDriverByName("GTiff").Create(
        path, grid.width, grid.height, 1, gdal.GDT_Float32, options=["TILED=YES", "BIGTIFF=IF_SAFER"]
    )
    dataset.SetGeoTransform(grid.transform)
    dataset.SetProjection(grid.crs)
    dataset.GetRasterBand(1).SetNoDataValue(_NODATA)
    for window in windows(grid, 1024):
        values = dem.read(window)
        dataset.WriteArray(np.where(np.isfinite(values), values, _NODATA).astype(np.float32), window.column, window.row)


def _run(command: list[str], folder: str, progress: Progress) -> None:
    """Run one command of GRASS; end it when the user cancels."""
    environment = {**os.environ, "HOME": folder, "GRASS_MESSAGE_FORMAT": "plain"}
    environment.pop("PYTHONPATH", None)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    over = threading.Event()

    def end_on_cancel() -> None:
        while not over.wait(0.2):
            if progress.cancelled():
                process.terminate()

    watcher = threading.Thread(target=end_on_cancel, daemon=True)
    watcher.start()
    said, _ = process.communicate()
    over.set()
    watcher.join()
    if progress.cancelled():
        raise Cancelled("The geomorphons were cancelled; nothing was written.")
    if process.returncode != 0:
        lines = [line for line in said.splitlines() if "ERROR" in line] or said.strip().splitlines()[-2:]
        raise GeoDLError(
            f"GRASS could not work out the geomorphons ({' '.join(lines)}). Leave GEOMORPHONS out, or report it."
        )
