"""How far back a model looks if the user does not say."""

from __future__ import annotations

from .frequency import DAY_S, Frequency


def default_input_length(frequency: Frequency, horizon: int) -> int:
    """Return two days of a step shorter than a day, two weeks of days, a year of months, at least half the horizon."""
    if frequency.unit == "month":
        usual = max(4, 12 // frequency.count)
    elif frequency.count >= DAY_S:
        usual = 14
    else:
        usual = max(14, 2 * frequency.season)
    return max(usual, -(-horizon // 2))
