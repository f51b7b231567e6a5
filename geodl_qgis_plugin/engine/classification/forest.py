"""
Growing forests: the ones that are mapped with, and the one that stands beside every net, on the same labels and the same split.

They see what `networks.statistics` makes of a place. scikit-learn grows them; what is kept are numbers (`networks.trees`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from ..rasters.grid import Grid, Window
from ..training_data.splits import number_of
from ..training_data.tile_set import TileSet
from .augmentation import NONE, Symmetry, allowed_symmetries, turn_tile
from .batches import positions_of_codes, training_tiles
from .course import Check, News, Stage
from .hidden_ground import as_on_a_map
from .metrics import Accuracy, score_of_shares
from .networks import EACH_PIXEL, EACH_TILE, Architecture, choose_architecture
from .networks.forest import PixelForest, TileForest
from .networks.statistics import tile_values
from .networks.trees import Trees
from .pieces import Pieces
from .scoring import Predicted, Scored
from .trained import STOPPED, Trained
from .tree_growth import Arrays, grow_trees

TREES = 200
TRAINING_PIXELS = 30_000
CLASS_WEIGHT = 0.5
SCORED_PIXELS = 400_000
_VALIDATION_PIXELS = 100_000
_CORE_PX = 512
_TREES_AT_ONCE = 20
_ALL_STOOD = "all trees stood"
_WATCHED = 10_000  # validation places, while trees grow


class _Grown(NamedTuple):
    """A forest as it stands beside every net, its seed, and the state of the generator that drew its training samples."""

    net: PixelForest | TileForest
    seed: int
    drawn: dict[str, Any]

    def serves(self, seed: int, *, per_pixel: bool) -> bool:
        """Whether it is the one that would be grown."""
        whole = self.net.trees.roots.numel() == TREES
        return whole and self.seed == seed and (self.net.tile_size_px is None) == per_pixel


# What was grown to be compared on the validation part, while its set is open: it is not grown again to stand beside the net.
_grown: WeakKeyDictionary[TileSet, _Grown] = WeakKeyDictionary()


class Sample(NamedTuple):
    """Features (sample, feature), codes (sample,), and where the middles lie, in pixels of the set's grid."""

    features: npt.NDArray[np.float32]
    codes: npt.NDArray[np.uint16]
    rows: npt.NDArray[np.float64]
    columns: npt.NDArray[np.float64]


def grow(
    architecture: Architecture,
    tile_set: TileSet,
    seed: int,
    progress: Progress,
    *,
    class_weight: float = CLASS_WEIGHT,
    minutes: float = 0.0,
    augment: bool = True,
    kept: Pieces | None = None,
    tell: Callable[[News], None] | None = None,
) -> Trained:
    """
    Grow a forest on the training part of a set.

    At most 30,000 training pixels are drawn, and of the validation part 100,000 scored; for whole tiles all are used.

    Parameters
    ----------
    class_weight : float
        Power of the inverse class share by which samples are weighed: 0 weighs all alike, 1 all classes.
    minutes : float
        After which no further trees are begun; 0 for no limit.
    augment : bool
        Whether tiles that are seen pixel by pixel are turned and mirrored, as their bands allow.
    kept : Pieces, optional
        Where trees are kept as they stand; those that are there already are not grown again, and their time counts.
    tell : callable, optional
        Told how many trees stand, and what they score on the validation part.

    Raises
    ------
    Cancelled
        If it was stopped before the first trees stood; later those that stand are kept.
    """
    kept = kept or Pieces()
    clock = kept.clock("forest")
    net: PixelForest | TileForest = architecture.build()  # type: ignore[assignment]
    random = np.random.default_rng([seed, 11])
    progress.update(0.0, "Looking at the training part")
    symmetries = _symmetries(net, tile_set, augment)
    features, codes = _gathered(_samples(net, tile_set, "training", TRAINING_PIXELS, random, progress, symmetries))
    drawn = dict(random.bit_generator.state)
    asked, right = _gathered(_samples(net, tile_set, "validation", _VALIDATION_PIXELS, random, progress))
    standing = _Standing(net, asked, positions_of_codes(tile_set)[right])

    def go_on(number: int, last: Arrays) -> str:
        progress.update(0.1 + 0.8 * number / TREES, f"Growing the forest, {number} of {TREES} trees")
        if tell is not None:
            tell(Stage(architecture.name, number, TREES, "trees", standing.score(last)))
        if progress.cancelled():
            return STOPPED
        return f"the time was over after {number} trees" if minutes and clock.seconds() > 60 * minutes else ""

    wanted = positions_of_codes(tile_set)[codes]
    ended = _fit(net, architecture.name, features, wanted, seed, class_weight, len(symmetries), kept, go_on)
    as_beside = architecture.name == "forest" and class_weight == CLASS_WEIGHT
    as_beside = as_beside and list(symmetries) == list(_symmetries(net, tile_set, True))
    if as_beside and ended == _ALL_STOOD:
        _grown[tile_set] = _Grown(net, seed, drawn)
    learnt, scored = Scored(tile_set), Scored(tile_set)
    learnt.add(net.trees.probabilities(features).T, codes)
    scored.add(net.trees.probabilities(asked).T, right)
    check = Check(
        epoch=1,
        batches=0,
        training_loss=learnt.loss,
        validation_loss=scored.loss,
        validation_accuracy=scored.accuracy.accuracy or 0.0,
        validation_macro_f1=scored.accuracy.macro_f1 or 0.0,
        seconds=clock.seconds(),
    )
    name = "forest" if architecture.name == "forest" else f"model of {architecture.name}"
    return Trained(net.eval(), [check], check, ended, int(getattr(net, "halo_px", 0)), name)


