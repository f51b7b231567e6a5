"""
Which predictors mattered: how much worse a model maps when one band no longer belongs to its place.

Permutation importance (Breiman 2001, doi:10.1023/A:1010933404324) by band, for any model that maps. A band is exchanged among
windows, or among whole tiles, and not pixel by pixel: its texture stays true, so that what is measured is whether the model
needs the band and not whether it bears noise.

What models on neighbourhood statistics see of a band follows from that band alone. So it is worked out once, and exchanging a
band is exchanging its columns, at a sample of pixels.
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
from .networks.ensemble import Ensemble
from .networks.forest import PixelForest
from .networks.statistics import features_of_bands
from .networks.surroundings import Surroundings
from .networks.trees import Trees
from .prediction import Reading, probabilities_of, up_to_multiple

REPEATS = 3
_WINDOW_PX = 128
_MOST_WINDOWS, _FEWEST_WINDOWS, _MOST_TILES = 48, 4, 512
# Pixels, with their halo, that the model is run on for all bands and repeats together; a forest is some ten times slower.
_MOST_PIXELS, _MOST_PIXELS_FOREST = 20_000_000, 2_000_000
# Values whose statistics are worked out, and pixels at which models on such are asked.
_MOST_VALUES, _MOST_SAMPLES = 30_000_000, 5_000
_TILES_AT_ONCE = 64

Shares = npt.NDArray[np.float32]


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
    it stays a matter of a minute. Models on neighbourhood statistics are asked at 5,000 pixels of these windows. None where
    the part has no labels.
    """
    net.eval()
    random = np.random.default_rng([seed, 23])
    places = _places(net, tile_set, part, halo_px, random)
    if not places:
        return None
    count = len(tile_set.bands)
    if _on_statistics_alone(net):
        repeats = REPEATS
    else:
        cost = count * len(places) * places[0].values[0].size
        repeats = int(np.clip(_budget(net) // cost, 1, REPEATS))
    if any(_is_on_statistics(member) for _, member in _members(net)):
        places = _thinned(places, random)
    model = _Model(net, places)
    losses = np.zeros((count, repeats))
    plain = model.right()
    for repeat in range(repeats):
        order = random.permutation(len(places))
        sources = np.empty_like(order)
        sources[order] = np.roll(order, 1)  # each place gets another one's band
        for band in range(count):
            if progress.cancelled():
                raise Cancelled("Looking for the predictors that matter was stopped.")
            exchanged = [_with_band(place, places[source], band) for place, source in zip(places, sources)]
            losses[band, repeat] = _lost(places, plain, exchanged, model.right(band, exchanged, sources), band)
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


def _members(net: nn.Module) -> list[tuple[float, nn.Module]]:
    """Return the members of an ensemble with their weights; any other model is its own only one."""
    if not isinstance(net, Ensemble):
        return [(1.0, net)]
    return [(weight, member) for weight, member in zip(net.weights, net.members) if weight > 0]


def _is_on_statistics(net: nn.Module) -> bool:
    return isinstance(net, (PixelForest, Surroundings))


def _on_statistics_alone(net: nn.Module) -> bool:
    return all(_is_on_statistics(member) for _, member in _members(net))


def _budget(net: nn.Module) -> int:
    """Return on how many pixels a model may be run in all."""
    if _on_statistics_alone(net):
        return _MOST_VALUES * REPEATS  # each window is looked at once
    others = [member for _, member in _members(net) if not _is_on_statistics(member)]
    slow = any(isinstance(module, Trees) for member in others for module in member.modules())
    return _MOST_PIXELS_FOREST if slow else _MOST_PIXELS


def _thinned(places: Sequence[_Place], random: np.random.Generator) -> list[_Place]:
    """Return places in which no more than so many pixels are left to be asked for."""
    share = min(_MOST_SAMPLES / max(sum(int((place.wanted >= 0).sum()) for place in places), 1), 1.0)
    return [
        place._replace(wanted=np.where(random.random(place.wanted.shape) < share, place.wanted, -1)) for place in places
    ]


class _Model:
    """A model at the places where it is asked, whose bands can be exchanged; members on statistics look at them once."""

    def __init__(self, net: nn.Module, places: Sequence[_Place]) -> None:
        self._net, self._places = net, places
        self._seen = {
            number: [_features(member, place, place.values) for place in places]
            for number, (_, member) in enumerate(_members(net))
            if _is_on_statistics(member)
        }

    def right(
        self,
        band: int = -1,
        exchanged: Sequence[_Place] | None = None,
        sources: npt.NDArray[np.int64] | None = None,
    ) -> list[npt.NDArray[np.bool_]]:
        """Return where the model is right (row, column), or one value a tile, as it is or with a band exchanged."""
        places = self._places if exchanged is None else exchanged
        if not self._seen:
            return _right(self._net, places)
        asked = [place.wanted >= 0 for place in places]
        total = [np.zeros(1, np.float32)] * len(places)
        for number, (weight, member) in enumerate(_members(self._net)):
            if number in self._seen:
                shares = self._of_statistics(number, member, band, places, sources)
            else:
                shares = [
                    probabilities_of(member, place.values, place.reading)[:, known].T  # type: ignore[arg-type]
                    for place, known in zip(places, asked)
                ]
            total = [before + np.float32(weight) * own for before, own in zip(total, shares)]
        right = []
        for place, known, own in zip(places, asked, total):
            found = np.zeros(place.wanted.shape, bool)
            found[known] = own.argmax(axis=1) == place.wanted[known]
            right.append(found)
        return right

    def _of_statistics(
        self,
        number: int,
        member: Any,
        band: int,
        places: Sequence[_Place],
        sources: npt.NDArray[np.int64] | None,
    ) -> list[Shares]:
        """Return probabilities (pixel, class) at the pixels that are asked for in each place."""
        own = features_of_bands(member.bands, member.surfaces, member.widths, member.scales)
        parts = []
        for index, place in enumerate(places):
            known = place.wanted >= 0
            features = self._seen[number][index][known]
            if sources is not None:
                # a place alone has its own band, turned: what is seen of that is not what was seen
                alone = sources[index] == index
                other = _features(member, place, place.values) if alone else self._seen[number][sources[index]]
                features[:, own[band]] = other[known][:, own[band]]
            parts.append(features)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return np.split(member.probabilities(np.concatenate(parts)), ends)


def _features(member: Any, place: _Place, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return features (row, column, feature) of a place's core."""
    outer, core = place.reading  # type: ignore[misc]
    rows, columns = core.from_origin(outer).slices
    return np.ascontiguousarray(np.moveaxis(member.features(values)[:, rows, columns], 0, -1))  # not the window's halo


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
