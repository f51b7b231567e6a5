"""
The step of a time series: found from its times, told in words, and counted in whole periods.

A period has a number (months since 1970, or steps of so many seconds since an anchor), so that gaps, duplicates and the
horizon are plain arithmetic. Months and years are calendar periods; everything shorter is a fixed number of seconds in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError

Times = npt.NDArray[np.datetime64]
HOUR_S, DAY_S = 3600, 86400
YEAR_S = 365.2425 * DAY_S
_MOST_OFF = (
    0.02  # share of intervals that may be something else than whole steps before the sampling counts as irregular
)
_WORDS = {
    "hour": ("second", HOUR_S), "3 hours": ("second", 3 * HOUR_S), "6 hours": ("second", 6 * HOUR_S),
    "day": ("second", DAY_S), "week": ("second", 7 * DAY_S), "month": ("month", 1),
    "quarter": ("month", 3), "year": ("month", 12),
}  # fmt: skip
STEPS = tuple(_WORDS)


@dataclass(frozen=True)
class Frequency:
    """
    A step of ``count`` seconds or calendar months.

    Attributes
    ----------
    unit : str
        ``second`` or ``month``.
    count : int
        How many of them make one step.
    anchor : int
        Where a step begins: seconds (or months) after the start of 1970, modulo ``count``.
    """

    unit: str
    count: int
    anchor: int = 0

    @property
    def steps_per_year(self) -> float:
        """How many steps make a year."""
        return 12 / self.count if self.unit == "month" else YEAR_S / self.count

    @property
    def season(self) -> int:
        """Steps after which a series is expected to repeat: a year, a day where the step is shorter, 1 if neither."""
        if self.unit == "second" and self.count < DAY_S:
            return max(1, round(DAY_S / self.count))
        return max(1, int(self.steps_per_year + 0.01))

    @property
    def words(self) -> str:
        """The step in words: `1 month`, `3 hours`."""
        for name, (unit, count) in _WORDS.items():
            if (unit, count) == (self.unit, self.count):
                return name if name[0].isdigit() else f"1 {name}"
        if self.unit == "month":
            return f"{self.count} months"
        for size, name in ((DAY_S, "days"), (HOUR_S, "hours"), (60, "minutes")):
            if self.count % size == 0:
                return f"{self.count // size} {name}"
        return f"{self.count} seconds"

    def number(self, times: Times) -> npt.NDArray[np.int64]:
        """Return the number of the period that each time falls in."""
        if self.unit == "month":
            months: npt.NDArray[np.int64] = times.astype("datetime64[M]").astype(np.int64)
            return (months - self.anchor) // self.count
        seconds: npt.NDArray[np.int64] = times.astype("datetime64[s]").astype(np.int64)
        return (seconds - self.anchor) // self.count

    def start(self, numbers: npt.ArrayLike) -> Times:
        """Return the time at which each period starts."""
        periods = np.asarray(numbers, dtype=np.int64) * self.count + self.anchor
        if self.unit == "month":
            return periods.astype("datetime64[M]").astype("datetime64[s]")
        return periods.astype("datetime64[s]")

    @classmethod
    def from_words(cls, words: str, times: Times | None = None) -> Frequency:
        """Make the step that a user chose; weeks begin at the weekday of the first of ``times``."""
        if words not in _WORDS:
            raise SeriesError(f"The step {words!r} is unknown. Choose one of {', '.join(STEPS)}.")
        unit, count = _WORDS[words]
        anchor = 0
        if words == "week" and times is not None and len(times):
            anchor = int(times.min().astype("datetime64[D]").astype("datetime64[s]").astype(np.int64) % count)
        return cls(unit, count, anchor)


def find_frequency(times: Times, station: npt.NDArray[np.int64]) -> Frequency:
    """
    Find the step of the series from the intervals between their times.

    Parameters
    ----------
    times : (row,) datetime64[s]
        In UTC; any order.
    station : (row,) int
        Which series each time belongs to.

    Raises
    ------
    SeriesError
        If stations have different steps, or the times keep no step.
    """
    order = np.lexsort((times, station))
    seconds, owner = times[order].astype("datetime64[s]").astype(np.int64), station[order]
    gaps = np.diff(seconds)
    inside = (np.diff(owner) == 0) & (gaps > 0)
    if not inside.any():
        raise SeriesError(
            "No station has two different times, so no step can be found. Check the station and the time field: each row "
            "must be one station at one time."
        )
    gaps, owner, starts = gaps[inside], owner[1:][inside], seconds[:-1][inside]
    common = _common_step(gaps)
    _refuse_mixed(gaps, owner, common)
    if common >= 27 * DAY_S:
        return _calendar_step(starts, gaps)
    off = (gaps % common) != 0
    if off.mean() > _MOST_OFF:
        raise SeriesError(
            f"The sampling is irregular: the commonest interval is {_interval(common)}, but {off.mean():.0%} of the intervals "
            f"are no multiple of it. Choose a step ({', '.join(STEPS)}) to bring the values to."
        )
    values, counts = np.unique(seconds % common, return_counts=True)
    return Frequency("second", int(common), int(values[counts.argmax()]))


def _common_step(gaps: npt.NDArray[np.int64]) -> int:
    values, counts = np.unique(gaps, return_counts=True)
    return int(values[counts.argmax()])


def _refuse_mixed(gaps: npt.NDArray[np.int64], owner: npt.NDArray[np.int64], common: int) -> None:
    """Refuse stations whose own commonest interval differs from that of the rest by more than a month's few days."""
    odd: dict[int, int] = {}
    for name in np.unique(owner):
        own = gaps[owner == name]
        step = _common_step(own)
        if len(own) >= 4 and not 0.85 <= step / common <= 1.18:
            odd[step] = odd.get(step, 0) + 1
    if odd:
        step = max(odd, key=lambda key: odd[key])
        raise SeriesError(
            f"The stations have mixed frequencies: most have a value every {_interval(common)}, {sum(odd.values())} every "
            f"{_interval(step)} or so. Choose a step to bring all of them to, or forecast them apart."
        )


def _calendar_step(starts: npt.NDArray[np.int64], gaps: npt.NDArray[np.int64]) -> Frequency:
    begin = starts.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    end = (starts + gaps).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    months = end - begin
    values, counts = np.unique(months[months > 0], return_counts=True)
    if not len(values):
        raise SeriesError("The times keep no step that can be found. Choose a step to bring the values to.")
    count = int(values[counts.argmax()])
    if (months % count != 0).mean() > _MOST_OFF:
        raise SeriesError(
            f"The sampling is irregular: most intervals are {count} months, but {(months % count != 0).mean():.0%} are no "
            f"multiple of that. Choose a step ({', '.join(STEPS)}) to bring the values to."
        )
    return Frequency("month", count, int(begin[0] % count))


def _interval(seconds: int) -> str:
    if seconds >= 360 * DAY_S:
        return f"{seconds / YEAR_S:.0f} year{'s' if seconds > 1.5 * YEAR_S else ''}"
    if seconds >= 27 * DAY_S:
        months = round(seconds / (YEAR_S / 12))
        return f"{months} months" if months > 1 else "month"
    for size, name in ((DAY_S, "day"), (HOUR_S, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{seconds / size:g} {name}s" if seconds != size else name
    return f"{seconds} seconds"