class _Standing:
    """What the trees that stand score, worked out from each lot of them as it comes."""

    def __init__(
        self, net: PixelForest | TileForest, features: npt.NDArray[np.float32], wanted: npt.NDArray[np.int64]
    ) -> None:
        every = -(-len(wanted) // _WATCHED)
        self._features, self._wanted = features[::every], wanted[::every]
        self._net, self._sum = net, np.zeros((len(self._wanted), net.trees.number_of_classes), np.float32)

    def score(self, lot: Arrays) -> float | None:
        """Return the mean of accuracy and macro-F1 with another lot of trees."""
        trees = Trees(self._net.trees.features, self._net.trees.number_of_classes)
        trees.put(lot)
        self._sum += len(lot["roots"]) * trees.probabilities(self._features)
        return score_of_shares(self._sum, self._wanted) if len(self._wanted) else None


def forest_accuracy(
    tile_set: TileSet,
    part: str,
    seed: int,
    progress: Progress,
    *,
    per_pixel: bool,
    then: Callable[[Predicted], None] | None = None,
) -> Accuracy:
    """
    Grow a random forest on the training part of a set and score it on ``part``.

    At most 400,000 pixels are scored; for whole tiles all are. ``then`` is given what is predicted. One that `grow` grew on the
    same set with the same seed is taken as it stands.
    """
    task = EACH_PIXEL if per_pixel else EACH_TILE
    architecture = choose_architecture(
        "forest",
        task,
        tile_set.bands,
        len(tile_set.classes),
        tile_set.tile_size_px,
        spacing_m=spacing_m(tile_set.grid),
    )
    random = np.random.default_rng([seed, 11])
    found = _grown.get(tile_set)
    if found is not None and found.serves(seed, per_pixel=per_pixel):
        random.bit_generator.state = found.drawn
        return _scored(found.net, tile_set, part, SCORED_PIXELS, random, progress, then).accuracy
    net: PixelForest | TileForest = architecture.build()  # type: ignore[assignment]
    symmetries = _symmetries(net, tile_set, True)
    features, codes = _gathered(_samples(net, tile_set, "training", TRAINING_PIXELS, random, progress, symmetries))
    wanted = positions_of_codes(tile_set)[codes]

    def go_on(number: int, last: Arrays) -> str:
        progress.update(0.1 + 0.8 * number / TREES, f"Growing the forest, {number} of {TREES} trees")
        if progress.cancelled():
            raise Cancelled(f"The forest was left out: {STOPPED}.")
        return ""

    _fit(net, "forest", features, wanted, seed, CLASS_WEIGHT, len(symmetries), Pieces(), go_on)
    return _scored(net, tile_set, part, SCORED_PIXELS, random, PartOfProgress(progress, 0.9, 1.0), then).accuracy


def spacing_m(grid: Grid) -> tuple[float, float]:
    """Return the pixel size in metres; degrees at the grid's middle."""
    across, down = grid.pixel_size
    if not grid.in_degrees:
        return across, down
    _, south, _, north = grid.bounds
    return across * 111_320.0 * float(np.cos(np.radians((south + north) / 2))), down * 110_574.0


def _fit(
    net: PixelForest | TileForest,
    name: str,
    features: npt.NDArray[np.float32],
    wanted: npt.NDArray[np.int64],
    seed: int,
    class_weight: float,
    turns: int,
    kept: Pieces,
    go_on: Callable[[int, Arrays], str],
) -> str:
    """
    Grow trees a few at a time, put them into the net, and return why it ended: what ``go_on`` said, if anything.

    Every sample is there ``turns`` times, so leaves hold as many times more of them.
    """
    why = ""

    def more(number: int, last: Arrays) -> bool:
        nonlocal why
        why = go_on(number, last)
        return not why

    grow_trees(
        net.trees,
        name,
        features,
        wanted,
        class_weight=class_weight,
        seed=seed,
        trees=TREES,
        at_once=min(_TREES_AT_ONCE, TREES),
        least_leaf=max(2, turns),
        kept=kept,
        name="trees",
        go_on=more,
    )
    return why or _ALL_STOOD


def _scored(
    net: PixelForest | TileForest,
    tile_set: TileSet,
    part: str,
    most: int,
    random: np.random.Generator,
    progress: Progress,
    then: Callable[[Predicted], None] | None = None,
) -> Scored:
    """Score a forest on pixels drawn evenly from a part, or on all its tiles."""
    scored = Scored(tile_set)
    for features, codes, rows, columns in _samples(net, tile_set, part, most, random, progress):
        probabilities = net.trees.probabilities(features).T
        scored.add(probabilities, codes)
        if then is not None:
            then(Predicted(probabilities, codes, rows, columns))
    progress.update(1.0, "Scoring the forest")
    return scored


def _samples(
    net: PixelForest | TileForest,
    tile_set: TileSet,
    part: str,
    most: int,
    random: np.random.Generator,
    progress: Progress,
    symmetries: Sequence[Symmetry] = NONE,
) -> Iterator[Sample]:
    """Yield the samples of a part; tiles in several turns."""
    if isinstance(net, PixelForest):
        return _pixels(net, tile_set, part, most, random, progress)
    return _tiles(net, tile_set, part, symmetries)


def _symmetries(net: PixelForest | TileForest, tile_set: TileSet, augment: bool) -> Sequence[Symmetry]:
    """Return the turns in which a forest is shown its samples: percentiles know none, the tile's own pixels do."""
    own = isinstance(net, TileForest) and tile_values(len(tile_set.bands), net.tile_size_px) > 0
    return allowed_symmetries(tile_set.bands) if own and augment else NONE


def _pixels(
    net: PixelForest, tile_set: TileSet, part: str, most: int, random: np.random.Generator, progress: Progress
) -> Iterator[Sample]:
    """Yield labelled pixels of a part, drawn evenly."""
    total = sum(tile_set.class_counts(part).values())
    share = min(most / max(total, 1), 1.0)
    for values, labels, core, (row, column) in places(tile_set, part, net.halo_px):
        if progress.cancelled():
            raise Cancelled("The forest was stopped.")
        known = labels > 0
        if share < 1.0:
            known &= random.random(labels.shape) < share
        if known.any():
            rows, columns = np.nonzero(known)
            features = net.features(values)[:, core[0], core[1]][:, known].T
            yield Sample(features, labels[known], rows + row + 0.5, columns + column + 0.5)


def places(
    tile_set: TileSet, part: str, halo_px: int, also_hidden: Sequence[int] = ()
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16], tuple[slice, slice], tuple[int, int]]]:
    """Yield predictors with a margin (mirrored where hidden), the core's labels, its place in them, and in the grid."""
    if tile_set.storage != "mosaic":
        whole = (slice(None), slice(None))
        for index in tile_set.indices(part):
            values, labels = tile_set.read([index])
            tile = tile_set.tiles[index]
            seen = as_on_a_map(values[0], tile_set.split[index], part, tile_set, also_hidden)
            yield seen, labels[0], whole, (int(tile["row"]), int(tile["column"]))
        return
    grid, number = tile_set.grid, number_of(part)
    for row in range(0, grid.height, _CORE_PX):
        for column in range(0, grid.width, _CORE_PX):
            core = Window(row, column, min(_CORE_PX, grid.height - row), min(_CORE_PX, grid.width - column))
            if not (tile_set.split[core.slices] == number).any():
                continue
            outer = core.grown(halo_px, grid.height, grid.width)
            values, labels = tile_set.read_window(outer, part)
            values = as_on_a_map(values, tile_set.split[outer.slices], part, tile_set, also_hidden)
            top, left = core.row - outer.row, core.column - outer.column
            place = (slice(top, top + core.height), slice(left, left + core.width))
            yield values, labels[place], place, (core.row, core.column)


def _tiles(net: TileForest, tile_set: TileSet, part: str, symmetries: Sequence[Symmetry]) -> Iterator[Sample]:
    """Yield features and codes of whole tiles, turned in all these ways."""
    indices = training_tiles(tile_set, per_pixel=False) if part == "training" else tile_set.indices(part)
    indices = indices[tile_set.tiles["code"][indices] > 0]
    for start in range(0, len(indices), 256):
        chosen = indices[start : start + 256]
        read, half = tile_set.read(chosen)[0], tile_set.tile_size_px / 2
        tiles = tile_set.tiles[chosen]
        for symmetry in symmetries:
            turned = np.stack([turn_tile(tile, tile_set.bands, symmetry) for tile in read])
            yield Sample(net.features(turned), tiles["code"], tiles["row"] + half, tiles["column"] + half)


def _gathered(parts: Iterator[Sample]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    """Return the features and codes of all samples."""
    gathered = list(parts)
    return np.concatenate([some.features for some in gathered]), np.concatenate([some.codes for some in gathered])
