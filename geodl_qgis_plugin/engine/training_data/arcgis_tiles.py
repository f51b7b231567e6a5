"""
What Esri's "Export Training Data For Deep Learning" writes beside Classified_Tiles.

The layout follows Esri's page "Deep learning training data contents" and the names that the public ArcGIS API for Python reads:
`esri_model_definition.emd`, `esri_accumulated_stats.json`, `map.txt` and `stats.txt`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bands import Band
from ..classes import LandClass
from ..rasters.grid import Grid


class ClassifiedTiles:
    """Statistics of tiles, gathered while they are written."""

    def __init__(self, bands: Sequence[Band], classes: Sequence[LandClass], size: int, grid: Grid) -> None:
        self._bands, self._classes, self._size, self._grid = list(bands), list(classes), size, grid
        self._names: list[str] = []
        self._least, self._most = np.full(len(bands), np.inf), np.full(len(bands), -np.inf)
        self._count, self._mean, self._squares = (np.zeros(len(bands)) for _ in range(3))
        self._pixels, self._images = np.zeros(len(classes), np.int64), np.zeros(len(classes), np.int64)

    def add(self, name: str, image: NDArray[np.float32], mask: NDArray[np.uint16]) -> None:
        """Count one tile: predictors (band, row, column), codes (row, column)."""
        self._names.append(name)
        for i, band in enumerate(image):
            values = band[np.isfinite(band)].astype(np.float64)
            if not values.size:
                continue
            self._least[i], self._most[i] = min(self._least[i], values.min()), max(self._most[i], values.max())
            # Chan, Golub & LeVeque (1983), doi:10.1080/00031305.1983.10483115: means and squares of parts are joined
            whole, shift = self._count[i] + values.size, values.mean() - self._mean[i]
            self._squares[i] += ((values - values.mean()) ** 2).sum() + shift**2 * self._count[i] * values.size / whole
            self._mean[i] += shift * values.size / whole
            self._count[i] = whole
        for i, one in enumerate(self._classes):
            here = int(np.count_nonzero(mask == one.code))
            self._pixels[i] += here
            self._images[i] += here > 0

    def write(self, folder: Path) -> None:
        """Write the four files."""
        _write_json(folder / "esri_model_definition.emd", self.model_definition())
        _write_json(folder / "esri_accumulated_stats.json", self.accumulated_statistics())
        lines = [f"images\\{name} labels\\{name}" for name in self._names]
        (folder / "map.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        (folder / "stats.txt").write_text(self.plain_statistics(), encoding="utf-8", newline="\n")

    def model_definition(self) -> dict[str, Any]:
        """Return what the .emd file says: classes, bands, their statistics, the size of tiles."""
        return {
            "Framework": "",
            "ModelConfiguration": "",
            "ModelFile": "",
            "ModelType": "ImageClassification",
            "Description": "Training tiles made with GeoDL",
            "ImageHeight": self._size,
            "ImageWidth": self._size,
            "ExtractBands": list(range(len(self._bands))),
            "DataRange": [float(self._finite(self._least).min()), float(self._finite(self._most).max())],
            "ModelPadding": 0,
            "BatchSize": 1,
            "PerProcessGPUMemoryFraction": 1,
            "MetaDataMode": "Classified_Tiles",
            "ImageSpaceUsed": "MAP_SPACE",
            "WellKnownBandNames (FYI, these band names can be used in ExtractBands)": [
                "Red",
                "Green",
                "Blue",
                "NearInfrared",
            ],
            "AllTilesStats": [
                {"Min": low, "Max": high, "Mean": mean, "StdDev": deviation}
                for low, high, mean, deviation in zip(
                    self._finite(self._least).tolist(),
                    self._finite(self._most).tolist(),
                    self._mean.tolist(),
                    np.sqrt(self._squares / np.maximum(self._count, 1)).tolist(),
                )
            ],
            "IsMultidimensional": False,
            "Classes": [{"Value": c.code, "Name": c.name, "Color": list(c.rgb)} for c in self._classes],
            "InputRastersProps": {
                "RasterCount": 1,
                "SensorName": "Raster Dataset",
                "BandNames": [band.name for band in self._bands],
                "PixelType": "F32",
                "CellSize": list(self._grid.pixel_size),
            },
        }

    def accumulated_statistics(self) -> dict[str, Any]:
        """Return statistics with which Esri's tools can go on counting; M1 is the mean, M2 the sum of squared deviations."""
        return {
            "Version": 1,
            "NumBands": len(self._bands),
            "TileSizeX": self._size,
            "TileSizeY": self._size,
            "NumClasses": len(self._classes),
            "NumTiles": len(self._names),
            "OutputFeatures": False,
            "MetaDataMode": "Classified_Tiles",
            "BandStatsState": [
                {"Min": low, "Max": high, "Num": int(count), "M1": mean, "M2": squares}
                for low, high, count, mean, squares in zip(
                    self._finite(self._least).tolist(),
                    self._finite(self._most).tolist(),
                    self._count.tolist(),
                    self._mean.tolist(),
                    self._squares.tolist(),
                )
            ],
            "ClassPixelStats": {
                "NumImagesTotal": len(self._names),
                "NumClasses": len(self._classes),
                "NumImagesPerClass": self._images.tolist(),
                "NumPixelsPerClass": self._pixels.tolist(),
            },
        }

    def plain_statistics(self) -> str:
        """Return the statistics as a person reads them."""
        lines = [
            f"images = {len(self._names)}  *{len(self._bands)}*{self._size}*{self._size}",
            f"classes = {len(self._classes)}",
            "cls name  cls value  images  pixels",
        ]
        lines += [
            f"{one.name}  {one.code}  {images}  {pixels}"
            for one, images, pixels in zip(self._classes, self._images, self._pixels)
        ]
        return "\n".join(lines) + "\n"

    def _finite(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put 0 for a band without any value: JSON knows no infinity."""
        return np.where(self._count > 0, values, 0.0)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
