"""Bands of predictors: a name, a unit, and the kind that says which turns and mirrorings keep their values true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from .errors import SettingsError

Kind = Literal["scalar", "azimuth", "vector_x", "vector_y", "directional"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Band:
    """
    One band of a stack of predictors.

    ``kind`` is ``scalar`` (elevation, slope, radiance: any turn keeps it true), ``azimuth`` (degrees clockwise from north),
    ``vector_x`` and ``vector_y`` (eastward and northward parts, such as the sine and cosine of aspect) or ``directional``
    (lit or measured from one side: no turn keeps it true). ``missing`` are values, in the band's unit, that mean no data beside
    those that the raster itself declares.
    """

    name: str
    unit: str = ""
    kind: Kind = "scalar"
    missing: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError(
                f"Band {self.name!r} has the kind {self.kind!r}, but must have one of {', '.join(KINDS)}."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self) | {"missing": list(self.missing)}
        if not self.missing:
            del values["missing"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Band:
        """Read what `as_dict` wrote."""
        missing = tuple(float(value) for value in values.get("missing", ()))
        return cls(str(values["name"]), str(values.get("unit", "")), values.get("kind", "scalar"), missing)
