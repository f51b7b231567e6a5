"""Classes: categories with a code, a name and a colour, kept from the layer they were mapped in to the map that comes out."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LandClass:
    """
    A category that is mapped: lithology, landform, land cover.

    ``code`` is what stands in rasters (1 to 65535; 0 is unlabelled), ``colour`` is ``#rrggbb``.
    """

    code: int
    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Return red, green and blue from 0 to 255."""
        value = int(self.colour.lstrip("#")[:6], 16)
        return value >> 16, value >> 8 & 255, value & 255

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LandClass:
        """Read what `as_dict` wrote."""
        return cls(int(values["code"]), str(values["name"]), str(values["colour"]))


def distinct_colours(count: int) -> list[str]:
    """Return ``count`` colours that are told apart easily: hues a golden angle apart, lightness and saturation in turn."""
    colours = []
    for i in range(count):
        hue = (0.58 + i * 0.618033988749895) % 1.0
        lightness, saturation = ((0.52, 0.62), (0.68, 0.55), (0.38, 0.60))[i % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
        colours.append(f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")
    return colours


def classes_from_names(names: Iterable[str], codes: Sequence[int] | None = None) -> list[LandClass]:
    """Make classes with codes from 1 and distinct colours for names that came without."""
    names = list(names)
    codes = list(range(1, len(names) + 1)) if codes is None else codes
    return [LandClass(code, name, colour) for code, name, colour in zip(codes, names, distinct_colours(len(names)))]
