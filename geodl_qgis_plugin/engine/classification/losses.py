"""
Losses by name: what training makes smaller.

Each is given logits and the positions of the right classes, -1 for what is not learnt from, and returns one number: a mean that
counts classes as much as their weights say. It stays finite where classes are absent, from a batch or from all of training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..training_data.tile_set import TileSet
from .batches import IGNORED

LOSSES = ("cross-entropy", "focal", "dice")
_LEAST_DOUBT = 1e-6  # a power below 1 has no gradient at 0


def choose_loss(
    name: str, weights: Tensor, *, focal_gamma: float = 2.0, label_smoothing: float = 0.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """
    Return a loss.

    Parameters
    ----------
    name : str
        ``cross-entropy``; ``focal``, which counts what is already right for less; or ``dice``, the mean of cross-entropy and
        the share of each class that map and reference do not have in common.
    weights : tensor (class,)
        How much each class counts; 0 for those that do not occur.
    focal_gamma : float
        How much less: 0 is cross-entropy.
    label_smoothing : float
        Share of the truth that is dealt to all classes, so that no net becomes surer than it can be.
    """
    if name == "focal":
        return partial(focal_loss, weights=weights, gamma=focal_gamma, smoothing=label_smoothing)
    cross_entropy = partial(F.cross_entropy, weight=weights, ignore_index=IGNORED, label_smoothing=label_smoothing)
    if name == "dice":

        def both(logits: Tensor, wanted: Tensor) -> Tensor:
            return (cross_entropy(logits, wanted) + dice_loss(logits, wanted, weights)) / 2

        return both
    return cross_entropy


def focal_loss(
    logits: Tensor, wanted: Tensor, weights: Tensor | None = None, gamma: float = 2.0, smoothing: float = 0.0
) -> Tensor:
    """
    Return cross-entropy in which each place counts (1 - p)^gamma, p being the probability of the right class.

    Lin et al. 2017, "Focal loss for dense object detection", doi:10.1109/ICCV.2017.324. A gamma of 0 is cross-entropy.
    """
    single = F.cross_entropy(logits, wanted, weights, ignore_index=IGNORED, reduction="none", label_smoothing=smoothing)
    known = wanted != IGNORED
    right = torch.softmax(logits, 1).gather(1, wanted.clamp_min(0).unsqueeze(1)).squeeze(1)
    doubt = (1 - right).clamp_min(_LEAST_DOUBT) ** gamma
    counts = known.to(logits.dtype) if weights is None else weights[wanted.clamp_min(0)] * known
    return (doubt * single * known).sum() / counts.sum()


def dice_loss(logits: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """
    Return 1 less the Dice coefficient of probabilities and truth, averaged over the classes that occur in the batch.

    Milletari et al. 2016, "V-Net", doi:10.1109/3DV.2016.79. It is 0 for a perfect map; a class of three pixels counts as much
    as one of a million, unless ``weights`` (class,) say otherwise.
    """
    known = wanted != IGNORED
    truth = F.one_hot(wanted.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known.unsqueeze(1)
    given = torch.softmax(logits, 1) * known.unsqueeze(1)
    across = [0, *range(2, logits.ndim)]
    common, both = (given * truth).sum(across), (given + truth).sum(across)
    support = truth.sum(across)
    share = (support > 0).to(logits.dtype) * (1.0 if weights is None else weights)
    return ((1 - 2 * common / both.clamp_min(1e-12)) * share).sum() / share.sum().clamp_min(1e-12)


def class_weights(tile_set: TileSet, power: float, *, per_pixel: bool) -> Tensor:
    """
    Return a weight for each class (class,), from its share of the training part; 1 on average over what is learnt from.

    At most 10 times the smallest; a class without training pixels gets 0, which is never used.
    """
    if per_pixel:
        counts = tile_set.class_counts("training")
        share = np.array([counts.get(one.code, 0) for one in tile_set.classes], np.float64)
    else:
        codes = tile_set.tiles["code"][tile_set.indices("training")]
        share = np.array([(codes == one.code).sum() for one in tile_set.classes], np.float64)
    weights = np.zeros(share.size)
    there = share > 0
    weights[there] = (share[there] / share.sum()) ** -power
    weights[there] = np.minimum(weights[there], 10 * weights[there].min())
    weights /= (weights * share).sum() / share.sum()
    return torch.from_numpy(weights).float()
