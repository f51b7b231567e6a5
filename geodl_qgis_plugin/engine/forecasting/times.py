"""Times as people write them: ISO, compact, by year and month, with and without a zone; brought to UTC, and said so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError
from .frequency import Times

# tried in this order on all the texts of a column; a format must fit every one of them
_FORMATS = (
    "%Y-%m-%d", "%Y-%m", "%Y/%m/%d", "%Y/%m", "%Y%m%d", "%Y%m", "%Y", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S",
    "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d %H%M", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d-%b-%Y", "%b %Y", "%b-%Y", "%B %Y",
)  # fmt: skip
_SLASHED = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{4})( .*)?$")


@dataclass(frozen=True)
class Moments:
    """
    The times of a column.

    Attributes
    ----------
    utc, wall : (text,) datetime64[s]
        In UTC, and as the clock on the wall showed them; NaT where the text is empty. Times without a zone are the same twice.
    zoned : (text,) bool
        Which had a zone.
    """

    utc: Times
    wall: Times
    zoned: npt.NDArray[np.bool_]


def parse_times(texts: Sequence[str], field: str, format_: str = "") -> Moments:
    """
    Parse the distinct texts of a time column.

    Parameters
    ----------
    field : str
        Its name, for the message.
    format_ : str
        As for ``strptime``; found by itself if empty.
    """
    kinds = {text: None for text in texts if text}
    if not kinds:
        raise SeriesError(
            f"The field {field} is empty in every row, so there are no times. Choose the field with the times."
        )
    nothing = (np.datetime64("NaT", "s"), np.datetime64("NaT", "s"), False)
    table = {}
    for text, moment in zip(kinds, _parse_all(list(kinds), field, format_)):
        wall, zoned = moment.replace(tzinfo=None), moment.tzinfo is not None
        utc = moment.astimezone(timezone.utc).replace(tzinfo=None) if zoned else wall
        table[text] = (np.datetime64(utc, "s"), np.datetime64(wall, "s"), zoned)
    rows = [table.get(text, nothing) for text in texts]
    return Moments(
        np.array([row[0] for row in rows], dtype="datetime64[s]"),
        np.array([row[1] for row in rows], dtype="datetime64[s]"),
        np.array([row[2] for row in rows], dtype=bool),
    )


def date_of_name(name: str) -> str:
    """Return the date that a column of a wide table stands for (``1985-01``, ``X1985.01.01``, ``d1985_01``), or nothing."""
    text = re.sub(r"^[A-Za-z]+_?", "", name.strip())
    text = re.sub(r"[._/ ]", "-", text)
    match = re.fullmatch(r"(1[6-9]\d\d|20\d\d|21\d\d)(?:-?(0[1-9]|1[0-2]))?(?:-?(0[1-9]|[12]\d|3[01]))?", text)
    return "-".join(part for part in match.groups() if part) if match else ""


def _parse_all(texts: list[str], field: str, format_: str) -> list[datetime]:
    if format_:
        return _with_format(texts, format_, field)
    try:
        return [datetime.fromisoformat(_iso(text)) for text in texts]
    except ValueError:
        pass
    slashed = [_SLASHED.match(text) for text in texts]
    if all(slashed):
        return _with_format(texts, _slash_order([match for match in slashed if match], field), field)
    for candidate in _FORMATS:
        try:
            return [datetime.strptime(text, candidate) for text in texts]
        except ValueError:
            continue
    wrong = next((text for text in texts if not re.search(r"\d{4}", text)), texts[0])
    raise SeriesError(
        f"The field {field} holds “{wrong}”, which is no time that can be read. Choose the field with the times (2014-07-01, "
        "2014-07-01T12:00, 201407), or give their format."
    )


def _iso(text: str) -> str:
    """Spell a text as `datetime.fromisoformat` of Python 3.10 wants it."""
    text = text.strip().replace("Z", "+00:00") if text.endswith("Z") else text.strip()
    if re.search(r"[+-]\d\d$", text) and ":" in text:
        text += ":00"
    if not re.match(
        r"^\d{4}-\d\d-\d\d([T ].*)?$", text
    ):  # 3.11 also reads 20140701 and 2014-W01, which are left to the formats
        raise ValueError(text)
    return re.sub(r"\.\d+", "", text)


def _slash_order(matches: list[re.Match[str]], field: str) -> str:
    first, second = max(int(match[1]) for match in matches), max(int(match[2]) for match in matches)
    rest = matches[0][4] or ""
    clock = {0: "", 1: " %H:%M", 2: " %H:%M:%S"}[min(2, rest.count(":"))]
    if first > 12 >= second:
        return "%d/%m/%Y" + clock
    if second > 12 >= first:
        return "%m/%d/%Y" + clock
    raise SeriesError(
        f"The field {field} holds “{matches[0][0]}”, which may be day/month or month/day. Give the format: %d/%m/%Y{clock} or "
        f"%m/%d/%Y{clock}."
    )


def _with_format(texts: list[str], format_: str, field: str) -> list[datetime]:
    found = []
    for text in texts:
        try:
            found.append(datetime.strptime(text, format_))
        except ValueError as error:
            raise SeriesError(
                f"The field {field} holds “{text}”, which is no time of the format {format_}. Correct the format or the field."
            ) from error
    return found
