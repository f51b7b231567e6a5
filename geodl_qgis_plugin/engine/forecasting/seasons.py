"""Where each step of a series stands in the year and in the day, and the harmonics that a climatology is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .frequency import DAY_S, YEAR_S, Frequency

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calendar:
    """The steps of a set of series: their frequency and the number of the first one."""

    frequency: Frequency
    first: int

    @property
    def cycles(self) -> tuple[str, ...]:
        """The cycles that this step can show: ``year`` if shorter than a year, ``day`` if shorter than a day."""
        year = ("year",) if self.frequency.steps_per_year > 1.5 else ()
        day = ("day",) if self.frequency.unit == "second" and self.frequency.count < DAY_S else ()
        return year + day

    def highest(self, cycle: str) -> int:
        """The highest harmonic of a cycle that the step can resolve (half the steps in it)."""
        per_cycle = self.frequency.steps_per_year if cycle == "year" else DAY_S / self.frequency.count
        return int(per_cycle / 2 + 1e-6)

    def phase(self, cycle: str, start: int, stop: int) -> Array:
        """
        Return where the steps from ``start`` to ``stop`` (columns) stand in a cycle.

        Returns
        -------
        phase : (stop - start,)
            From 0 to 1.
        """
        times = self.frequency.start(self.first + np.arange(start, stop))
        if cycle == "day":
            seconds = times.astype(np.int64)
            return np.asarray((seconds % DAY_S) / DAY_S, dtype=float)
        if self.frequency.unit == "month":
            return np.asarray((times.astype("datetime64[M]").astype(np.int64) % 12) / 12, dtype=float)
        year = times.astype("datetime64[Y]").astype("datetime64[s]")
        return np.asarray((times - year).astype(np.int64) / YEAR_S % 1.0, dtype=float)

    def years(self, start: int, stop: int) -> Array:
        """Return the time of the steps in years after the first step."""
        return np.arange(start, stop) / self.frequency.steps_per_year

    def harmonics(self, counts: dict[str, int], start: int, stop: int) -> Array:
        """
        Return a constant and the harmonics of each cycle.

        Where both cycles are there, the day's first two harmonics may differ with the season: their products with the year's
        first harmonic are added.

        Returns
        -------
        design : (stop - start, column)
        """
        columns = [np.ones(stop - start)]
        waves: dict[str, list[Array]] = {}
        for cycle, count in counts.items():
            phase = self.phase(cycle, start, stop)
            waves[cycle] = []
            for order in range(1, count + 1):
                waves[cycle].append(np.cos(2 * np.pi * order * phase))
                if order < self.highest(cycle):  # at half the sampling rate the sine is zero at every step
                    waves[cycle].append(np.sin(2 * np.pi * order * phase))
            columns += waves[cycle]
        if counts.get("year") and counts.get("day"):
            columns += [year * day for year in waves["year"][:2] for day in waves["day"][:4]]
        return np.stack(columns, axis=1)
