"""Networks by name: an architecture is a name from this registry and numbers, never code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from ...bands import Band
from ...errors import ModelFileError, SettingsError
from .classic import ClassicCNN, positions
from .intake import Intake
from .unet import UNet

EACH_PIXEL, EACH_TILE = "each pixel", "each tile"
GUEST = "onnx"  # a net from elsewhere: its numbers say how it is run, see `interchange`
_SURFACE_WORDS = ("dem", "dtm", "dsm", "elevation", "height", "altitude", "srtm", "topograph")


@dataclass(frozen=True)
class Architecture:
    """
    A network as a model file holds it.

    ``kept``, ``surfaces``, ``radii`` and ``reaches`` are those of the `Intake`; ``numbers`` are the network's own.
    """

    name: str
    bands: int
    classes: int
    kept: list[int]
    surfaces: list[int] = field(default_factory=list)
    radii: list[int] = field(default_factory=list)
    reaches: list[int] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Return the network with fresh weights."""
        intake = Intake(self.bands, self.kept, self.surfaces, self.radii, self.reaches)
        return _BUILDERS[self.name][1](intake, self.classes, **self.numbers)

    @property
    def task(self) -> str:
        """Return what gets a class: ``each pixel`` or ``each tile``."""
        return str(self.numbers["task"]) if self.name == GUEST else _BUILDERS[self.name][0]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """
        Read what `as_dict` wrote.

        Raises
        ------
        ModelFileError
            If the name or a number is none that the registry knows.
        """
        try:
            architecture = cls(**values)
            if architecture.name == GUEST:
                return architecture
            allowed = set(inspect.signature(_BUILDERS[architecture.name][1]).parameters) - {"intake", "classes"}
            if set(architecture.numbers) - allowed:
                raise KeyError(*sorted(set(architecture.numbers) - allowed))
        except (TypeError, KeyError) as error:
            raise ModelFileError(
                f"The model's architecture is unknown to this version of GeoDL ({error}). Update the plugin to read it."
            ) from error
        return architecture


def _classic(intake: Intake, classes: int, *, tile_size_px: int, dropout: float = 0.0) -> nn.Module:
    return ClassicCNN(intake, classes, tile_size_px=tile_size_px, pooled=False, dropout=dropout)


def _pooled(intake: Intake, classes: int, *, tile_size_px: int, dropout: float = 0.0) -> nn.Module:
    return ClassicCNN(intake, classes, tile_size_px=tile_size_px, pooled=True, dropout=dropout)


def _unet(intake: Intake, classes: int, *, widths: Sequence[int] = (16, 24, 32, 48), dropout: float = 0.0) -> nn.Module:
    return UNet(intake, classes, widths=widths, dropout=dropout)


_BUILDERS: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "unet": (EACH_PIXEL, _unet),
    "pooled": (EACH_TILE, _pooled),
    "classic": (EACH_TILE, _classic),
}
NAMES = tuple(_BUILDERS)
DEFAULTS = {EACH_PIXEL: "unet", EACH_TILE: "pooled"}


def choose_architecture(
    name: str,
    task: str,
    bands: Sequence[Band],
    classes: int,
    tile_size_px: int,
    numbers: Mapping[str, Any] | None = None,
) -> Architecture:
    """
    Return the architecture for a task and its data.

    ``automatic`` is the default of the task. Elevation is passed on as high-passes and horizons, never as such, but for the
    ``classic`` net, which takes values as they are.

    Raises
    ------
    SettingsError
        If the architecture does not do the task, or the tiles are too small for it.
    """
    name = DEFAULTS[task] if name == "automatic" else name
    if _BUILDERS[name][0] != task:
        fitting = ", ".join(known for known, (does, _) in _BUILDERS.items() if does == task)
        raise SettingsError(f"ARCHITECTURE {name!r} does not classify {task}. Choose automatic, or one of {fitting}.")
    chosen = dict(numbers or {})
    surfaces = [] if name == "classic" else [i for i, band in enumerate(bands) if is_surface(band)]
    kept = [i for i in range(len(bands)) if i not in surfaces]
    # A tile net sees a window and no more, so what its first layer looks at must be small beside it.
    radii, reaches = ([2, 5, 15], [3, 15]) if task == EACH_PIXEL else ([2, 5], [5])
    if not surfaces:
        radii, reaches = [], []
    if task == EACH_TILE:
        smallest = 22 + 2 * max([*radii, *reaches], default=0)
        if positions(tile_size_px - smallest + 22) < 1:
            raise SettingsError(
                f"Tiles of {tile_size_px} pixels are too small for the net {name!r}. Extract tiles of {smallest} pixels "
                "or more."
            )
        chosen["tile_size_px"] = tile_size_px
    return Architecture(name, len(bands), classes, kept, surfaces, radii, reaches, chosen)


def is_surface(band: Band) -> bool:
    """Whether a band is an elevation: it says so, by its unit or its name."""
    name = band.name.lower()
    return band.kind == "scalar" and any(word in name for word in _SURFACE_WORDS) and "residual" not in name
