"""The map sheet of the demo is rendered by QGIS without a window."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib import image

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "tests" / "data" / "jacksboro_geomorphon_L15.tif"


def _run(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)


def test_the_sheet_shows_every_class(tmp_path):
    """The picture holds each class's colour in legend or map, ink for the texts, and paper round them."""
    dem, sheet = tmp_path / "dem.tif", tmp_path / "sheet.png"
    assert _run("tools/jacksboro_dem.py", dem).returncode == 0
    done = _run("tools/render_map.py", "--classes", LABELS, "--dem", dem, "--title", "Landforms", "--output", sheet)
    assert done.returncode == 0, done.stderr
    picture = (image.imread(sheet)[..., :3] * 255).round().astype(int)
    assert min(picture.shape[:2]) > 1000
    colours = [
        "#e4e4e4",
        "#5e1914",
        "#b8443a",
        "#e58b4f",
        "#f2c46d",
        "#f7efb9",
        "#b7d69c",
        "#74c2a4",
        "#3d85b8",
        "#1d3a75",
    ]
    for colour in colours:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.count_nonzero((np.abs(picture - rgb) <= 1).all(axis=2)) > 200, colour
    assert (picture[:20] == 255).all()
    title = picture[40:150, :1000]
    assert (title.sum(axis=2) < 200).sum() > 500


def test_what_is_no_map_is_told(tmp_path):
    """A raster without classes ends with a sentence and no picture."""
    dem, sheet = tmp_path / "dem.tif", tmp_path / "sheet.png"
    _run("tools/jacksboro_dem.py", dem)
    done = _run("tools/render_map.py", "--classes", dem, "--dem", dem, "--output", sheet)
    assert done.returncode == 1
    assert "no class raster" in done.stderr
    assert not sheet.exists()
