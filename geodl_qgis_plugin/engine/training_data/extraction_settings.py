"""Settings of the job `extracttiles`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..settings import option


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    predictors: list[str]
    labels: list[Any]
    output: str
    class_field: str = ""
    tile_size: int = option(128, at_least=3, at_most=4096)
    stride: int = option(0, at_least=0)  # 0: half a tile
    block_size: float = option(0.0, at_least=0)  # map units; 0 chooses
    buffer: float = option(0.0, at_least=0)  # map units
    validation: float = option(20.0, at_least=0, at_most=90)  # percent
    test: float = option(20.0, at_least=0, at_most=90)  # percent
    test_areas: str | None = None
    seed: int = option(0, at_least=0)
    extent: str = ""  # "west,east,south,north [EPSG:code]"; the CRS may be left out
    footprints: str | None = None
    report: str | None = None
    bands: list[Any] | None = None  # one dict a band, in order: name, unit, kind
    classes: list[Any] | None = None  # dicts with value, code, name, colour
    label_width: float = option(0.0, at_least=0)  # map units
    contact_belt: float = option(0.0, at_least=0)  # map units
    overlap: str = option("smallest", choices=("smallest", "leave out"))
    smallest_class: int = option(1, at_least=1)  # pixels
    small_classes: str = option("leave out", choices=("leave out", "merge"))
    split: str = option("blocks", choices=("blocks", "polygons", "random"))
    folds: int = option(0, at_least=0, at_most=100)
    test_fold: int = option(0, at_least=0)
    context: str = option("visible", choices=("visible", "hidden"))
    min_labelled: float = option(0.0, at_least=0, at_most=100)  # percent of a tile
    tile_label: str = option("majority", choices=("majority", "any"))
    tile_label_share: float = option(50.0, at_least=0, at_most=100)  # percent of the labelled pixels
    storage: str = option("automatic", choices=("automatic", "mosaic", "stacked"))
