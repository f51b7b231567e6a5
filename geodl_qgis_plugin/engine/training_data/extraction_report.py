"""The report of a tile set: the split on a map, classes and parts, tiles to look at, statistics of each band."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classes import LandClass
from ..reports.charts import band_histograms
from ..reports.maps import IN_NO_PART, split_map
from ..reports.page import Page, Swatch
from .splits import PARTS
from .tile_set import TileSet

_SHEET_COLUMNS, _SHEET_ROWS, _GAP = 8, 3, 4
_HIDDEN, _PAPER = (0.55, 0.57, 0.60), 1.0


def write_report(path: Path, tiles: TileSet, parts: NDArray[np.uint8]) -> None:
    """
    Write the page.

    Parameters
    ----------
    parts : array (row, column)
        The part of each pixel of the area, thinned to what a picture shows.
    """
    facts = tiles.facts
    split = facts["split"]
    names = ", ".join(band.name for band in tiles.bands[:6])
    page = Page("Tile set", names + (", …" if len(tiles.bands) > 6 else ""))
    counts = split["tiles"]
    page.lead(
        f"{len(tiles.tiles):,} tiles of {tiles.tile_size_px} pixels were cut: {counts['training']:,} for training, "
        f"{counts['validation']:,} for validation and {counts['test']:,} for the test, with {len(tiles.classes)} classes."
    )
    across, down = tiles.grid.pixel_size
    page.figures(
        [
            ("Tiles", len(tiles.tiles), f"{tiles.tile_size_px} × {tiles.tile_size_px} pixels"),
            ("Bands", len(tiles.bands), f"pixels of {across:.6g} × {down:.6g} map units"),
            ("Classes", len(tiles.classes), ""),
            ("Buffer", f"{split['buffer']:,.10g}", "map units round the test part"),
        ]
    )
    page.section("Split")
    for note in facts["warnings"]:
        page.warning(note)
    if split["optimistic"]:
        page.warning("The split is random. A score on this test part says little about new ground.")
    page.svg(
        split_map(parts, tiles.grid),
        f"Where pixels train, validate and test. No label in the buffer is used. {IN_NO_PART} Predictors in the test part and "
        f"its buffer are {facts['settings']['context']} to training.",
    )
    page.table(["Part", "Tiles", "Labelled pixels", "Share", "Blocks with labels"], _part_rows(split), "Parts.")
    page.section("Classes")
    page.text("Shares are those of the class's labelled pixels; pixels in the buffer or without data are in no part.")
    page.table(
        ["Class", "Code", "Pixels", "Training", "Validation", "Test", "Left out", "Training tiles", "Test tiles"],
        [_class_row(one, split) for one in tiles.classes],
        "Classes in each part.",
    )
    page.section("Tiles")
    for name in PARTS:
        if counts[name]:
            page.image(
                contact_sheet(tiles, name),
                f"Tiles of the {name} part: predictors above, labels below. Grey is what this part has none of.",
            )
    page.section("Bands")
    page.table(
        ["Band", "Unit", "Kind", "Valid", "Least", "1st percentile", "Mean", "Deviation", "99th percentile", "Most"],
        [_band_row(tiles, i) for i in range(len(tiles.bands))],
        "Training pixels of each band; mean and deviation are those between the two percentiles, and scale the band.",
    )
    shown = [i for i, row in enumerate(facts["band_statistics"]) if row["histogram"]][:24]
    if shown:
        rows = [facts["band_statistics"][i] for i in shown]
        edges = [np.linspace(r["low"], r["high"], len(r["histogram"]) + 1) for r in rows]
        edges = [e if e[-1] > e[0] else np.array([e[0] - 0.5, e[0] + 0.5]) for e in edges]
        counted = [np.array(row["histogram"]) for row in rows]
        titles, units = [tiles.bands[i].name for i in shown], [tiles.bands[i].unit for i in shown]
        page.svg(band_histograms(titles, counted, edges, units), "Training pixels between the 1st and 99th percentile.")
    page.section("Sources")
    for note in facts["notes"]:
        page.text(note)
    page.table(
        ["File", "Bytes", "SHA-256"],
        [
            [
                Path(source["path"]).name,
                source.get("size"),
                source.get("sha256", source.get("sha256_of_samples", ""))[:16],
            ]
            for source in [*facts["sources"], *facts["label_sources"]]
        ],
        "What the tiles were cut from.",
    )
    page.settings(facts["settings"])
    path.write_text(page.html(), encoding="utf-8")


def contact_sheet(tiles: TileSet, part: str) -> NDArray[np.float64]:
    """
    Return a picture (row, column, 3) of tiles spread evenly over a part, each with its labels below it.

    Three bands are shown in colour where there are three or more, else the first in grey, from the 1st to the 99th percentile.
    """
    indices = tiles.indices(part)
    most = _SHEET_COLUMNS * _SHEET_ROWS
    indices = indices[np.unique(np.linspace(0, len(indices) - 1, most).astype(int))]
    step = max(1, tiles.tile_size_px // 96)
    side = len(range(0, tiles.tile_size_px, step))
    rows = -(-len(indices) // _SHEET_COLUMNS)
    columns = min(len(indices), _SHEET_COLUMNS)
    cell = 2 * side + _GAP // 2
    sheet = np.full((rows * (cell + _GAP) - _GAP, columns * (side + _GAP) - _GAP, 3), _PAPER)
    for i, index in enumerate(indices):
        predictors, labels = tiles.read([int(index)])
        top, left = i // _SHEET_COLUMNS * (cell + _GAP), i % _SHEET_COLUMNS * (side + _GAP)
        sheet[top : top + side, left : left + side] = _picture(predictors[0][:, ::step, ::step], tiles)
        below = top + side + _GAP // 2
        sheet[below : below + side, left : left + side] = _coloured(labels[0][::step, ::step], tiles.classes)
    return sheet


def _picture(predictors: NDArray[np.float32], tiles: TileSet) -> NDArray[np.float64]:
    bands = [0, 1, 2] if len(predictors) > 2 else [0, 0, 0]
    low, high = tiles.scaling.low[bands], tiles.scaling.high[bands]
    span = np.where(high > low, high - low, 1.0)
    values = np.moveaxis(predictors[bands], 0, -1).astype(np.float64)
    picture: NDArray[np.float64] = np.clip((values - low) / span, 0, 1)
    picture[~np.isfinite(picture).all(-1)] = _HIDDEN
    return picture


def _coloured(labels: NDArray[np.uint16], classes: list[LandClass]) -> NDArray[np.float64]:
    colours = np.full((65536, 3), 0.93)
    for one in classes:
        colours[one.code] = np.array(one.rgb) / 255
    picture: NDArray[np.float64] = colours[labels]
    return picture


def _part_rows(split: dict[str, Any]) -> list[list[Any]]:
    pixels = {name: sum(counts.values()) for name, counts in split["pixels"].items()}
    whole = max(sum(pixels.values()), 1)
    return [
        [name, split["tiles"].get(name), count, f"{100 * count / whole:.1f} %", split["units"].get(name) or None]
        for name, count in pixels.items()
    ]


def _class_row(one: LandClass, split: dict[str, Any]) -> list[Any]:
    pixels = {name: counts.get(str(one.code), 0) for name, counts in split["pixels"].items()}
    whole = sum(pixels.values())
    shares = [f"{100 * pixels[name] / max(whole, 1):.1f} %" for name in (*PARTS, "left out")]
    by_class = split["tiles_by_class"]
    return [
        Swatch(one.colour, one.name),
        one.code,
        whole,
        *shares,
        by_class["training"][str(one.code)],
        by_class["test"][str(one.code)],
    ]


def _band_row(tiles: TileSet, i: int) -> list[Any]:
    band, row = tiles.bands[i], tiles.facts["band_statistics"][i]
    numbers = [f"{row[name]:.5g}" for name in ("least", "low", "offset", "scale", "high", "most")]
    return [band.name, band.unit, band.kind, f"{100 * row['valid']:.1f} %", *numbers]
