"""Local times: clocks that change twice a year, brought to UTC, and days and months that stay those of the place."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from ..errors import SettingsError
from .columns import Codes, Finding, count_codes
from .frequency import HOUR_S, Times
from .rows import Group
from .times import Moments

_DAILY_S = 20 * HOUR_S  # a commonest interval from here on is a day or more, even where the clock changes


def zone_of(name: str) -> ZoneInfo:
    """
    Return the time zone of a name such as ``Europe/Dublin``.

    Raises
    ------
    SettingsError
        If there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(
            f"TIME_ZONE is “{name}”, which is no time zone that this computer knows. Give one such as Europe/Dublin or "
            "America/New_York; where none is known at all, install the Python package tzdata."
        ) from error


def is_daily(group: Group, times: Times) -> bool:
    """Whether a station's values come a day apart or more, so that the day or month of the place is what counts, not UTC's."""
    gaps = np.diff(times.astype("datetime64[s]").astype(np.int64)[group.moment])
    gaps = gaps[(np.diff(group.station) == 0) & (gaps > 0)]
    if not len(gaps):
        return False
    values, counts = np.unique(gaps, return_counts=True)
    return bool(values[counts.argmax()] >= _DAILY_S)


def in_utc(moments: Moments, station: Codes, codes: Codes, zone: ZoneInfo | None) -> tuple[Times, Codes, list[Finding]]:
    """
    Bring the rows' times to UTC; those without a zone of their own are read as local times of ``zone``, if one is given.

    The hour that comes twice in autumn is told apart by its order in the table: a station's second one is the later. The hour
    that is left out in spring cannot be; times in it are read as if the clock had not been changed yet.

    Parameters
    ----------
    moments : Moments
        Of the distinct texts.
    station, codes : (row,)
        Each row's station, and which of the texts it has.

    Returns
    -------
    times : (code,)
    codes : (row,)
        Which of ``times`` each row has.
    findings : list of Finding
    """
    counts = count_codes(codes, len(moments.utc))
    moved = int(counts[moments.utc != moments.wall].sum())
    findings = [Finding("Times in another zone than UTC, moved to UTC", moved)] if moved else []
    naive = ~moments.zoned & ~np.isnat(moments.wall)
    if zone is None or not naive.any():
        return moments.utc, codes, findings
    early, late = moments.utc.copy(), moments.utc.copy()
    early[naive], late[naive] = _in_utc(moments.wall[naive], zone, 0), _in_utc(moments.wall[naive], zone, 1)
    findings.append(
        Finding(f"Local times of {zone.key}, moved to UTC", int(counts[naive & (early != moments.wall)].sum()))
    )
    skipped, twice = naive & (late < early), naive & (late > early)
    if skipped.any():
        findings.append(Finding("Times in the spring hour that the clock leaves out", int(counts[skipped].sum())))
    if not twice.any():
        return early, codes, findings
    rows = np.flatnonzero(twice[codes])
    _, first = np.unique(station[rows].astype(np.int64) * len(early) + codes[rows], return_index=True)
    second = np.delete(rows, first)
    # the later hours get codes of their own, behind those of the texts
    behind = np.cumsum(twice) - 1 + len(early)
    wider = codes.astype(np.uint32)
    wider[second] = behind[codes[second]]
    what = "Times in the autumn hour that comes twice"
    findings.append(Finding(what, len(rows), f"{len(second):,} were a station's second and count as the later hour"))
    return np.concatenate([early, late[twice]]), wider, findings


def _in_utc(walls: Times, zone: ZoneInfo, fold: int) -> Times:
    found = []
    for wall in walls.astype("datetime64[s]").astype(np.int64).tolist():
        moment = (datetime(1970, 1, 1) + timedelta(seconds=wall)).replace(tzinfo=zone, fold=fold)
        found.append(moment.astimezone(timezone.utc).replace(tzinfo=None))
    return np.array(found, dtype="datetime64[s]")
