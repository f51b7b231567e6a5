"""
Columns of a table as they are read, block by block, and held small: each distinct text once, numbers as numbers.

Ten thousand stations with forty years of days are 146 million rows, but only ten thousand ids and fifteen thousand dates. Two
bytes a row tell which of them it has; as Python's texts they would take thirty gigabytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError
from .seasons import Array

Codes = npt.NDArray[np.unsignedinteger[Any]]
# texts as UTF-8 (kind S), whole numbers, reals or days, and which of them are null
Block = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]
_NUMBER = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([*#$a-zA-Z]?)$")
_PLAIN = np.zeros(256, dtype=bool)  # bytes of numbers that are read without a second look
_PLAIN[[0, *b"0123456789.+-eE"]] = True
_MOST_REMEMBERED = 500_000
_EMPTY, _MARKED = "", "*"  # no missing code is empty, and none is a mark alone


@dataclass(frozen=True)
class Finding:
    """Something that was found in the data: what, how often, and for whom."""

    what: str
    count: int
    detail: str = ""

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        return f"{self.what}: {self.count:,}" + (f" ({self.detail})" if self.detail else "") + "."


@dataclass(frozen=True)
class TextColumn:
    """
    A field's texts.

    Attributes
    ----------
    texts : list of str
        Each distinct one, in the order in which they came.
    codes : (row,)
        Which of them each row has.
    """

    texts: list[str]
    codes: Codes

    def __iter__(self) -> Any:
        """Give the text of one row after the other."""
        return (self.texts[code] for code in self.codes.tolist())

    def counts(self) -> npt.NDArray[np.int64]:
        """Return how many rows have each text."""
        return count_codes(self.codes, len(self.texts))


@dataclass(frozen=True)
class RowPlaces:
    """
    Where rows lie.

    Attributes
    ----------
    points : (place, 2)
        Each distinct one; NaN for rows without a point.
    codes : (row,)
        Which of them each row has.
    """

    points: Array
    codes: Codes


@dataclass(frozen=True)
class NumberColumn:
    """A field's numbers, NaN where missing, and what was odd about them."""

    values: Array
    findings: list[Finding]


class TextReader:
    """Gathers a text column block by block; also whole numbers, days, and places as complex numbers."""

    def __init__(self) -> None:
        self._known = _Numbering()
        self._parts: list[Codes] = []
        self._is_day = False

    def take(self, block: Block) -> None:
        """Take in the next rows."""
        data, mask = block
        if data.dtype.kind == "M":
            self._is_day = True
            data = data.astype("datetime64[D]").astype(np.int64)
        heads = np.ones(len(data), dtype=bool)
        heads[1:] = (data[1:] != data[:-1]) | (mask[1:] != mask[:-1])
        runs = len(data) > 4 * int(heads.sum())  # rows of one station after the other, or of one day
        if runs:
            data, mask = data[heads], mask[heads]
        keys = data.tolist()
        if mask.any():
            keys = [None if lost else key for key, lost in zip(keys, mask.tolist())]
        codes = np.fromiter(map(self._known.__getitem__, keys), dtype=np.uint32, count=len(keys))
        if runs:
            codes = np.repeat(codes, np.diff(np.append(np.flatnonzero(heads), len(heads))))
        self._parts.append(codes.astype(np.uint16) if len(self._known) < 2**16 else codes)

    def column(self) -> TextColumn:
        """Return the column; texts are stripped."""
        return self._named([self._text(key) for key in self._known])

    def places(self) -> RowPlaces:
        """Return the places, where complex numbers were taken in; masked ones are nowhere."""
        points = np.array([(np.nan, np.nan) if key is None else (key.real, key.imag) for key in self._known])
        codes = self._named([str(index) for index in range(len(points))]).codes
        return RowPlaces(points.reshape(-1, 2), codes)

    def _named(self, texts: list[str]) -> TextColumn:
        """Return the column whose known keys stand for these texts, of which some may be the same."""
        distinct = _Numbering()
        final = np.array([distinct[text] for text in texts], dtype=np.uint32)
        codes: Codes = np.empty(sum(map(len, self._parts)), dtype=np.uint16 if len(distinct) < 2**16 else np.uint32)
        at = 0
        self._parts.reverse()
        while self._parts:  # given back as they are used
            part = self._parts.pop()
            codes[at : at + len(part)] = final[part]
            at += len(part)
        return TextColumn(list(distinct), codes)

    def _text(self, key: Any) -> str:
        if key is None:
            return ""
        if isinstance(key, bytes):
            return key.decode("utf-8", "replace").strip()
        if self._is_day:
            day = np.datetime64(key, "D")
            return "" if np.isnat(day) else str(day)
        return f"{key:.15g}" if isinstance(key, float) else str(key)


