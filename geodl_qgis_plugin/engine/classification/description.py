"""
Tell what a model file holds, the job ``describemodel``: for classifiers and forecasters, written now or by a later version.

What is known by name (architecture, bands and their scaling, classes, scores, sources) gets a table or a chart; whatever else
stands in the model's description is listed as it is, so that nothing of it stays hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..classes import LandClass
from ..errors import ModelFileError
from ..files import check_output
from ..messages import Progress
from ..model_file import TRAINING_POINTS, ModelFile, read_model
from ..reports import charts, maps
from ..reports.page import Page, Swatch
from .assessment_report import score_table
from .fold_scores import CrossValidation
from .folds_report import folds_section
from .metrics import Accuracy
from .trust_report import KEYS, trust_sections

_LONGEST_LIST = 24  # a longer list of numbers is told by its length


@dataclass(frozen=True)
class Settings:
    """Settings of the job ``describemodel``."""

    model: str
    report: str | None = None


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Read and check the model, and write the report.

    Raises
    ------
    SourceError, ModelFileError, OutputError
        If the model is missing, damaged or no model; if the report cannot be written.
    """
    if settings.report:
        check_output(settings.report)
    model = read_model(settings.model)
    try:
        page = describe(model)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelFileError(
            f"The description in {model.path.name} cannot be read ({type(error).__name__}: {error}). It may be of a later "
            "version: update the plugin."
        ) from error
    if settings.report:
        page.save(settings.report)
    weights = _weights(model)
    progress.message(f"{model.path.name}: {model.kind} with {weights:,} weights, SHA-256 {model.sha256}")
    return {"report": settings.report, "kind": model.kind, "weights": weights, "sha256": model.sha256}


def describe(model: ModelFile) -> Page:
    """Return the report on a model."""
    part = model.part(model.kind)
    weights = _weights(model)
    bands, classes = _bands(part), [LandClass.from_dict(one) for one in part.get("classes", [])]
    accuracies = dict(_accuracies({key: value for key, value in part.items() if key != "cross_validation"}))
    page = Page(f"{model.kind.capitalize()} {model.path.name}", str(model.item["properties"].get("datetime") or ""))
    page.lead(_lead(model, part, bands, classes, weights))
    page.figures(
        [
            ("Weights", weights, f"in {len(model.weights)} arrays" if model.onnx is None else "in model.onnx"),
            ("Size", _size(model.path.stat().st_size), "of the file"),
            *([("Bands", len(bands), "that it needs")] if bands else []),
            *([("Classes", len(classes), "that it maps")] if classes else []),
            *_scores(accuracies),
        ]
    )
    if "architecture" in part:
        page.section("Architecture")
        built = {key: value for key, value in part["architecture"].items() if value not in ([], {})}
        _listing(page, built, "What the network is built from.")
    if bands:
        page.section("Bands")
        _band_table(page, bands, part.get("scaling"))
    if classes:
        page.section("Classes")
        rows = [[Swatch(one.colour, one.name), one.code, one.colour] for one in classes]
        page.table(["Class", "Code", "Colour"], rows, "Classes as the model writes them.", align="lrl")
    _area(page, model.item)
    for path, accuracy in accuracies.items():
        page.section(f"Accuracy: {_words(path)}")
        if accuracy.pixels:
            page.svg(charts.confusion_matrix(accuracy), f"Confusion matrix, {_words(path)}.")
        score_table(page, accuracy)
    if model.kind == "classifier":
        tiles = model.item["properties"].get("mlm:tasks") == ["classification"]
        trust_sections(page, part, "tiles" if tiles else "pixels")
        if part.get("cross_validation"):
            folds_section(page, CrossValidation.from_dict(part["cross_validation"]), "tiles" if tiles else "pixels")
    known = ("architecture", "bands", "scaling", "classes", *KEYS, "cross_validation")
    rest = {key: value for key, value in part.items() if key not in known}
    _further(page, _without_accuracies(rest))
    others = {k: v for k, v in model.item["properties"].items() if not k.startswith("geodl:")}
    if others:
        page.section("Properties")
        _listing(page, others, "Properties of the STAC item.")
    page.section("File")
    _members(page, model)
    return page


def _lead(
    model: ModelFile,
    part: Mapping[str, Any],
    bands: Sequence[Mapping[str, Any]],
    classes: Sequence[LandClass],
    weights: int,
) -> str:
    name = (
        part.get("architecture", {}).get("name", model.kind)
        if isinstance(part.get("architecture"), dict)
        else model.kind
    )
    trees = sum(array.size for key, array in model.weights.items() if key.endswith("trees.roots"))
    others = sum(array.size for key, array in model.weights.items() if "trees." not in key) if trees else weights
    parts = [f"{trees:,} trees"] if trees else []
    if not trees or name == "ensemble":
        parts.append(f"{others:,} weights")
    text = f"A {model.kind} ({name}) with {' and '.join(parts)}"
    if classes:
        text += f" that maps {_count(len(classes), 'class', 'classes')}"
    if bands:
        text += f" from {_count(len(bands), 'band', 'bands')} ({', '.join(str(band['name']) for band in bands[:8])}"
        text += ", …)" if len(bands) > 8 else ")"
    return text + "."


