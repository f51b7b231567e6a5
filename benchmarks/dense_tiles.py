"""
A model for tiles at a stride of 8 pixels: `classifyraster`'s dense pass beside the same net window by window.

    python benchmarks/dense_tiles.py [--side 2048] [--sample 256]

Tiles of 128 pixels, four bands, untrained nets. The dense pass is that of the job, reading included, over the whole raster.
Window by window a sample, in batches of 32, is timed and multiplied by the number of tiles. One thread; seconds of the
processor.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SIZE, STRIDE, BANDS, CLASSES = 128, 8, 4, "abcdefgh"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--side", type=int, default=2048)
    arguments.add_argument("--sample", type=int, default=256)
    given = arguments.parse_args()

    from geodl_qgis_plugin.engine.environment import tune_memory, tune_threads

    tune_threads()
    tune_memory()
    import numpy as np
    import torch

    from geodl_qgis_plugin.engine.bands import Band
    from geodl_qgis_plugin.engine.classification.classification_job import Settings, prepare
    from geodl_qgis_plugin.engine.classification.networks import choose_architecture
    from geodl_qgis_plugin.engine.messages import SilentProgress
    from geodl_qgis_plugin.engine.rasters.grid import Grid
    from tests.engine.models import write_classifier
    from tests.engine.planted import reference, write_raster

    torch.set_num_threads(1)
    folder, bands = Path(tempfile.mkdtemp()), [Band(f"b{i}") for i in range(BANDS)]
    grid = Grid(reference(32633).ExportToWkt(), (400000, 10, 0, 5400000, 0, -10), given.side, given.side)
    values = np.random.default_rng(0).normal(20, 10, (BANDS, given.side, given.side)).astype(np.float32)
    write_raster(folder / "r.tif", values, grid, names=[band.name for band in bands])
    for name in ("pooled", "residual"):
        architecture = choose_architecture(name, "each tile", bands, len(CLASSES), SIZE)
        write_classifier(folder / "m.geodl", architecture, bands, list(CLASSES), tile_size_px=SIZE)
        settings = Settings(str(folder / "m.geodl"), [str(folder / "r.tif")], str(folder / "x.tif"), stride=STRIDE)
        work = prepare(settings, SilentProgress())
        found, start = [], time.process_time()
        for block in work.blocks:
            found.append(work.score(block, work.read(block)))
        dense = time.process_time() - start
        tiles = work.grid.height * work.grid.width
        generator = np.random.default_rng(1)
        rows, columns = (generator.integers(0, side, given.sample) for side in (work.grid.height, work.grid.width))
        windows = np.stack([values[:, r * STRIDE :, c * STRIDE :][:, :SIZE, :SIZE] for r, c in zip(rows, columns)])
        with torch.inference_mode():
            work.model.net(torch.from_numpy(windows[:32]))
            start, parts = time.process_time(), []
            for first in range(0, len(windows), 32):
                parts.append(work.model.net(torch.from_numpy(windows[first : first + 32]))[:, :, 0, 0])
            each = (time.process_time() - start) / len(windows)
        expected, worst = torch.softmax(torch.cat(parts), dim=1).numpy(), 0.0
        for row, column, wanted in zip(rows, columns, expected):
            for block, scores in zip(work.blocks, found):
                if 0 <= row - block.row < block.height and 0 <= column - block.column < block.width:
                    own = scores.probabilities[:, row - block.row, column - block.column]
                    worst = max(worst, float(np.abs(own - wanted).max()))
        print(
            f"{name}: {tiles:,} tiles, dense {dense:.1f} s, window by window {each * 1000:.1f} ms each, {each * tiles:,.0f} s "
            f"in all: {each * tiles / dense:.0f} times; probabilities differ by {worst:.1e} at most"
        )


if __name__ == "__main__":
    main()