@dataclass
class NumberReader:
    """
    Gathers a column of numbers block by block.

    Missing codes and empty cells become NaN and are counted by code. A single mark behind a number (``4.5*``, the Met Office's
    "estimated") is taken off and counted.

    Attributes
    ----------
    rows : int
        How many are expected; room is made for them at once.
    """

    name: str
    missing_codes: str
    rows: int = 0
    _count: int = 0
    _odd: Counter[str] = field(default_factory=Counter)
    _remembered: dict[bytes, tuple[float, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._missing = {code.strip().lower() for code in self.missing_codes.split(",") if code.strip()}
        self._values = np.empty(self.rows)
        self._missing_numbers = np.array(sorted({float(code) for code in self._missing if _is_number(code)}))

    def take(self, block: Block) -> None:
        """Take in the next rows."""
        data, mask = block
        if data.dtype.kind != "S":
            self._add(self._numbers(data.astype(float), mask))
            return
        plain = not mask.any() and data.dtype.itemsize > 0 and _PLAIN[data.view(np.uint8)].all()
        if plain:
            try:
                values = data.astype(float)
            except ValueError:  # empty cells, most likely
                plain = False
            else:
                self._drop_codes(values, data)
        if not plain:
            values = self._texts([b"" if lost else text for text, lost in zip(data.tolist(), mask.tolist())])
        self._add(values)

    def column(self) -> NumberColumn:
        """Return the column and what was found in it."""
        values, self._values = self._values[: self._count], np.empty(0)
        sentences = {
            _EMPTY: f"Rows without a value of {self.name}",
            _MARKED: f"Values of {self.name} with a mark behind the number, read without it",
        }
        codes = sorted(set(self._odd) - set(sentences))
        findings = [Finding(f"Values of {self.name} with the missing code {code}", self._odd[code]) for code in codes]
        findings += [Finding(text, self._odd[odd]) for odd, text in sentences.items() if self._odd[odd]]
        return NumberColumn(values, findings)

    def _add(self, values: Array) -> None:
        end = self._count + len(values)
        if end > len(self._values):
            self._values = np.concatenate([self._values[: self._count], np.empty(max(end, len(values)))])
        self._values[self._count : end] = values
        self._count = end

    def _numbers(self, values: Array, mask: npt.NDArray[np.bool_]) -> Array:
        values[mask] = np.nan
        nan = int(np.isnan(values).sum() - mask.sum())
        for odd, count in ((_EMPTY, int(mask.sum())), ("nan", nan)):
            if count:
                self._odd[odd] += count
        self._drop_codes(values, None)
        return values

    def _drop_codes(self, values: Array, texts: npt.NDArray[Any] | None) -> None:
        if not len(self._missing_numbers):
            return
        for row in np.flatnonzero(np.isin(values, self._missing_numbers)):
            code = f"{values[row]:.15g}" if texts is None else texts[row].decode()
            self._odd[code] += 1
            values[row] = np.nan

    def _texts(self, texts: list[bytes]) -> Array:
        values = np.empty(len(texts))
        for row, raw in enumerate(texts):
            cell = self._remembered.get(raw)
            if cell is None:
                cell = self._read(raw.decode("utf-8", "replace").strip())
                if len(self._remembered) < _MOST_REMEMBERED:
                    self._remembered[raw] = cell
            values[row], odd = cell
            if odd is not None:
                self._odd[odd] += 1
        return values

    def _read(self, text: str) -> tuple[float, str | None]:
        """Return a cell's number, and what is odd about it: its missing code, that it is empty, or that it has a mark."""
        value = _number(text, self.name, self._missing)
        if not text:
            return value, _EMPTY
        if value != value or value in self._missing_numbers:
            return float("nan"), text
        return value, _MARKED if text[-1] in "*#$" or text[-1].isalpha() else None


def numbers_of(column: TextColumn, name: str, missing_codes: str) -> NumberColumn:
    """Turn a text column into numbers."""
    reader = NumberReader(name, missing_codes)
    texts = np.array([text.encode() for text in column], dtype="S")
    reader.take((texts, np.zeros(len(texts), dtype=bool)))
    return reader.column()


def count_codes(codes: Codes, most: int) -> npt.NDArray[np.int64]:
    """Return how often each code from 0 to ``most`` - 1 stands there, without a wider copy of all of them."""
    total = np.zeros(most, dtype=np.int64)
    for at in range(0, len(codes), 1 << 22):
        total += np.bincount(codes[at : at + (1 << 22)], minlength=most)
    return total


def texts_of(rows: Sequence[str]) -> TextColumn:
    """Return a column of texts that are in memory already."""
    reader = _Numbering()
    codes = np.array([reader[text] for text in rows], dtype=np.uint32)
    return TextColumn(list(reader), codes)


class _Numbering(dict[Any, int]):
    """Gives each new key the next number."""

    def __missing__(self, key: Any) -> int:
        self[key] = number = len(self)
        return number


def _number(text: str, field_name: str, missing: set[str]) -> float:
    if not text or text.lower() in missing:
        return float("nan")
    match = _NUMBER.match(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    if not match:
        raise SeriesError(
            f"The field {field_name} holds “{text}”, which is no number. Choose a field of numbers, or add the text to the "
            "missing codes."
        )
    return float(match[1])


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False
