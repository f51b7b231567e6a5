"""
A trained model of one or several variables, and what of it stands in a model file.

Numbers that a person may want to read go into the item, arrays into the weights, under the variable's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelFileError
from .classic import Classic, predict_classic
from .climatology import NormalsPlan
from .core import Core, Side
from .forecaster import Forecaster, Prediction, predict
from .frequency import Frequency
from .neighbours import Neighbours
from .ridge import Ridge
from .seasons import Array, Calendar
from .skill_gate import Gate
from .training import Weights
from .windows import Shape, regions_of

Fitted = Forecaster | Classic
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Statics:
    """What does not change at a station and is given to the model: names, and mean and spread over the training stations."""

    names: list[str]
    mean: list[float]
    spread: list[float]


@dataclass(frozen=True)
class ForecastModel:
    """
    A trained model.

    Attributes
    ----------
    fitted : dict
        By variable.
    stations : list of str
        The training stations.
    covariates : list of str
        Fields that are needed beside the variables.
    quantity : str
        ``mean`` or ``sum``.
    """

    fitted: dict[str, Fitted]
    frequency: Frequency
    stations: list[str]
    covariates: list[str]
    statics: Statics
    quantity: str

    @property
    def shape(self) -> Shape:
        """Input length and horizon."""
        return shape_of(next(iter(self.fitted.values())))


def shape_of(fitted: Fitted) -> Shape:
    """Return the window's shape."""
    return fitted.shape if isinstance(fitted, Classic) else fitted.core.shape


def answer(
    fitted: Fitted, history: Array, side: Side, calendar: Calendar, factors: Array | None = None, *, beside: bool = True
) -> Prediction:
    """Forecast with either kind of model; see `forecaster.predict`."""
    if isinstance(fitted, Classic):
        return predict_classic(fitted, history, side, calendar)
    return predict(fitted, history, side, calendar, factors, beside=beside)


def make_side(
    stations: list[str],
    trained: list[str],
    coordinates: Array,
    elevation: Array,
    covariates: Array | None,
    statics: Statics,
) -> Side:
    """Return what stands beside the values of these stations, for a model that was trained on ``trained``."""
    place = {name: index for index, name in enumerate(trained)}
    keys = np.array([place.get(name, -1) for name in stations], dtype=np.int64)
    columns = {"elevation": elevation, "easting": coordinates[:, 0], "northing": coordinates[:, 1]}
    static = [
        np.nan_to_num((columns[name] - mean) / (spread or 1.0))
        for name, mean, spread in zip(statics.names, statics.mean, statics.spread)
    ]
    return Side(
        regions_of(coordinates, len(stations)),
        keys,
        coordinates,
        covariates,
        np.stack(static, axis=1) if static else None,
    )


def make_statics(names: list[str], coordinates: Array, elevation: Array) -> Statics:
    """Return mean and spread of the statics over the training stations."""
    columns = {"elevation": elevation, "easting": coordinates[:, 0], "northing": coordinates[:, 1]}
    mean = [float(np.nan_to_num(np.nanmean(columns[name]))) for name in names]
    return Statics(names, mean, [float(np.nan_to_num(np.nanstd(columns[name]))) for name in names])


def to_parts(model: ForecastModel) -> tuple[dict[str, Any], Arrays]:
    """Return what goes into the item and what into the weights."""
    described, arrays = {}, {}
    for name, fitted in model.fitted.items():
        one, own = _classic_parts(fitted) if isinstance(fitted, Classic) else _forecaster_parts(fitted)
        described[name] = {
            **one,
            "input_length": shape_of(fitted).input_length,
            "horizon": shape_of(fitted).horizon,
            "transform": fitted.transform,
        }
        arrays.update({f"{name}/{key}": array for key, array in own.items()})
    frequency = model.frequency
    block = {
        "variables": described,
        "step": {
            "unit": frequency.unit,
            "count": frequency.count,
            "anchor": frequency.anchor,
            "words": frequency.words,
        },
        "stations": model.stations,
        "covariates": model.covariates,
        "statics": {"names": model.statics.names, "mean": model.statics.mean, "spread": model.statics.spread},
        "quantity": model.quantity,
    }
    return block, arrays


