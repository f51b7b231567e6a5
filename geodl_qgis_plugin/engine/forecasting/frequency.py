"""
The step of a time series: found from its times, told in words, and counted in whole periods.

A period has a number (months since 1970, or steps of so many seconds since an anchor), so that gaps, duplicates and the
horizon are plain arithmetic. Months and years are calendar periods; everything shorter is a fixed number of seconds in UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError

Times = npt.NDArray[np.datetime64]
Counts = npt.NDArray[np.int64]
Sampled = tuple[Counts, Counts]  # seconds since 1970 and stations, row by row
_ENOUGH_GAPS = 4  # to tell a station's own step
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


def find_frequency(groups: Callable[[], Iterable[Sampled]], times: Times, counts: Counts) -> Frequency:
    """
    Find the step of the series from the intervals between their times.

    Parameters
    ----------
    groups : callable
        Gives, each time it is called, the seconds (row,) and stations (row,) of some stations after the other, ordered by
        station and time.
    times : (moment,) datetime64[s]
        The distinct times, in UTC.
    counts : (moment,)
        How many rows each has.

    Raises
    ------
    SeriesError
        If stations have different steps, or the times keep no step.
    """
    every: Counter[int] = Counter()
    steps: list[int] = []  # the commonest of each station that has enough to tell
    for gaps, owner, _ in map(_gaps, groups()):
        every.update(_tally(gaps))
        edges = np.flatnonzero(np.diff(owner)) + 1
        steps += [_commonest(_tally(own)) for own in np.split(gaps, edges) if len(own) >= _ENOUGH_GAPS]
    if not every:
        raise SeriesError(
            "No station has two different times, so no step can be found. Check the station and the time field: each row "
            "must be one station at one time."
        )
    common = _commonest(every)
    _refuse_mixed(steps, common)
    if common >= 27 * DAY_S:
        return _calendar_step(groups)
    off = sum(count for gap, count in every.items() if gap % common) / sum(every.values())
    if off > _MOST_OFF:
        raise SeriesError(
            f"The sampling is irregular: the commonest interval is {_interval(common)}, but {off:.0%} of the intervals "
            f"are no multiple of it. Choose a step ({', '.join(STEPS)}) to bring the values to."
        )
    phases, which = np.unique(times.astype("datetime64[s]").astype(np.int64) % common, return_inverse=True)
    return Frequency("second", common, int(phases[np.bincount(which, weights=counts).argmax()]))


def _gaps(sampled: Sampled) -> tuple[Counts, Counts, Counts]:
    """Return the intervals above zero within a station, their stations, and when they start."""
    seconds, owner = sampled
    gaps = np.diff(seconds)
    inside = (np.diff(owner) == 0) & (gaps > 0)
    return gaps[inside], owner[1:][inside], seconds[:-1][inside]


def _tally(gaps: Counts) -> dict[int, int]:
    """Count each interval; most are alike, so that few have to be sorted."""
    if not len(gaps):
        return {}
    usual = int(gaps[len(gaps) // 2])
    other = gaps[gaps != usual]
    values, counts = np.unique(other, return_counts=True)
    return {usual: len(gaps) - len(other), **dict(zip(values.tolist(), counts.tolist()))}


def _commonest(tally: Mapping[int, int]) -> int:
    """Return the commonest interval, the shortest of several."""
    return min(tally, key=lambda gap: (-tally[gap], gap))


def _refuse_mixed(steps: list[int], common: int) -> None:
    """Refuse stations whose own commonest interval differs from that of the rest by more than a month's few days."""
    odd = Counter(step for step in steps if not 0.85 <= step / common <= 1.18)
    if odd:
        step = max(odd, key=lambda key: odd[key])
        raise SeriesError(
            f"The stations have mixed frequencies: most have a value every {_interval(common)}, {sum(odd.values())} every "
            f"{_interval(step)} or so. Choose a step to bring all of them to, or forecast them apart."
        )


def _calendar_step(groups: Callable[[], Iterable[Sampled]]) -> Frequency:
    every: Counter[int] = Counter()
    anchor = None
    for gaps, _, starts in map(_gaps, groups()):
        begin = starts.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        end = (starts + gaps).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        every.update(_tally(end - begin))
        anchor = int(begin[0]) if anchor is None and len(begin) else anchor
    months = {count: rows for count, rows in every.items() if count > 0}
    if not months or anchor is None:
        raise SeriesError("The times keep no step that can be found. Choose a step to bring the values to.")
    count = _commonest(months)
    off = sum(rows for gap, rows in every.items() if gap % count) / sum(every.values())
    if off > _MOST_OFF:
        raise SeriesError(
            f"The sampling is irregular: most intervals are {count} months, but {off:.0%} are no "
            f"multiple of that. Choose a step ({', '.join(STEPS)}) to bring the values to."
        )
    return Frequency("month", count, anchor % count)


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
