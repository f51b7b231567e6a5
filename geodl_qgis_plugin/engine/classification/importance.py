"""
Which predictors mattered: how much worse a model maps when one band no longer belongs to its place.

Permutation importance (Breiman 2001, doi:10.1023/A:1010933404324) by band, for any model that maps. A band is exchanged among
windows, or among whole tiles, and not pixel by pixel: its texture stays true, so that what is measured is whether the model
needs the band and not whether it bears noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..errors import Cancelled
from ..messages import Progress
from ..rasters.grid import Window
from ..training_data.splits import PARTS
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .devices import device_of
from .networks.trees import Trees
from .prediction import Reading, probabilities_of, up_to_multiple

REPEATS = 3
_WINDOW_PX = 128
_MOST_WINDOWS, _FEWEST_WINDOWS, _MOST_TILES = 48, 4, 512
# Pixels, with their halo, that the model is run on for all bands and repeats together; a forest is some ten times slower.
_MOST_PIXELS, _MOST_PIXELS_FOREST = 20_000_000, 2_000_000
_TILES_AT_ONCE = 64


class _Place(NamedTuple):
    values: npt.NDArray[np.float32]  # (band, row, column)
    wanted: npt.NDArray[np.int64]  # positions of classes in the core, -1 for none; one number for a tile
    reading: Reading | None


@dataclass(frozen=True)
class Importance:
    """
    Loss of accuracy for each band, and its spread over the repeats.

    ``accuracy`` is that of the same places as they are; ``places`` counts the pixels or tiles.
    """

    bands: list[str]
    loss: list[float]
    spread: list[float]
    accuracy: float
    places: int
    part: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "bands": [{"name": n, "loss": v, "spread": s} for n, v, s in zip(self.bands, self.loss, self.spread)],
            "accuracy": self.accuracy,
            "places": self.places,
            "part": self.part,
        }


def band_importance(
    net: nn.Module, tile_set: TileSet, part: str, *, halo_px: int, seed: int, progress: Progress
) -> Importance | None:
    """
    Return what each band is worth on a part, from at most 48 windows of 128 pixels (or 512 tiles) of it, three times over.

    The fewer windows, and the fewer repeats, the more bands there are, the farther the model sees and the slower it is, so that
    it stays a matter of a minute. None where the part has no labels.
    """
    net.eval()
    random = np.random.default_rng([seed, 23])
    places = _places(net, tile_set, part, halo_px, random)
    if not places:
        return None
    count = len(tile_set.bands)
    cost = count * len(places) * places[0].values[0].size
    repeats = int(np.clip(_budget(net) // cost, 1, REPEATS))
    losses = np.zeros((count, repeats))
    plain = _right(net, places)
    for repeat in range(repeats):
        order = random.permutation(len(places))
        sources = np.empty_like(order)
        sources[order] = np.roll(order, 1)  # each place gets another one's band
        for band in range(count):
            if progress.cancelled():
                raise Cancelled("Looking for the predictors that matter was stopped.")
            exchanged = [_with_band(place, places[source], band) for place, source in zip(places, sources)]
            losses[band, repeat] = _lost(places, plain, exchanged, _right(net, exchanged), band)
            done = (repeat * count + band + 1) / (repeats * count)
            progress.update(done, "Looking for the predictors that matter")
    known = [right[place.wanted >= 0] for right, place in zip(plain, places)]
    return Importance(
        [band.name for band in tile_set.bands],
        losses.mean(axis=1).tolist(),
        losses.std(axis=1).tolist(),
        float(np.concatenate(known).mean()),
        sum(some.size for some in known),
        part,
    )


def weights_of_bands(importance: Importance | None, bands: int) -> npt.NDArray[np.float64]:
    """Return a weight for each band (band,): its importance, the largest 1; all alike where none mattered."""
    if importance is None:
        return np.ones(bands)
    loss = np.maximum(np.asarray(importance.loss, np.float64), 0.0)
    return loss / loss.max() if loss.max() > 0 else np.ones(bands)


def _budget(net: nn.Module) -> int:
    """Return on how many pixels a model may be run in all."""
    return _MOST_PIXELS_FOREST if any(isinstance(module, Trees) for module in net.modules()) else _MOST_PIXELS


def _places(net: nn.Module, tile_set: TileSet, part: str, halo_px: int, random: np.random.Generator) -> list[_Place]:
    position, size = positions_of_codes(tile_set), tile_set.tile_size_px
    stride = int(net.stride)  # type: ignore[arg-type]
    most_pixels = _budget(net) // (REPEATS * len(tile_set.bands))
    if net.tile_size_px is not None or tile_set.storage != "mosaic":
        indices = tile_set.indices(part)
        per_pixel = net.tile_size_px is None
        if not per_pixel:
            indices = indices[tile_set.tiles["code"][indices] > 0]
        most = int(np.clip(most_pixels // size**2, _FEWEST_WINDOWS, _MOST_TILES))
        places = []
        for index in np.sort(random.permutation(indices)[:most]):
            values, labels = tile_set.read([index])
            side = up_to_multiple(size, stride) if per_pixel else size
            grown = np.full((values.shape[1], side, side), np.nan, np.float32)
            grown[:, :size, :size] = values[0]
            wanted = position[labels[0]] if per_pixel else position[tile_set.tiles["code"][index]]
            reading = Reading(Window(0, 0, side, side), Window(0, 0, size, size)) if per_pixel else None
            places.append(_Place(grown, np.asarray(wanted), reading))
        return places
    grid = tile_set.grid
    core, halo = up_to_multiple(_WINDOW_PX, stride), up_to_multiple(halo_px, stride)
    number, corners = PARTS[part], []
    for row in range(0, grid.height, core):
        band_of_rows = (tile_set.split[row : row + core] == number) & (tile_set.labels[row : row + core] > 0)
        columns = range(0, grid.width, core)
        corners += [(row, column) for column in columns if band_of_rows[:, column : column + core].any()]
    most = int(np.clip(most_pixels // (core + 2 * halo) ** 2, _FEWEST_WINDOWS, _MOST_WINDOWS))
    places = []
    for chosen in np.sort(random.permutation(len(corners))[:most]):
        inner = Window(*corners[chosen], core, core)
        outer = Window(inner.row - halo, inner.column - halo, core + 2 * halo, core + 2 * halo)
        values, _ = tile_set.read_window(outer, part)
        _, labels = tile_set.read_window(inner, part)
        places.append(_Place(values, position[labels], Reading(outer, inner)))
    return places


def _with_band(place: _Place, source: _Place, band: int) -> _Place:
    values = place.values.copy()
    values[band] = source.values[band] if source is not place else source.values[band, ::-1, ::-1]
    return place._replace(values=values)


def _right(net: nn.Module, places: Sequence[_Place]) -> list[npt.NDArray[np.bool_]]:
    """Return where the model is right (row, column), or one value a tile."""
    right = [
        np.asarray(probabilities_of(net, place.values, place.reading).argmax(axis=0) == place.wanted)
        for place in places
        if place.reading is not None
    ]
    tiles = [place for place in places if place.reading is None]
    for start in range(0, len(tiles), _TILES_AT_ONCE):
        some = tiles[start : start + _TILES_AT_ONCE]
        with torch.inference_mode():
            values = torch.from_numpy(np.stack([tile.values for tile in some])).to(device_of(net))
            best = net(values)[:, :, 0, 0].argmax(dim=1).cpu().numpy()
        right += [np.asarray(position == tile.wanted) for position, tile in zip(best, some)]
    return right


def _lost(
    places: Sequence[_Place],
    plain: Sequence[npt.NDArray[np.bool_]],
    exchanged: Sequence[_Place],
    right: Sequence[npt.NDArray[np.bool_]],
    band: int,
) -> float:
    """Return the accuracy that is lost where the place has a class and both bands have a value."""
    before = after = count = 0
    for place, was, changed, now in zip(places, plain, exchanged, right):
        use = place.wanted >= 0
        if place.reading is not None:
            outer, core = place.reading
            rows, columns = core.from_origin(outer).slices
            use = (
                use & np.isfinite(place.values[band, rows, columns]) & np.isfinite(changed.values[band, rows, columns])
            )
        before, after, count = before + int(was[use].sum()), after + int(now[use].sum()), count + int(use.sum())
    return (before - after) / count if count else 0.0