def from_parts(block: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> ForecastModel:
    """
    Build a model from what a model file holds.

    Raises
    ------
    ModelFileError
        If something is missing or does not fit.
    """
    try:
        step = block["step"]
        frequency = Frequency(str(step["unit"]), int(step["count"]), int(step["anchor"]))
        fitted: dict[str, Fitted] = {}
        for name, one in block["variables"].items():
            own = {key.partition("/")[2]: array for key, array in arrays.items() if key.startswith(f"{name}/")}
            shape = Shape(int(one["input_length"]), int(one["horizon"]))
            build = _classic if one["architecture"] == "classic" else _forecaster
            fitted[name] = build(one, own, shape, frequency)
        statics = block["statics"]
        return ForecastModel(
            fitted,
            frequency,
            [str(name) for name in block["stations"]],
            [str(name) for name in block["covariates"]],
            Statics(list(statics["names"]), list(statics["mean"]), list(statics["spread"])),
            str(block["quantity"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelFileError(
            f"The model file lacks something of a forecaster ({type(error).__name__}: {error}). Train the model anew."
        ) from error


def _forecaster_parts(fitted: Forecaster) -> tuple[dict[str, Any], Arrays]:
    core, gate = fitted.core, fitted.gate
    arrays: Arrays = {"ridge": core.ridge.coefficients, "penalty": core.ridge.penalty, "shifts": fitted.shifts}
    arrays |= {"judged_spread": fitted.judged_spread, "gate/skill": gate.skill, "gate/ratio": gate.ratio}
    if core.neighbours is not None:
        arrays |= {"neighbours/index": core.neighbours.index, "neighbours/weights": core.neighbours.weights}
    for number, weights in enumerate(core.members):
        arrays |= {f"member{number}/{key}": array for key, array in weights.items()}
    described = {
        "architecture": "anomaly",
        "harmonics": core.plan.harmonics,
        "trend": core.plan.trend,
        "trend_errors": fitted.trend_errors,
        "members": len(core.members),
        "gate": {"open": gate.open.tolist(), "baseline": gate.baseline, "source": gate.source},
    }
    return described, arrays


def _classic_parts(fitted: Classic) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {"shifts": fitted.shifts, **{f"member0/{key}": array for key, array in fitted.weights.items()}}
    return {"architecture": "classic", "harmonics": fitted.harmonics}, arrays


def _forecaster(one: Mapping[str, Any], own: Arrays, shape: Shape, frequency: Frequency) -> Forecaster:
    gate = one["gate"]
    neighbours = None
    if "neighbours/index" in own:
        neighbours = Neighbours(own["neighbours/index"], own["neighbours/weights"])
    members = [_member(own, number) for number in range(int(one["members"]))]
    plan = NormalsPlan({str(key): int(count) for key, count in one["harmonics"].items()}, str(one["trend"]))
    core = Core(plan, shape, Ridge(own["ridge"], own["penalty"]), neighbours, members, [])
    return Forecaster(
        core,
        frequency,
        str(one["transform"]),
        Gate(
            np.array(gate["open"], dtype=bool),
            [str(name) for name in gate["baseline"]],
            own["gate/skill"],
            own["gate/ratio"],
            str(gate["source"]),
        ),
        {str(key): float(value) for key, value in one["trend_errors"].items()},
        own["shifts"],
        own["judged_spread"],
    )


def _classic(one: Mapping[str, Any], own: Arrays, shape: Shape, frequency: Frequency) -> Classic:
    harmonics = {str(key): int(count) for key, count in one["harmonics"].items()}
    return Classic(_member(own, 0), [], shape, frequency, str(one["transform"]), harmonics, own["shifts"])


def _member(own: Arrays, number: int) -> Weights:
    prefix = f"member{number}/"
    found = {key[len(prefix) :]: array for key, array in own.items() if key.startswith(prefix)}
    if not found:
        raise KeyError(prefix)
    return found
