"""Rows of station, time and value become series on one step; what was odd about the rows is counted and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError
from .columns import Finding
from .frequency import DAY_S, HOUR_S, Frequency, Sampled, Times, find_frequency
from .rows import STATIONS_A_GROUP, GridRows, LongRows, Rows
from .seasons import Array
from .series import StationSeries, is_geographic, last_seen, some_names

_LEAST_FILLED = 0.3  # of the steps, where a step was chosen
_LEAST_SHARE = {"mean": 0.5, "sum": 0.9}  # of a longer step's values that must be there


@dataclass(frozen=True)
class Places:
    """
    Where stations are.

    Attributes
    ----------
    coordinates : dict
        By station id: easting and northing, or longitude and latitude.
    crs : str
        WKT, empty if unknown.
    elevation : dict
        By station id, where a field gives it.
    findings : list of Finding
        What was odd about them.
    """

    coordinates: dict[str, tuple[float, float]]
    crs: str
    elevation: dict[str, float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def to_series(
    rows: Rows,
    places: Places,
    *,
    step: str = "",
    quantity: str = "mean",
    duplicates: str = "refuse",
    frequency: Frequency | None = None,
    variables: Sequence[str] = (),
) -> StationSeries:
    """
    Put rows on one step.

    Parameters
    ----------
    step : str
        A step to bring the values to, as in `frequency.STEPS`; found from the times if empty.
    quantity : str
        ``mean`` or ``sum``: how values are joined into a longer step.
    duplicates : str
        What to do with rows of the same station and time.
    frequency : Frequency, optional
        The step that is known already, from a model.
    variables : sequence of str, optional
        What is forecast: the series begin with the first value of one of them and end with the last; all if not given.
    """
    if frequency is None:
        frequency = Frequency.from_words(step, rows.times) if step else find_frequency(*_sampled(rows))
    elif not step:
        _refuse_other_step(rows, frequency)
    number = frequency.number(rows.times)
    first = int(number.min())
    length = int(number.max()) - first + 1
    if length > 50 * len(rows) + 100_000:
        raise SeriesError(
            f"From {rows.times.min()} to {rows.times.max()} there are {length:,} steps of {frequency.words}, but only "
            f"{len(rows):,} rows. Check "
            "the times: one of them is probably wrong."
        )
    how = "first" if duplicates == "first" and not step else quantity
    matrices, twice, thin = _matrices(rows, number - first, length, how, step, duplicates == "refuse")
    if not step and duplicates == "refuse":
        _refuse_duplicates(twice, rows, frequency)
    findings = [*rows.findings, *places.findings]
    if twice.any():
        findings.append(
            Finding("Rows of a station and time that was there before", int(twice.sum()), f"{duplicates} taken")
        )
    for name, count in thin.items():
        detail = f"less than {_LEAST_SHARE[quantity]:.0%} of the usual number of values"
        findings.append(Finding(f"Steps of {name} left empty, in which too few values fell", count, detail))
    findings += _moved_starts(rows, number, frequency, step)
    first, matrices, cut = _from_first_to_last(first, matrices, variables or rows.names)
    findings += cut
    if step:
        _refuse_finer_step(matrices, step)
    series = StationSeries(
        rows.stations,
        frequency,
        first,
        matrices,
        np.array([places.coordinates.get(name, (np.nan, np.nan)) for name in rows.stations], dtype=float).reshape(
            -1, 2
        ),
        places.crs,
        np.array([places.elevation.get(name, np.nan) for name in rows.stations], dtype=float),
        findings,
    )
    _refuse_placeless(series)
    return replace(series, findings=[*findings, *_gaps(series)])


def _sampled(rows: Rows) -> tuple[Callable[[], Iterator[Sampled]], Times, npt.NDArray[np.int64]]:
    """Return what `find_frequency` looks at."""
    seconds = rows.times.astype("datetime64[s]").astype(np.int64)

    def groups() -> Iterator[Sampled]:
        if isinstance(rows, GridRows):  # all stations have the same times
            yield seconds, np.zeros(len(seconds), dtype=np.int64)
            return
        for group in rows.groups():
            yield seconds[group.moment], group.station

    return groups, rows.times, rows.moment_counts()


def _matrices(
    rows: Rows, column: npt.NDArray[np.int64], length: int, how: str, step: str, refuse: bool
) -> tuple[dict[str, Array], Twice, dict[str, int]]:
    """
    Return the variables (station, time), the rows whose station and time stood before, and the steps left empty, too thin.

    Nothing is joined where the former are refused.
    """
    found = {name: np.full((len(rows.stations), length), np.nan) for name in rows.names}
    if isinstance(rows, GridRows) and not step and len(np.unique(column)) == len(column):
        for at in range(0, len(rows.stations), STATIONS_A_GROUP):
            some = slice(at, min(at + STATIONS_A_GROUP, len(rows.stations)))
            for name, matrix in found.items():
                matrix[some, column] = rows.block(name, some.start, some.stop)
        return found, Twice([], []), {}
    twice = Twice([], [])
    counts = {name: np.zeros(matrix.shape, dtype=np.uint32) for name, matrix in found.items()} if step else {}
    for group in rows.groups():
        again = group.again
        if again.any():
            twice.rows.append(group.row[again])
            twice.moments.append(group.moment[again])
            if refuse and not step:
                continue
        place = (group.station - group.first) * length + column[group.moment]
        alone = not step and bool((place[1:] > place[:-1]).all())
        some = slice(group.first, group.last)
        for name, matrix in found.items():
            values = rows.column(name, group)
            if alone:
                matrix[some].reshape(-1)[place] = values
                continue
            joined, count = _joined(place, values, matrix[some].size, how, step)
            matrix[some] = joined.reshape(-1, length)
            if step:
                counts[name][some] = count.reshape(-1, length)
    thin = {}
    for name, many in counts.items():
        if many.any():
            few = (many > 0) & (many < _LEAST_SHARE[how] * np.median(many[many > 0]))
            found[name][few] = np.nan
            thin[name] = int(few.sum())
    return found, twice, {name: count for name, count in thin.items() if count}


def _from_first_to_last(
    first: int, matrices: dict[str, Array], variables: Sequence[str]
) -> tuple[int, dict[str, Array], list[Finding]]:
    """Cut off the steps before the first value and after the last: a forecast begins where the values end, not the rows."""
    seen = np.flatnonzero(np.any([np.isfinite(matrices[name]).any(axis=0) for name in variables], axis=0))
    length = next(iter(matrices.values())).shape[1]
    if not len(seen) or len(seen) == length:  # without any value they are refused later, with the reason
        return first, matrices, []
    findings = []
    for count, where in ((int(seen[0]), "beginning"), (length - 1 - int(seen[-1]), "end")):
        if count:
            findings.append(Finding(f"Steps at the {where} without any value to forecast from, left out", count))
    return first + int(seen[0]), {name: one[:, seen[0] : seen[-1] + 1] for name, one in matrices.items()}, findings


def _refuse_other_step(rows: Rows, known: Frequency) -> None:
    """Refuse values of another step than the model's: joined without being asked they would be something else."""
    if len(rows.times) < 2:
        return
    found = find_frequency(*_sampled(rows))
    if found.unit != known.unit or found.count % known.count:  # a multiple may be the same step with gaps
        raise SeriesError(
            f"The values come every {found.words.removeprefix('1 ')}, but the model was trained on a step of {known.words}. "
            "Give values of that step, or train a model with STEP set to it, which then takes finer values too."
        )