def _weights(model: ModelFile) -> int:
    """Return how many learnt numbers a model holds; the training points that it keeps are none."""
    if model.onnx is not None and isinstance(inside := model.item["properties"].get("mlm:total_parameters"), int):
        return inside  # those of a net from elsewhere lie in its own file
    return sum(array.size for name, array in model.weights.items() if not name.startswith(TRAINING_POINTS))


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _bands(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [band if isinstance(band, Mapping) else {"name": band} for band in part.get("bands", [])]


def _band_table(page: Page, bands: Sequence[Mapping[str, Any]], scaling: Any) -> None:
    header = ["Band", "Unit", "Kind"]
    rows: list[list[Any]] = [[band["name"], band.get("unit") or "", band.get("kind", "")] for band in bands]
    caption = "The bands that a raster must have, in this order."
    columns = {"low": "1st percentile", "high": "99th percentile", "offset": "Offset", "scale": "Scale"}
    if isinstance(scaling, Mapping):
        for key, title in columns.items():
            values = scaling.get(key)
            if isinstance(values, list) and len(values) == len(bands):
                header.append(title)
                for row, value in zip(rows, values):
                    row.append(f"{value:.5g}")
        caption += " The network sees (value − offset) / scale"
        caption += "; all figures are of the training pixels." if "low" in scaling else "."
    page.table(header, rows, caption, align="lll" + "r" * (len(header) - 3))


def _area(page: Page, item: Mapping[str, Any]) -> None:
    """Draw the training area's outline in longitude and latitude."""
    geometry = item.get("geometry") or {}
    coordinates = geometry.get("coordinates", [])
    polygons: list[Any] = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(geometry.get("type", ""), [])
    rings = [np.asarray(polygon[0], np.float64)[:, :2] for polygon in polygons]
    if rings:
        page.section("Training area")
        page.svg(
            maps.footprint_map(rings), "Where the training data lie. Elsewhere the model may meet what it never saw."
        )


def _accuracies(values: Any, path: str = "") -> Iterator[tuple[str, Accuracy]]:
    """Find what `Accuracy.as_dict` wrote, wherever it stands."""
    if _is_accuracy(values):
        yield path.removeprefix("metrics "), Accuracy.from_dict(values)
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _accuracies(value, f"{path} {key}".strip())


def _is_accuracy(values: Any) -> bool:
    return isinstance(values, Mapping) and {"confusion", "classes", "kappa"} <= set(values)


def _without_accuracies(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _without_accuracies(value) for key, value in values.items() if not _is_accuracy(value)}
    return values


def _scores(accuracies: Mapping[str, Accuracy]) -> list[tuple[str, Any, str]]:
    """Return key figures of the scores in the test part; else of the first ones found."""
    path = next((path for path in accuracies if "test" in path.casefold()), next(iter(accuracies), None))
    if path is None:
        return []
    accuracy, note = accuracies[path], _words(path)
    return [
        ("Accuracy", accuracy.accuracy, note),
        ("Kappa", accuracy.kappa, note),
        ("Macro-F1", accuracy.macro_f1, note),
    ]


def _further(page: Page, values: Mapping[str, Any]) -> None:
    """List what has no table of its own: a table for each group of values, and one for those that stand alone."""
    values = {key: value for key, value in values.items() if value not in ({}, [])}
    alone = {key: value for key, value in values.items() if not isinstance(value, (Mapping, list))}
    if values:
        page.section("Further")
        _listing(page, alone, "What else the model says of itself.")
    for key, value in values.items():
        if isinstance(value, list) and all(isinstance(row, Mapping) for row in value):
            header = list(dict.fromkeys(str(name) for row in value for name in row))
            rows = [[_shown(row.get(name)) for name in header] for row in value]
            page.table([_words(name) for name in header], rows, _titled(key))
        elif key not in alone:
            _listing(page, value, _titled(key))


def _listing(page: Page, values: Any, caption: str) -> None:
    rows = [[_words(path), _shown(value)] for path, value in _leaves(values)]
    if rows:
        page.table(["Name", "Value"], rows, caption, align="ll")


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _leaves(value, f"{path} {key}".strip())
    else:
        yield path or "value", values


def _shown(value: Any) -> str:
    if isinstance(value, list):
        if len(value) > _LONGEST_LIST:
            return f"{len(value):,} values"
        return ", ".join(_shown(one) for one in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(key))} {_shown(one)}" for key, one in value.items()) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ").strip()


def _titled(name: str) -> str:
    return _words(name).capitalize() + "."


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def _members(page: Page, model: ModelFile) -> None:
    rows = [
        [str(asset.get("href", "")).removeprefix("./"), asset.get("file:size"), str(asset.get("file:checksum", ""))[4:]]
        for asset in model.item["assets"].values()
    ]
    rows.append([model.path.name, model.path.stat().st_size, model.sha256])
    page.table(
        ["File", "Bytes", "SHA-256"], rows, "The members of the model file, and the file itself; all were checked."
    )
    arrays = [
        [name, " × ".join(map(str, array.shape)) or "1", str(array.dtype), array.size]
        for name, array in model.weights.items()
    ]
    page.table(["Array", "Shape", "Type", "Weights"], arrays, "The arrays of weights.", align="lllr")
