"""Warnings about many rasters: the same one about forty of them is told once."""

from __future__ import annotations

from pathlib import Path

from ..messages import PartOfProgress, Progress
from ..rasters.sources import raster_file


class WarningsByRaster:
    """Collects what is told of each raster while all are checked."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._names: dict[str, list[str]] = {}  # by what is told of them

    def of(self, path: str) -> Progress:
        """Return the progress to check one raster with."""
        return _Collecting(self, Path(raster_file(path)).name)

    def add(self, name: str, text: str) -> None:
        """Take a warning."""
        self._names.setdefault(text, []).append(name)

    def tell(self) -> None:
        """Tell each warning once, with the first raster that it is of."""
        for text, names in self._names.items():
            others = f" and {len(names) - 1} others" if len(names) > 1 else ""
            self.progress.warning(f"{names[0]}{others}: {text}")


class _Collecting(PartOfProgress):
    def __init__(self, warnings: WarningsByRaster, name: str) -> None:
        super().__init__(warnings.progress, 0.0, 0.0)
        self._warnings, self._name = warnings, name

    def warning(self, text: str) -> None:
        self._warnings.add(self._name, text)