def _joined(
    place: npt.NDArray[np.int64], column: Array, size: int, how: str, step: str
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return what the rows of each of ``size`` places come to, NaN where there is none, and how many there are."""
    seen = np.isfinite(column)
    at = place[seen]
    count = np.bincount(at, minlength=size)
    if how == "first":
        result = np.full(size, np.nan)
        result[at[::-1]] = column[seen][::-1]
        return result, count
    total = np.bincount(at, weights=column[seen], minlength=size)
    # duplicates of a step that was found are one measurement told twice: even of rain their mean is taken
    return np.where(count > 0, total / np.maximum(count, 1) if how == "mean" or not step else total, np.nan), count


@dataclass(frozen=True)
class Twice:
    """Rows whose station and time stood before, group by group: their places in the source, and which times they have."""

    rows: list[npt.NDArray[np.int64]]
    moments: list[npt.NDArray[np.int64]]

    def sum(self) -> int:
        """Return how many there are."""
        return sum(map(len, self.rows))

    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.rows)


def _refuse_duplicates(twice: Twice, rows: Rows, frequency: Frequency) -> None:
    if not twice.any():
        return
    places, moments = np.concatenate(twice.rows), np.concatenate(twice.moments)
    first = int(places.argmin())
    times = rows.times[moments]
    months = set(times.astype("datetime64[M]").astype(int) % 12)
    saving = (
        frequency.count <= HOUR_S
        and frequency.unit == "second"
        and months <= {2, 3, 9, 10}
        and twice.sum() < len(rows) / 20
    )
    hint = (
        " They all fall in the autumn hour that comes twice: these may be local times with daylight saving; use UTC, or "
        "name their zone in TIME_ZONE."
    )
    station = rows.station[places[first]] if isinstance(rows, LongRows) else places[first] // len(rows.times)
    raise SeriesError(
        f"{twice.sum():,} rows have a station and time that stood before (first {rows.stations[int(station)]}, "
        f"{str(times[first]).replace('T', ' ')}). Remove them, or say with DUPLICATES to take their mean or "
        f"the first.{hint if saving else ''}"
    )


def _refuse_finer_step(matrices: dict[str, Array], step: str) -> None:
    """Refuse a step so much shorter than that of the data that it would be mostly gaps."""
    filled, steps = 0, 0
    for matrix in matrices.values():
        seen = np.isfinite(matrix)
        some = seen.any(axis=1)
        first, last = seen.argmax(axis=1), matrix.shape[1] - seen[:, ::-1].argmax(axis=1)
        filled, steps = filled + int(seen.sum()), steps + int((last - first)[some].sum())
    if steps and filled < _LEAST_FILLED * steps:
        raise SeriesError(
            f"Of all steps of a {step} only {filled / steps:.0%} would have a value: the data come less often. Choose a longer "
            "STEP."
        )


def _refuse_placeless(series: StationSeries) -> None:
    lost = ~np.isfinite(series.coordinates).all(axis=1)
    if lost.any():
        names = some_names([series.stations[index] for index in np.flatnonzero(lost)])
        raise SeriesError(
            f"{int(lost.sum())} of {len(lost)} stations have no place ({names}). Give a point layer, or choose under "
            "STATIONS the points "
            "of the stations; the ids must be the same texts there, leading zeros included."
        )
    longitude, latitude = np.abs(series.coordinates).T
    beyond = np.flatnonzero((latitude > 90) | (longitude > 360))
    if len(beyond) and series.crs and is_geographic(series.crs):
        east, north = series.coordinates[beyond[0]]
        raise SeriesError(
            f"{len(beyond)} of {len(lost)} stations lie nowhere on Earth ({series.stations[beyond[0]]} at longitude {east:g}, "
            f"latitude {north:g}). Correct them, or set the CRS of the points if these are no degrees."
        )


def _moved_starts(rows: Rows, number: npt.NDArray[np.int64], frequency: Frequency, step: str) -> list[Finding]:
    if step or frequency.unit == "month":
        return []
    off = frequency.start(number) != rows.times
    if not off.any():
        return []
    what = f"Times that were not on the step and count for the {frequency.words} that they fall in"
    return [Finding(what, int(rows.moment_counts()[off].sum()))]


def _gaps(series: StationSeries) -> list[Finding]:
    findings = []
    for name, values in series.values.items():
        last = last_seen(values)
        first = values.shape[1] - 1 - last_seen(values[:, ::-1])
        inside = int((last - first + 1)[last >= 0].sum())
        missing = inside - int(np.isfinite(values).sum())
        if missing:
            findings.append(
                Finding(
                    f"Steps of {name} without a value between a station's first and last",
                    missing,
                    f"{missing / inside:.1%}",
                )
            )
        behind = max(2, round(min(series.frequency.steps_per_year, 30 * DAY_S / max(1, _seconds(series.frequency)))))
        ended = (last >= 0) & (last < values.shape[1] - behind)
        if ended.any():
            names = some_names([series.stations[index] for index in np.flatnonzero(ended)])
            findings.append(Finding(f"Stations whose {name} ended before the others'", int(ended.sum()), names))
    return findings


def _seconds(frequency: Frequency) -> float:
    return frequency.count * (DAY_S * 30.44 if frequency.unit == "month" else 1.0)
