"""Tiles that were cut elsewhere, laid side by side in a raster, come out of a tile set as they were."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import lay_tiles

from .test_tile_set import extract


def test_small_tiles_come_out_bit_for_bit(tmp_path):
    """Tiles of 3 × 3 pixels keep their values, their class and their part; none is lost, none mixed with a neighbour."""
    generator = np.random.default_rng(0)
    arrays = {
        "X_train": generator.integers(0, 256, (205, 2, 3, 3), np.uint8),
        "y_train": np.arange(205, dtype=np.uint8) % 4,
        "X_test": generator.integers(0, 256, (90, 2, 3, 3), np.uint8),
        "y_test": np.arange(90, dtype=np.uint8) % 4,
        "class_names": np.array(["red soil", "crop", "grey soil", "stubble"]),
    }
    np.savez(tmp_path / "tiles.npz", **arrays)
    parameters = lay_tiles.lay(tmp_path / "tiles.npz", tmp_path)
    settings = {name.lower(): value for name, value in parameters.items()}
    settings |= {name: [settings[name]] for name in ("predictors", "labels")}
    tiles = extract(tmp_path / "set", **settings)
    assert [c.name for c in tiles.classes] == list(arrays["class_names"])
    check_tiles(tiles, arrays, first_code=1)


def check_tiles(tiles, arrays, first_code):
    """Check every tile of a set against the arrays that it was laid out of."""
    training = np.flatnonzero(tiles.tiles["split"] < 3)
    training = training[np.lexsort((tiles.tiles["column"][training], tiles.tiles["row"][training]))]
    assert (tiles.tiles["split"][training] == 2).any()
    for indices, values, codes in (
        (training, arrays["X_train"], arrays["y_train"]),
        (tiles.indices("test"), arrays["X_test"], arrays["y_test"]),
    ):
        predictors, labels = tiles.read(indices)
        np.testing.assert_array_equal(predictors, values)
        expected = codes.astype(int) + first_code
        np.testing.assert_array_equal(tiles.tiles["code"][indices], expected)
        np.testing.assert_array_equal(labels, np.broadcast_to(expected[:, None, None], labels.shape))
