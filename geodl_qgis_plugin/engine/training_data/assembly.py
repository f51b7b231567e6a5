"""One run of `extracttiles`: labels, predictors, parts and tiles put together in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelsError, SourceError, SplitError
from ..files import check_room
from ..messages import PartOfProgress, Progress
from ..rasters.grid import Window, windows_of
from ..rasters.sources import describe_file
from ..rasters.stack import Stack
from ..settings import as_dict
from . import cutting
from .extraction_report import write_report
from .extraction_settings import Settings
from .footprints import write_footprints
from .labels import Labels
from .plan import Plan, SplitRule, make_plan, ranges_of
from .scaling import scaling_of
from .splits import PARTS, TRAINING
from .tile_set import (
    FOOTPRINTS_NAME,
    FORMAT_VERSION,
    JSON_NAME,
    LABELS_NAME,
    PREDICTORS_NAME,
    REPORT_NAME,
    SPLIT_NAME,
    TILES_NAME,
    TileSet,
)
from .tiles import AreaMaps, TileRule, candidates, tile_table
from .vector_layers import Areas

_PICTURE_PX = 900  # of the split in the report
_DEALINGS, _QUICK_PX, _NEXT_SEED = 8, 50_000_000, 1_000_003


class Assembly:
    """One run: the arrays on disk while they are filled."""

    def __init__(
        self,
        settings: Settings,
        stack: Stack,
        labels: Labels,
        tests: Areas | None,
        area: Window,
        folder: Path,
        progress: Progress,
    ) -> None:
        self.settings, self.stack, self.labels, self.tests = settings, stack, labels, tests
        self.area, self.folder, self.progress = area, folder, progress
        self.grid = stack.grid.part(area)
        self.size = settings.tile_size
        self.stride = settings.stride or max(1, settings.tile_size // 2)
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def run(self) -> dict[str, Any]:
        """Fill the folder and return what `tileset.json` says."""
        shape = (self.area.height, self.area.width)
        codes = cutting.new_array(self.folder / LABELS_NAME, shape, np.uint16)
        parts = cutting.new_array(self.folder / SPLIT_NAME, shape, np.uint8)
        valid = cutting.new_array(self.scratch / "valid.npy", shape, np.uint8)
        self._draw_labels(codes)
        self._drop_empty_bands(codes)
        mosaic = self._is_mosaic(codes)
        predictors = None
        if mosaic:
            check_room(self.folder, 4 * len(self.stack.bands) * shape[0] * shape[1])
            predictors = cutting.new_array(self.folder / PREDICTORS_NAME, (len(self.stack.bands), *shape), np.float32)
        lost = cutting.fill_predictors(self.stack, self.area, codes, valid, predictors, self._part(0.1, 0.75))
        if lost:
            self._note(f"{lost:,} labelled pixels have no data in at least one band and are left out.")
        if not codes.any():
            raise LabelsError("No labelled pixel has data in all bands. Give predictors that cover the labels.")
        ranges = ranges_of(predictors if predictors is not None else self._sample(codes), self.grid)
        plan, pixels = self._part_area(codes, parts, ranges)
        self._check_parts(pixels, plan)
        tiles = self._tiles(AreaMaps(codes, parts, valid), pixels["training"], plan)
        step = -(-max(shape) // _PICTURE_PX)
        picture = np.array(parts[::step, ::step])
        if predictors is None:
            predictors, codes, parts = self._stack_tiles(tiles, codes, parts)
        self.progress.update(0.95, "Computing the scaling from training pixels")
        scaling, statistics = scaling_of(predictors, parts)
        self._warn_of_codes(statistics)
        classes = {c.code: c for c in self.labels.classes}
        self.progress.update(0.97, "Writing the tile set")
        np.save(self.folder / TILES_NAME, tiles, allow_pickle=False)
        write_footprints(self.folder / FOOTPRINTS_NAME, tiles, self.grid, self.size, classes)
        facts = {
            "format_version": FORMAT_VERSION,
            "storage": "mosaic" if mosaic else "stacked",
            "tile_size_px": self.size,
            "stride_px": self.stride,
            "context": self.settings.context,
            "grid": self.grid.as_dict(),
            "bands": [band.as_dict() for band in self.stack.bands],
            "classes": [c.as_dict() for c in self.labels.classes],
            "scaling": scaling.as_dict(),
            "band_statistics": [{"name": band.name, **row} for band, row in zip(self.stack.bands, statistics)],
            "split": self._split_facts(tiles, pixels, plan, ranges),
            "notes": self.notes,
            "warnings": self.warnings,
            "sources": [_without_time(source) for source in self.stack.sources],
            "label_sources": [_without_time(_described(path)) for path in self._label_paths()],
            "settings": _kept_settings(self.settings),
        }
        (self.folder / JSON_NAME).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        write_report(self.folder / REPORT_NAME, TileSet.open(self.folder), picture)
        del predictors, codes, parts, valid  # Windows moves no folder with files that are mapped
        shutil.rmtree(self.scratch)
        self.progress.update(1.0, "")
        return facts

    def _draw_labels(self, codes: NDArray[np.uint16]) -> None:
        counts = cutting.fill_labels(self.labels, self.area, codes, self._part(0.0, 0.1))
        before = len(self.labels.classes)
        self.labels.shrink(counts, self.settings.smallest_class, self.settings.small_classes)
        if len(self.labels.classes) < before and self.settings.smallest_class > 1:
            counts = cutting.fill_labels(self.labels, self.area, codes, self._part(0.05, 0.1))
        if self.labels.overlapping_pixels:
            how = "the smaller one counts" if self.settings.overlap == "smallest" else "they are left out"
            self._note(
                f"Features of different classes overlap on {self.labels.overlapping_pixels:,} pixels; {how} there."
            )
        for sentence in self.labels.left_out:
            self._note(sentence)
        if not codes.any():
            raise LabelsError(
                "No pixel of the area is labelled. Give labels and rasters of the same area, or a larger EXTENT."
            )
        if len(self.labels.classes) < 2:
            only = self.labels.classes[0].name if self.labels.classes else "none"
            raise LabelsError(
                f"The labels hold only one class inside the area ({only}), and a classifier needs two or more. "
                "Choose another CLASS_FIELD or add examples of what the class is not."
            )

    def _drop_empty_bands(self, codes: NDArray[np.uint16]) -> None:
        empty = cutting.bands_without_values(self.stack, self.area, codes)
        if not empty:
            return
        names = ", ".join(self.stack.bands[i].name for i in empty)
        if len(empty) == len(self.stack.bands):
            raise SourceError(
                f"The predictors hold no value in the labelled area ({names}). Give rasters that cover the labels."
            )
        self.stack = self.stack.chosen([i for i in range(len(self.stack.bands)) if i not in empty])
        self._note(f"Bands without any value in the area are left out: {names}.")

    def _is_mosaic(self, codes: NDArray[np.uint16]) -> bool:
        if self.settings.storage != "automatic":
            return self.settings.storage == "mosaic"
        count = sum(1 for _ in candidates(codes, self.size, self.stride))
        return self.area.height * self.area.width <= count * self.size**2

    def _sample(self, codes: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Read a square in the middle of the labels, for the correlation range."""
        rows, columns = np.flatnonzero(codes.any(1)), np.flatnonzero(codes.any(0))
        side = min(1024, self.area.height, self.area.width)
        row = min(max(int(np.median(rows)) - side // 2, 0), self.area.height - side)
        column = min(max(int(np.median(columns)) - side // 2, 0), self.area.width - side)
        return self.stack.read(Window(self.area.row + row, self.area.column + column, side, side))

    def _part_area(
        self, codes: NDArray[np.uint16], parts: NDArray[np.uint8], ranges: list[float]
    ) -> tuple[Plan, dict[str, dict[int, int]]]:
        """
        Deal units and fill ``parts``; return the plan and the labelled pixels of each part and class.

        A buffer may take all that a part had of a class: then other dealings are tried, and the one that lacks least is kept.
        """
        s = self.settings
        tries = _DEALINGS if s.buffer > 0 and codes.size <= _QUICK_PX and s.split != "random" and not s.folds else 1
        best: tuple[int, Plan] | None = None
        for attempt in range(tries):
            plan = self._deal(codes, ranges, s.seed + attempt * _NEXT_SEED)
            pixels = self._fill(plan, codes, parts)
            lacking = sum(not count for name in PARTS for count in pixels[name].values())
            lacking += sum(not count for count in pixels["training"].values())
            if best is None or lacking < best[0]:
                best = lacking, plan
            if not lacking:
                break
        if best is not None and best[1] is not plan:
            plan = best[1]
            pixels = self._fill(plan, codes, parts)
        for sentence in plan.warnings:
            self._warn(sentence)
        typical = float(np.median(ranges)) if ranges else 0.0
        if s.split == "blocks" and s.buffer <= 0 and (s.test > 0 or self.tests is not None):
            self._warn(
                "BUFFER is 0, so training pixels touch test pixels, and the score may be optimistic: the predictors resemble "
                f"each other over about {typical:.6g} map units. Set BUFFER to learn how the model does farther away."
            )
        return plan, pixels

    def _deal(self, codes: NDArray[np.uint16], ranges: list[float], seed: int) -> Plan:
        s = self.settings
        shares = s.validation / 100, s.test / 100
        rule = SplitRule(s.split, s.block_size, s.buffer, *shares, seed, s.folds, s.test_fold)
        return make_plan(rule, self.labels, codes, self.area, self.stack.grid, self.size, ranges, self.tests)

    def _fill(self, plan: Plan, codes: NDArray[np.uint16], parts: NDArray[np.uint8]) -> dict[str, dict[int, int]]:
        progress, buffer = self._part(0.75, 0.8), self.settings.buffer
        cutting.fill_parts(plan.parts, plan.units, self.area, self.stack.grid, self.tests, buffer, parts, progress)
        return self._count_parts(codes, parts)

    def _count_parts(self, codes: NDArray[np.uint16], parts: NDArray[np.uint8]) -> dict[str, dict[int, int]]:
        counts = np.zeros((5, 65536), np.int64)
        for window in windows_of(Window(0, 0, *codes.shape), cutting.CHUNK_PX):
            here, part = codes[window.slices], parts[window.slices]
            use = here > 0
            pairs = part[use].astype(np.int64) * 65536 + here[use]
            counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)
        return {
            name: {c.code: int(counts[number, c.code]) for c in self.labels.classes} for name, number in PARTS.items()
        } | {"left out": {c.code: int(counts[0, c.code] + counts[4, c.code]) for c in self.labels.classes}}

    def _check_parts(self, pixels: dict[str, dict[int, int]], plan: Plan) -> None:
        s = self.settings
        here = [code for code, count in pixels["training"].items() if count]
        if len(here) < 2:
            what = "no labelled pixel is" if not here else "only one class is"
            raise SplitError(
                f"After the split {what} left for training (BUFFER {s.buffer:g}). Choose a smaller BUFFER, a "
                "smaller BLOCK_SIZE or "
                "smaller TEST and VALIDATION shares."
            )
        wanted = [name for name, share in (("validation", s.validation), ("test", s.test)) if share > 0]
        for name in wanted:
            if not any(pixels[name].values()):
                raise SplitError(
                    f"After the split no labelled pixel is left for {name}. Choose a smaller BUFFER or BLOCK_SIZE, or set "
                    f"{name.upper()} to 0."
                )
        names = {c.code: f"class {c.name}" if c.name.isdigit() else c.name for c in self.labels.classes}
        for name in ["training", *wanted]:
            missing = [names[code] for code, count in pixels[name].items() if not count]
            if missing:
                self._warn(f"The {name} part has no pixel of {', '.join(missing)}.")

    def _tiles(self, maps: AreaMaps, training: dict[int, int], plan: Plan) -> NDArray[np.void]:
        s = self.settings
        rule = TileRule(self.size, self.stride, s.min_labelled / 100, s.tile_label, s.tile_label_share / 100)

        def fold_of(window: Window, own: NDArray[np.bool_]) -> int:
            if not s.folds:
                return -1
            there = Window(window.row + self.area.row, window.column + self.area.column, window.height, window.width)
            units = plan.units.units(there)[own]
            return int(plan.folds[np.bincount(units).argmax()])

        self.progress.update(0.8, "Choosing tiles")
        tiles = tile_table(maps, rule, training, fold_of, context_visible=s.context == "visible")
        if not (tiles["split"] == TRAINING).any():
            raise SplitError(
                "No training tile has enough labelled pixels. Choose a smaller MIN_LABELLED, TILE_SIZE or BUFFER."
            )
        for name, share in (("validation", s.validation), ("test", s.test)):
            if share > 0 and not (tiles["split"] == PARTS[name]).any():
                raise SplitError(
                    f"No {name} tile has enough labelled pixels. Choose a smaller MIN_LABELLED or TILE_SIZE."
                )
        return tiles

    def _stack_tiles(
        self, tiles: NDArray[np.void], codes: NDArray[np.uint16], parts: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.uint8]]:
        """Cut each tile's arrays, and replace the maps of the area by them."""
        size, bands = self.size, len(self.stack.bands)
        check_room(self.folder, len(tiles) * size * size * (4 * bands + 3))
        for name in (LABELS_NAME, SPLIT_NAME):
            (self.folder / name).replace(self.scratch / name)
        predictors = cutting.new_array(self.folder / PREDICTORS_NAME, (len(tiles), bands, size, size), np.float32)
        tile_codes = cutting.new_array(self.folder / LABELS_NAME, (len(tiles), size, size), np.uint16)
        tile_parts = cutting.new_array(self.folder / SPLIT_NAME, (len(tiles), size, size), np.uint8)
        progress = self._part(0.8, 0.95)
        for i, tile in enumerate(tiles):
            cutting.stop_if_cancelled(progress)
            window = Window(int(tile["row"]), int(tile["column"]), size, size)
            inside = window.grown(0, *codes.shape)
            tile_codes[i, : inside.height, : inside.width] = codes[inside.slices]
            tile_parts[i, : inside.height, : inside.width] = parts[inside.slices]
            predictors[i] = np.nan
            there = Window(inside.row + self.area.row, inside.column + self.area.column, inside.height, inside.width)
            predictors[i, :, : inside.height, : inside.width] = self.stack.read(there)
            progress.update((i + 1) / len(tiles), f"Cutting tiles ({i + 1} of {len(tiles)})")
        return predictors, tile_codes, tile_parts

    def _warn_of_codes(self, statistics: list[dict[str, Any]]) -> None:
        """Tell of values that most likely mean no data, though the raster does not say so."""
        for band, row in zip(self.stack.bands, statistics):
            if apart := row["stands_apart"]:
                self._warn(
                    f"Band {band.name} is {apart['value']:g} in {apart['share']:.1%} of the training pixels, far from all its "
                    f"other values ({apart['low']:g} to {apart['high']:g}). It is learnt from as a value. If it means no data, "
                    "say so: under Bands, or as Additional no data value in the layer's properties, or with "
                    f"`|nodata={apart['value']:g}` after the raster's path."
                )

    def _split_facts(
        self, tiles: NDArray[np.void], pixels: dict[str, dict[int, int]], plan: Plan, ranges: list[float]
    ) -> dict[str, Any]:
        by_class = {
            name: {c.code: int(((tiles["split"] == n) & (tiles["code"] == c.code)).sum()) for c in self.labels.classes}
            for name, n in PARTS.items()
        }
        blocks = plan.parts[1:][plan.counts[1:].sum(1) > 0]
        return {
            "method": "test areas" if self.tests is not None else self.settings.split,
            "optimistic": self.settings.split == "random",
            "buffer": self.settings.buffer,
            "block_px": plan.block_px,
            "units": {name: int((blocks == number).sum()) for name, number in PARTS.items()},
            "folds": self.settings.folds,
            "tiles": {name: int((tiles["split"] == number).sum()) for name, number in PARTS.items()},
            "tiles_by_class": by_class,
            "pixels": pixels,
            "correlation_range": {band.name: value for band, value in zip(self.stack.bands, ranges)},
        }

    def _label_paths(self) -> list[str]:
        return [*self.labels.paths, *([self.settings.test_areas] if self.settings.test_areas else [])]

    def _part(self, start: float, end: float) -> PartOfProgress:
        return PartOfProgress(self.progress, start, end)

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.progress.message(sentence)

    def _warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
        self.progress.warning(sentence)


def _described(path: str) -> dict[str, Any]:
    return {"path": path.split("|")[0], "layer": path} | describe_file(path.split("|")[0])


def _without_time(source: dict[str, Any]) -> dict[str, Any]:
    """Leave out when the file was changed: a copy of it gives the same set."""
    return {name: value for name, value in source.items() if name != "mtime"}


def _kept_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings without the places that outputs go to, which do not change what is cut."""
    return {k: v for k, v in as_dict(settings).items() if k not in ("output", "footprints", "report")}
