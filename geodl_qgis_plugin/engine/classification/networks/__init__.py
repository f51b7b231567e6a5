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
from .ensemble import Ensemble
from .forest import SCALES_PX, WIDTHS_PX, PixelForest, TileForest
from .intake import Intake
from .residual import SMALLEST_SLIDING_PX, ResidualCNN, SmallTileNet
from .surroundings import Surroundings
from .unet import UNet

EACH_PIXEL, EACH_TILE = "each pixel", "each tile"
GUEST = "onnx"  # a net from elsewhere: its numbers say how it is run, see `interchange`
_SURFACE_WORDS = ("dem", "dtm", "dsm", "elevation", "height", "altitude", "srtm", "topograph")


@dataclass(frozen=True)
class Architecture:
    """
    A network as a model file holds it.

    ``kept``, ``surfaces``, ``radii`` and ``reaches`` are those of the `Intake`; ``numbers`` are the network's own, among them
    ``tile_size_px`` where tiles get a class.
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
    def is_forest(self) -> bool:
        """Whether it is grown, and not trained in batches."""
        return self.name in FORESTS

    @property
    def task(self) -> str:
        """Return what gets a class: ``each pixel`` or ``each tile``."""
        if self.name == GUEST:
            return str(self.numbers["task"])
        tasks = _BUILDERS[self.name][0]
        if len(tasks) == 1:
            return tasks[0]
        return EACH_PIXEL if self.numbers.get("tile_size_px") is None else EACH_TILE

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
            if architecture.task not in _BUILDERS[architecture.name][0]:
                raise KeyError(architecture.task)
        except (TypeError, KeyError) as error:
            raise ModelFileError(
                f"The model's architecture is unknown to this version of GeoDL ({error}). Update the plugin to read it."
            ) from error
        return architecture


def _classic(intake: Intake, classes: int, *, tile_size_px: int, dropout: float = 0.0) -> nn.Module:
    return ClassicCNN(intake, classes, tile_size_px=tile_size_px, pooled=False, dropout=dropout)


def _pooled(intake: Intake, classes: int, *, tile_size_px: int, dropout: float = 0.0) -> nn.Module:
    return ClassicCNN(intake, classes, tile_size_px=tile_size_px, pooled=True, dropout=dropout)


def _residual(intake: Intake, classes: int, *, tile_size_px: int, dropout: float = 0.3) -> nn.Module:
    kind = ResidualCNN if tile_size_px - 2 * intake.halo_px >= SMALLEST_SLIDING_PX else SmallTileNet
    return kind(intake, classes, tile_size_px=tile_size_px, dropout=dropout)


def _unet(intake: Intake, classes: int, *, widths: Sequence[int] = (16, 24, 32, 48), dropout: float = 0.0) -> nn.Module:
    return UNet(intake, classes, widths=widths, dropout=dropout)


def _forest(
    intake: Intake,
    classes: int,
    *,
    tile_size_px: int | None = None,
    spacing_m: Sequence[float] = (1.0, 1.0),
    widths: Sequence[int] = WIDTHS_PX,
    scales: Sequence[int] = SCALES_PX,
) -> nn.Module:
    if tile_size_px is not None:
        return TileForest(intake, classes, tile_size_px=tile_size_px)
    return PixelForest(intake, classes, spacing_m=spacing_m, widths=widths, scales=scales)


def _ensemble(
    intake: Intake,
    classes: int,
    *,
    members: Sequence[Mapping[str, Any]],
    weights: Sequence[float] | None = None,
    tile_size_px: int | None = None,
) -> nn.Module:
    built = []
    for values in members:
        member = Architecture.from_dict(values)
        if (member.bands, member.classes) != (intake.offset.numel(), classes):
            raise ValueError("The members of an ensemble must have its own bands and classes.")
        built.append(member.build())
    ensemble = Ensemble(built, weights)
    if ensemble.tile_size_px != tile_size_px:
        raise ValueError("The members of an ensemble must classify what it classifies.")
    return ensemble


_BUILDERS: dict[str, tuple[tuple[str, ...], Callable[..., nn.Module]]] = {
    "unet": ((EACH_PIXEL,), _unet),
    "surroundings": ((EACH_PIXEL,), Surroundings),
    "pooled": ((EACH_TILE,), _pooled),
    "classic": ((EACH_TILE,), _classic),
    "residual": ((EACH_TILE,), _residual),
    "forest": ((EACH_PIXEL, EACH_TILE), _forest),
    "extra trees": ((EACH_PIXEL, EACH_TILE), _forest),
    "ensemble": ((EACH_PIXEL, EACH_TILE), _ensemble),
}
FORESTS = ("forest", "extra trees")
ON_STATISTICS = (*FORESTS, "surroundings")  # they see what `statistics` makes of a place
NAMES = tuple(name for name in _BUILDERS if name != "ensemble")  # that can be asked for
NETS = tuple(name for name in NAMES if name not in ON_STATISTICS)
DEFAULTS = {EACH_PIXEL: "unet", EACH_TILE: "residual"}


def does(name: str, task: str) -> bool:
    """Whether an architecture does a task."""
    return task in _BUILDERS[name][0]


def choose_architecture(
    name: str,
    task: str,
    bands: Sequence[Band],
    classes: int,
    tile_size_px: int,
    numbers: Mapping[str, Any] | None = None,
    spacing_m: tuple[float, float] = (1.0, 1.0),
) -> Architecture:
    """
    Return the architecture for a task and its data.

    ``automatic`` is the default of the task. Elevation is passed on as high-passes and horizons, never as such, but for the
    ``classic`` net, which takes values as they are. ``spacing_m``, the size of a pixel in metres, is what a forest works out
    slopes with; ``numbers`` are for nets alone.

    Raises
    ------
    SettingsError
        If the architecture does not do the task, or the tiles are too small for it.
    """
    name = DEFAULTS[task] if name == "automatic" else name
    if task not in _BUILDERS[name][0]:
        fitting = ", ".join(known for known in NAMES if task in _BUILDERS[known][0])
        raise SettingsError(f"ARCHITECTURE {name!r} does not classify {task}. Choose automatic, or one of {fitting}.")
    chosen = dict(numbers or {})
    surfaces = [] if name == "classic" else [i for i, band in enumerate(bands) if is_surface(band)]
    kept = [i for i in range(len(bands)) if i not in surfaces]
    if name in ON_STATISTICS:
        own: dict[str, Any] = {"tile_size_px": tile_size_px} if task == EACH_TILE else {"spacing_m": list(spacing_m)}
        if task == EACH_PIXEL:
            own |= {"widths": list(WIDTHS_PX), "scales": list(SCALES_PX)}
        return Architecture(name, len(bands), classes, kept, surfaces, numbers=own)
    # A tile net sees a window and no more, so what its first layer looks at must be small beside it.
    radii, reaches = ([2, 5, 15], [3, 15]) if task == EACH_PIXEL else ([2, 5], [5])
    if not surfaces:
        radii, reaches = [], []
    if name == "residual":
        if surfaces and tile_size_px - 2 * max(*radii, *reaches) < SMALLEST_SLIDING_PX:
            # Within a few pixels: less the neighbours' mean, and less that of the whole tile.
            radii, reaches = sorted({1, tile_size_px}), []
    elif task == EACH_TILE:
        smallest = 22 + 2 * max([*radii, *reaches], default=0)
        if positions(tile_size_px - smallest + 22) < 1:
            raise SettingsError(
                f"Tiles of {tile_size_px} pixels are too small for the net {name!r}. Extract tiles of {smallest} pixels "
                "or more, or choose residual or forest."
            )
    if task == EACH_TILE:
        chosen["tile_size_px"] = tile_size_px
    return Architecture(name, len(bands), classes, kept, surfaces, radii, reaches, chosen)


def is_surface(band: Band) -> bool:
    """Whether a band is an elevation: it says so, by its unit or its name."""
    name = band.name.lower()
    return band.kind == "scalar" and any(word in name for word in _SURFACE_WORDS) and "residual" not in name


def ensemble_of(members: Sequence[Architecture], weights: Sequence[float] | None = None) -> Architecture:
    """Return the architecture whose probabilities are the (weighted) mean of its members'."""
    first = members[0]
    numbers: dict[str, Any] = {"members": [member.as_dict() for member in members]}
    numbers |= {"weights": [float(weight) for weight in (weights or [1.0] * len(members))]}
    if first.task == EACH_TILE:
        numbers["tile_size_px"] = first.numbers["tile_size_px"]
    return Architecture("ensemble", first.bands, first.classes, first.kept, first.surfaces, numbers=numbers)
