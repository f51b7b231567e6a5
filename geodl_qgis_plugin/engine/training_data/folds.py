"""
Folds of space for cross-validation: a tile set as it would have been cut with each fold as its test part.

Nothing is cut again. Blocks are dealt to folds as `extracttiles` deals them with FOLDS, and for each fold the parts, the
buffers between them, the table of tiles and the scaling, from that fold's training pixels only, are worked out anew; predictors
and labels are those of the set. Test areas that the user drew stay out of it: they are hidden from all folds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import TileSetError
from ..messages import Progress, SilentProgress
from ..rasters.grid import Window
from .cutting import count_units, fill_parts
from .parts import buffer_margin_px, with_buffers
from .plan import SplitRule, blocks_for, parts_by_fold
from .scaling import scaling_of
from .splits import BUFFER, PARTS, TEST, TRAINING, VALIDATION, Blocks, deal_folds
from .tile_set import TileSet
from .tiles import AreaMaps, TileRule, tile_row, tile_table

FEWEST_FOLDS = 3  # one to test, one to choose by, one to learn from
_STRIP_PX = 1024


class Folds:
    """
    A tile set dealt to folds.

    Parameters
    ----------
    count : int
        Folds, three or more.
    random : bool
        Deal single tiles at random, without a buffer: the split whose score is optimistic.

    Raises
    ------
    SplitError
        If there are fewer blocks with labels than folds.
    """

    def __init__(self, tile_set: TileSet, count: int, seed: int, *, random: bool = False) -> None:
        settings, grid = tile_set.facts["settings"], tile_set.grid
        self.tile_set, self.count = tile_set, count
        self.buffer = 0.0 if random else float(settings["buffer"])
        self.area = Window(0, 0, grid.height, grid.width)
        self._apart = tile_set.summary().get("method") == "test areas"
        method = "random" if random else "blocks"
        block_size = 0.0 if random else float(settings["block_size"])
        self._rule = SplitRule(method, block_size, self.buffer, 1 / count, 1 / count, seed, count, 0)
        ranges = list((tile_set.summary().get("correlation_range") or {}).values())
        whole = tile_set.storage == "mosaic"
        labels = tile_set.labels if whole else np.ones((1, 1), np.uint16)
        given = tile_set.summary().get("block_px")
        if given and tile_set.summary().get("method") in ("blocks", "test areas") and not random:
            self.blocks = Blocks(self.area, int(given[0]), int(given[1]))
        else:
            self.blocks = blocks_for(self._rule, labels, self.area, grid, tile_set.tile_size_px, ranges, [])
        counts = self._counts()
        self.of_unit = np.full(self.blocks.count + 1, -1, np.int16)
        if random:
            used = np.flatnonzero(counts.sum(axis=1))
            order = np.random.default_rng([seed, 37]).permutation(used.size) % count
            self.of_unit[1:][used] = order
        else:
            what = f"blocks of {self.blocks.height} × {self.blocks.width} pixels"
            self.of_unit[1:] = deal_folds(counts, count, seed, what=what)

    def tile_set_of(self, number: int) -> TileSet:
        """Return the set with a fold as its test part and the next one as its validation part."""
        rule = SplitRule(**{**vars(self._rule), "test_fold": number})
        unit_parts = np.full(self.of_unit.shape, TRAINING, np.uint8)
        unit_parts[1:] = parts_by_fold(self.of_unit[1:], rule)
        one = copy.copy(self.tile_set)
        (self._cut_mosaic if one.storage == "mosaic" else self._cut_stacked)(one, unit_parts)
        one.scaling, statistics = scaling_of(one.predictors, one.split)
        names = {n: name for name, n in PARTS.items()}
        one.facts = {
            **one.facts,
            "scaling": one.scaling.as_dict(),
            "band_statistics": [{"name": band.name, **row} for band, row in zip(one.bands, statistics)],
            "split": {
                **one.facts["split"],
                "pixels": self._pixels(one),
                "tiles": {names[n]: int((one.tiles["split"] == n).sum()) for n in names},
                "buffer": self.buffer,
                "optimistic": self._rule.method == "random",
            },
        }
        return one

    def _cut_mosaic(self, one: TileSet, unit_parts: NDArray[np.uint8]) -> None:
        parts = np.zeros(one.labels.shape, np.uint8)
        quiet: Progress = SilentProgress()
        fill_parts(unit_parts, self.blocks, self.area, one.grid, None, self.buffer, parts, quiet)
        self._hide(parts, self.tile_set.split)
        one.split = parts
        # The share of valid pixels is of no use to training.
        maps = AreaMaps(one.labels, parts, np.broadcast_to(np.uint8(1), parts.shape))
        training = self._pixels(one)["training"]
        visible = one.context == "visible"
        one.tiles = tile_table(maps, self._tile_rule(), training, lambda *_: -1, context_visible=visible)

    def _cut_stacked(self, one: TileSet, unit_parts: NDArray[np.uint8]) -> None:
        """Give each tile the part that most of its labelled pixels have; a pixel is scored in one tile only."""
        grid, size = one.grid, one.tile_size_px
        margin = buffer_margin_px(self.buffer, grid)
        one.split, one.labels = np.zeros_like(one.split), np.array(one.labels)
        one.tiles = one.tiles.copy()
        one.tiles["split"] = 0
        seen: dict[int, list[NDArray[np.int64]]] = {VALIDATION: [], TEST: []}
        for index, tile in enumerate(one.tiles):
            inside = Window(int(tile["row"]), int(tile["column"]), size, size).grown(0, grid.height, grid.width)
            wide = inside.grown(margin, grid.height, grid.width)
            parts = with_buffers(unit_parts[self.blocks.units(wide)], self.buffer, grid)
            there = one.split[index, : inside.height, : inside.width]
            there[:] = parts[inside.from_origin(wide).slices]
            self._hide(there, self.tile_set.split[index, : inside.height, : inside.width])
            codes = one.labels[index, : inside.height, : inside.width]
            found = np.bincount(there[codes > 0], minlength=5)[1:4]
            if not found.any():
                continue
            part = int(found.argmax()) + 1
            own = (there == part) & (codes > 0)
            if part in seen:
                rows, columns = np.nonzero(own)
                numbers = (rows + inside.row) * grid.width + columns + inside.column
                old = np.isin(numbers, np.concatenate(seen[part])) if seen[part] else np.zeros(numbers.size, bool)
                codes[rows[old], columns[old]] = 0
                own[rows[old], columns[old]] = False
                seen[part].append(numbers[~old])
                if old.all():
                    continue
            visible = one.context == "visible"
            valid = np.ones(there.shape, bool)
            rule, where = self._tile_rule(), (inside.row, inside.column)
            one.tiles[index] = tile_row(*where, part, own, codes, there, valid, rule, {}, visible)[0]

    def _hide(self, parts: NDArray[np.uint8], before: NDArray[np.uint8]) -> None:
        """Keep the user's own test areas, and the buffer round them, from being seen."""
        if not self._apart:
            return
        for row in range(0, len(parts), _STRIP_PX):
            strip = slice(row, row + _STRIP_PX)
            parts[strip][(before[strip] == TEST) | (before[strip] == BUFFER)] = BUFFER

    def _counts(self) -> NDArray[np.int64]:
        """Return the labelled pixels of each class in each block, (block, class)."""
        codes = [one.code for one in self.tile_set.classes]
        if self.tile_set.storage == "mosaic" and not self._apart:
            labels, count = self.tile_set.labels, self.blocks.count
            return count_units(labels, codes, self.blocks, self.area, self.tile_set.grid, None, 0.0, count)[0][1:]
        position = np.zeros(65536, np.int64)
        position[codes] = np.arange(len(codes))
        counts = np.zeros((self.blocks.count, len(codes)), np.int64)
        for rows, columns, found in self._labelled():
            units = rows // self.blocks.height * self.blocks.columns + columns // self.blocks.width
            np.add.at(counts, (units, position[found]), 1)
        return counts

    def _labelled(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]]:
        """Yield row, column and code of the labelled pixels that folds are dealt from; in stacked tiles some come twice."""
        one = self.tile_set
        if one.storage == "mosaic":
            for row in range(0, one.grid.height, _STRIP_PX):
                strip = slice(row, row + _STRIP_PX)
                rows, columns = np.nonzero((one.labels[strip] > 0) & ~np.isin(one.split[strip], (TEST, BUFFER)))
                yield rows + row, columns, one.labels[strip][rows, columns]
            return
        for index, tile in enumerate(one.tiles):
            use = one.labels[index] > 0
            if self._apart:
                use &= ~np.isin(one.split[index], (TEST, BUFFER))
            rows, columns = np.nonzero(use)
            yield rows + int(tile["row"]), columns + int(tile["column"]), one.labels[index][rows, columns]

    def _pixels(self, one: TileSet) -> dict[str, dict[int, int]]:
        """Return the labelled pixels of each part and class; in stacked training tiles some count twice."""
        counts = np.zeros((5, 65536), np.int64)
        step = _STRIP_PX if one.storage == "mosaic" else 64
        for start in range(0, len(one.labels), step):
            codes, parts = one.labels[start : start + step], np.asarray(one.split[start : start + step])
            if one.storage != "mosaic":
                parts = np.where(parts == one.tiles["split"][start : start + step, None, None], parts, 0)
            use = codes > 0
            pairs = parts[use].astype(np.int64) * 65536 + codes[use]
            counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)
        return {name: {c.code: int(counts[number, c.code]) for c in one.classes} for name, number in PARTS.items()}

    def _tile_rule(self) -> TileRule:
        settings, one = self.tile_set.facts["settings"], self.tile_set
        return TileRule(
            one.tile_size_px,
            one.stride_px,
            float(settings["min_labelled"]) / 100,
            str(settings["tile_label"]),
            float(settings["tile_label_share"]) / 100,
        )


def check_folds(tile_set: TileSet, count: int) -> None:
    """
    Check that a set can be dealt to folds, before any long work.

    Raises
    ------
    TileSetError, SplitError
        If the set does not say how it was cut, or has fewer blocks with labels than folds.
    """
    needed = {"buffer", "block_size", "min_labelled", "tile_label", "tile_label_share"}
    if count and not needed <= set(tile_set.facts.get("settings") or {}):
        raise TileSetError(
            f"The tile set {tile_set.folder} does not say how it was cut, so that it cannot be dealt to folds. Extract the "
            "tiles again, or leave CROSS_VALIDATION at 0."
        )
    if count:
        Folds(tile_set, count, 0)
