"""The list of the maps in a folder: a table for the user, and by what a run that was stopped knows which maps are finished."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..classes import LandClass
from ..files import whole_file

NAME = "maps.csv"
_FIRST = ("raster", "map", "run")


class MapList:
    """
    One row a map: the raster, the map's file, the run's key, and how many pixels each class has.

    A row is written when its map, and all that belongs to it, is finished, and taken away before another run begins that map
    anew.
    """

    def __init__(self, folder: str | Path, classes: Sequence[LandClass]) -> None:
        self.path = Path(folder) / NAME
        self._fields = [*_FIRST, *(f"{one.code} {one.name}" for one in classes)]
        self._codes = [str(one.code) for one in classes]
        self._rows = {row["map"]: row for row in self._read()}

    def counts(self, name: str, key: str) -> dict[str, int] | None:
        """Return a finished map's pixels by class code, or None where this run has not finished it."""
        row = self._rows.get(name)
        if row is None or row["run"] != key:
            return None
        return {code: int(row[field]) for code, field in zip(self._codes, self._fields[len(_FIRST) :])}

    def put(self, name: str, raster: str, key: str, counts: Mapping[str, int]) -> None:
        """Add a finished map."""
        values = [raster, name, key, *(str(counts.get(code, 0)) for code in self._codes)]
        self._rows[name] = dict(zip(self._fields, values))
        self._write()

    def drop(self, name: str) -> None:
        """Take a map away that is begun anew."""
        if self._rows.pop(name, None) is not None:
            self._write()

    def keep(self, names: Sequence[str]) -> None:
        """Bring the rows into the order of the names, without those of other maps."""
        self._rows = {name: self._rows[name] for name in names if name in self._rows}
        self._write()

    def _write(self) -> None:
        with whole_file(self.path, "list") as part, part.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, self._fields, lineterminator="\n")
            table.writeheader()
            table.writerows(self._rows.values())

    def _read(self) -> list[dict[str, str]]:
        """Return the rows that an earlier run left; none of another model's, or of a file that is no such table."""
        try:
            with self.path.open(encoding="utf-8", newline="") as file:
                table = csv.DictReader(file)
                if table.fieldnames != self._fields:
                    return []
                return [row for row in table if None not in row.values() and all(map(str.isdigit, self._pixels(row)))]
        except (OSError, ValueError, csv.Error):
            return []

    def _pixels(self, row: Mapping[str, str]) -> list[str]:
        return [row[field] for field in self._fields[len(_FIRST) :]]
