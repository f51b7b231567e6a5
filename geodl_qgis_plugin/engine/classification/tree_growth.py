"""
Trees grown a few at a time by scikit-learn, kept as they stand, so that a run that was killed goes on with the next ones.

The seeds of trees are those that scikit-learn draws for a forest which is grown at once, however often growing was broken off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import SettingsError
from .checkpoints import DAMAGED
from .networks.trees import Trees, arrays_of, joined
from .pieces import Pieces

Arrays = dict[str, npt.NDArray[Any]]


def grow_trees(
    into: Trees,
    kind: str,
    features: npt.NDArray[np.float32],
    wanted: npt.NDArray[np.int64],
    *,
    class_weight: float,
    seed: int,
    trees: int,
    at_once: int,
    least_leaf: int = 2,
    kept: Pieces,
    name: str,
    go_on: Callable[[int, Arrays], bool],
) -> int:
    """
    Grow trees and put them into a net; return how many stand.

    Parameters
    ----------
    kind : str
        ``forest`` or ``extra trees``, whose thresholds are drawn at random.
    features, wanted : arrays (sample, feature) and (sample,)
        The latter are positions of classes.
    class_weight : float
        Power of the inverse class share by which samples are weighed.
    least_leaf : int
        Samples that a leaf holds at least.
    name : str
        What these trees are called among the pieces.
    go_on : callable
        Told how many trees stand and the arrays of the last of them, says whether more are wanted; asked after each lot,
        also after those that stood before. What it raises ends growing, which can go on later.
    """
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier  # noqa: PLC0415 - a second to import

    counts = np.bincount(wanted).astype(np.float64)
    weights = (counts[wanted] / len(wanted)) ** -class_weight
    parts: list[Arrays] = []
    number = unkept = 0  # trees, and lots that are in no file yet

    def keep() -> None:
        nonlocal unkept
        if unkept and kept.folder is not None:
            whole = joined(parts[-unkept:])
            stood = number - len(whole["roots"])
            kept.put(
                f"{name} from {stood}",
                {key: torch.from_numpy(array) for key, array in whole.items()},
                {"trees": number},
            )
        unkept = 0

    try:
        more = True
        while more and number < trees:
            found = kept.get(f"{name} from {number}") if not unkept else None
            if found is not None:
                parts.append({key: tensor.numpy() for key, tensor in found.tensors.items()})
                number = int(found.facts["trees"])
            else:
                lot = min(at_once, trees - number)
                # scikit-learn draws each tree's seed from this generator of numpy's older kind, one after the other
                seeds = np.random.RandomState(seed)
                seeds.randint(np.iinfo(np.int32).max, size=number)
                forest: Any = (RandomForestClassifier if kind == "forest" else ExtraTreesClassifier)(
                    lot, min_samples_leaf=least_leaf, max_features="sqrt", n_jobs=-1, random_state=seeds
                )
                forest.fit(features, wanted, weights)
                parts.append(arrays_of([tree.tree_ for tree in forest.estimators_], forest.classes_.astype(np.int64)))
                number, unkept = number + lot, unkept + 1
                if kept.due() or number >= trees:
                    keep()
            more = go_on(number, parts[-1])
    finally:
        keep()
    try:
        into.put(joined(parts))
    except ValueError as error:
        raise SettingsError(DAMAGED.format(f"in {kept.folder}")) from error
    return number
