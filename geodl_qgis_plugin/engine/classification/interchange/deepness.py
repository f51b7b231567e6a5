"""
What the plugin Deepness reads from an ONNX file's metadata, and what GeoDL adds to it. Every value is JSON in a text.

Deepness multiplies every value by 1/255, then takes off ``standardization_mean`` and divides by ``standardization_std``, band
by band (docs/onnx.md). GeoDL's nets take physical values, so they ask for a mean of 0 and a spread of 1/255, which undoes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...bands import Band
from ...classes import LandClass

BYTE = 255.0
_SEGMENTOR = "Segmentor"


def metadata(
    bands: Sequence[Band],
    classes: Sequence[LandClass],
    *,
    tile_size_px: int | None,
    overlap_percent: int,
    pixel_m: float | None,
    model: str,
    sha256: str,
) -> dict[str, str]:
    """
    Return an exported model's metadata, texts by name.

    ``seg_thresh`` and ``seg_small_segment`` are 0, so that Deepness takes the likeliest class and blurs nothing. The pixel size
    is in centimetres there; it is left out where it is not known in metres, for Deepness knows no degrees.
    """
    values: dict[str, Any] = {
        "model_type": _SEGMENTOR,
        "class_names": {str(number): one.name for number, one in enumerate(classes)},
        "tiles_overlap": overlap_percent,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "standardization_mean": [0.0] * len(bands),
        "standardization_std": [1 / BYTE] * len(bands),
        "geodl_bands": [band.as_dict() for band in bands],
        "geodl_classes": [one.as_dict() for one in classes],
        "geodl_model": model,
        "geodl_model_sha256": sha256,
    }
    if pixel_m is not None:
        values |= {"resolution": pixel_m * 100, "geodl_pixel_size_m": pixel_m}
    if tile_size_px is not None:
        values["tile_size"] = tile_size_px
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


class Told:
    """
    What a file's metadata tell, None where they tell nothing or what cannot be read.

    Attributes
    ----------
    classes, bands : list or None
    class_names : list of str or None
        Where there are no classes with codes and colours.
    pixel_m : float or None
    masks_nodata : bool
        Whether the net takes NaN for nodata itself, as those do that GeoDL exported.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        values = {name: _json(text) for name, text in texts.items()}
        self.bands = _all(Band.from_dict, values.get("geodl_bands"))
        self.masks_nodata = bool(self.bands)
        self.classes = _all(LandClass.from_dict, values.get("geodl_classes"))
        self.class_names = _names(values.get("class_names", values.get("names")))
        centimetres = values.get("resolution")
        self.pixel_m = float(centimetres) / 100 if isinstance(centimetres, (int, float)) and centimetres > 0 else None
        self._for_deepness = "model_type" in values
        self._mean, self._spread = values.get("standardization_mean"), values.get("standardization_std")

    def scaling(self, bands: int) -> tuple[list[float], list[float]] | None:
        """Return the offset and the scale of each band, of values in their own units; None if it was not made for Deepness."""
        if not self._for_deepness:
            return None
        mean, spread = _numbers(self._mean, bands), _numbers(self._spread, bands)
        if mean is None or spread is None:
            mean, spread = [0.0] * bands, [1.0] * bands
        return [BYTE * one for one in mean], [BYTE * one for one in spread]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _all(read: Any, values: Any) -> list[Any] | None:
    try:
        return [read(value) for value in values]
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def _names(values: Any) -> list[str] | None:
    """Return the names of classes that are numbered from 0; a list of one such table is taken too."""
    if isinstance(values, list) and len(values) == 1:
        values = values[0]
    if not isinstance(values, dict) or set(values) != {str(number) for number in range(len(values))}:
        return None
    return [str(values[str(number)]) for number in range(len(values))]


def _numbers(values: Any, count: int) -> list[float] | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    return [float(value) for value in values] if all(isinstance(value, (int, float)) for value in values) else None
