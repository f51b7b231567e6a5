"""
Decision trees as plain arrays: what a forest is in a model file, checked before any of it is followed.

scikit-learn's compiled walk down a tree is 25 times faster than gathering level by level in PyTorch (docs/benchmarks.md), but
it trusts what it is given, and its own way of saving is pickle. So only numbers are kept, and a walker is built from them once
they are known to lead downwards within their tree: a file that was tampered with can neither make it run for ever nor read
elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

LARGEST_NODES = 200_000_000
_ROWS_AT_ONCE = 4096
_ARRAYS = ("roots", "feature", "threshold", "right", "counts", "classes", "shares")


class Trees(nn.Module):
    """
    Trees whose leaves hold the shares of classes; their mean is a forest's probability.

    A tree's nodes follow one another: a node's left child is the next one, its right child lies further on.

    Attributes
    ----------
    roots : int64 (tree,)
        Where each tree begins.
    feature : int32 (node,)
        The feature that is compared; -1 in a leaf.
    threshold : float32 (node,)
        Values up to it go left.
    right : int32 (node,)
        The right child, counted from the tree's root; 0 in a leaf.
    counts : int32 (leaf,)
        How many classes each leaf holds, leaves in the order of nodes.
    classes, shares : int32 and float32 (leaf and class)
        Which classes, in ascending order, and their shares, which add up to 1 in each leaf.
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    right: Tensor
    counts: Tensor
    classes: Tensor
    shares: Tensor

    def __init__(self, features: int, number_of_classes: int) -> None:
        super().__init__()
        self.features, self.number_of_classes = features, number_of_classes
        for name in _ARRAYS:
            kind = {"roots": torch.int64, "threshold": torch.float32, "shares": torch.float32}.get(name, torch.int32)
            self.register_buffer(name, torch.zeros(0, dtype=kind))
        self._walkers: list[Any] = []
        self._leaves: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
        self._building = threading.Lock()

    def take(self, trees: Sequence[Any], positions: npt.NDArray[np.int64]) -> None:
        """
        Take the trees of a fitted scikit-learn forest.

        Parameters
        ----------
        trees : sequence of sklearn.tree._tree.Tree
        positions : array (class of the forest,)
            The position here of each class that the forest knows.
        """
        self.put(arrays_of(trees, positions))

    def put(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take arrays by the names of the attributes, once they are found to be trees."""
        self._set({name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in _ARRAYS})

    def probabilities(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the classes' probabilities (sample, class) of features (sample, feature), which must all be numbers."""
        self._build()
        features = np.ascontiguousarray(features, np.float32)
        result = np.zeros((len(features), self.number_of_classes), np.float32)

        def work(start: int) -> None:
            some, total = features[start : start + _ROWS_AT_ONCE], result[start : start + _ROWS_AT_ONCE]
            shares = np.empty_like(total)
            for walker, (leaf_of_node, values) in zip(self._walkers, self._leaves):
                np.take(values, leaf_of_node[walker.apply(some)], axis=0, out=shares, mode="clip")
                total += shares
            total /= len(self._walkers)

        starts = range(0, len(features), _ROWS_AT_ONCE)
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # the walk leaves Python's lock alone
            list(threads.map(work, starts))
        return result

    def extra_repr(self) -> str:
        """Return what stands in the printed module."""
        return f"trees={len(self.roots)}, nodes={len(self.feature)}, features={self.features}"

    def __getstate__(self) -> dict[str, Any]:
        """Leave the walkers out of copies: they are built anew from the arrays."""
        return {**self.__dict__, "_walkers": [], "_leaves": [], "_building": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._building = threading.Lock()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        """Take arrays of any length out of a state, once they are found to be trees."""
        *_, missing, unexpected, errors = arguments
        given = {name: state_dict.get(prefix + name) for name in _ARRAYS}
        missing += [prefix + name for name, array in given.items() if array is None]
        unexpected += [
            key for key in state_dict if key.startswith(prefix) and key[len(prefix) :].partition(".")[0] not in _ARRAYS
        ]
        if any(array is None for array in given.values()):
            return
        try:
            self._set(given)
        except ValueError as error:
            errors.append(str(error))

    def _set(self, arrays: dict[str, Tensor]) -> None:
        for name, array in arrays.items():
            wanted = self._buffers[name].dtype  # type: ignore[union-attr]
            if array.ndim != 1 or array.is_floating_point() != wanted.is_floating_point or array.is_complex():
                raise ValueError(f"{name} is no row of {wanted} numbers")
        check_trees(
            {name: array.cpu().numpy() for name, array in arrays.items()}, self.features, self.number_of_classes
        )
        for name, array in arrays.items():
            setattr(self, name, array.detach().to(self._buffers[name].dtype).clone())  # type: ignore[union-attr]
        self._walkers, self._leaves = [], []

    def _build(self) -> None:
        with self._building:
            if self._walkers:
                return
            arrays = {name: getattr(self, name).cpu().numpy() for name in _ARRAYS}
            if not len(arrays["roots"]):
                raise RuntimeError("The forest has no trees: it was neither grown nor loaded.")
            shares = np.zeros((len(arrays["counts"]), self.number_of_classes), np.float32)
            shares[np.repeat(np.arange(len(shares)), arrays["counts"]), arrays["classes"]] = arrays["shares"]
            ends = [*arrays["roots"][1:].tolist(), len(arrays["feature"])]
            walkers, leaves, first_leaf = [], [], 0
            for start, end in zip(arrays["roots"].tolist(), ends):
                leaf = arrays["feature"][start:end] < 0
                count = int(leaf.sum())
                leaf_of_node = np.cumsum(leaf) - 1
                walkers.append(
                    _walker(
                        self.features,
                        arrays["feature"][start:end],
                        arrays["threshold"][start:end],
                        arrays["right"][start:end],
                    )
                )
                leaves.append((leaf_of_node, shares[first_leaf : first_leaf + count]))
                first_leaf += count
            self._leaves = leaves
            self._walkers = walkers


def arrays_of(trees: Sequence[Any], positions: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of `Trees`, by name, for trees of a fitted scikit-learn forest; see `Trees.take`."""
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _ARRAYS}
    start = 0
    for tree in trees:
        leaf = tree.children_left < 0
        value = tree.value[leaf, 0] / tree.value[leaf, 0].sum(axis=1, keepdims=True)
        rows, columns = np.nonzero(value)
        parts["roots"].append(np.array([start], np.int64))
        parts["feature"].append(np.where(leaf, -1, tree.feature).astype(np.int32))
        parts["threshold"].append(np.where(leaf, np.float32(0.0), _down_to_float32(tree.threshold)))
        parts["right"].append(np.where(leaf, 0, tree.children_right).astype(np.int32))
        parts["counts"].append(np.bincount(rows, minlength=int(leaf.sum())).astype(np.int32))
        parts["classes"].append(positions[columns].astype(np.int32))
        parts["shares"].append(value[rows, columns].astype(np.float32))
        start += tree.node_count
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def joined(parts: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of several lots of trees as those of one."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}
    before = np.cumsum([0, *(len(part["feature"]) for part in parts[:-1])])
    whole["roots"] = np.concatenate([part["roots"] + start for part, start in zip(parts, before)])
    return whole


def check_trees(arrays: dict[str, npt.NDArray[Any]], features: int, classes: int) -> None:
    """
    Check that arrays are whole trees: every way down ends in a leaf of its own tree, and every leaf holds known classes.

    Parameters
    ----------
    arrays : dict
        By the names of `Trees`' attributes.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    roots, feature, threshold, right = (arrays[name] for name in _ARRAYS[:4])
    counts, held, shares = (arrays[name] for name in _ARRAYS[4:])
    nodes = len(feature)
    _wrong(not 0 < nodes <= LARGEST_NODES, f"{nodes:,} nodes")
    _wrong(len(threshold) != nodes or len(right) != nodes, "arrays of nodes that differ in length")
    _wrong(roots.size == 0 or roots[0] != 0 or (np.diff(roots) <= 0).any() or roots[-1] >= nodes, "roots out of place")
    _wrong((feature < -1).any() or (feature >= features).any(), "features that the forest is not given")
    _wrong(not np.isfinite(threshold).all(), "thresholds that are no numbers")
    leaf = feature < 0
    sizes = np.diff([*roots, nodes])
    within, size = np.arange(nodes) - np.repeat(roots, sizes), np.repeat(sizes, sizes)
    _wrong((right[leaf] != 0).any(), "leaves with children")
    inner = ~leaf
    # Children after their parents, within the tree: no way leads up, so all end.
    _wrong((right[inner] <= within[inner] + 1).any() or (right[inner] >= size[inner]).any(), "children out of place")
    _wrong((within[inner] + 1 >= size[inner]).any(), "children out of place")
    parents = np.zeros(nodes, np.int64)
    np.add.at(parents, np.flatnonzero(inner) + 1, 1)
    np.add.at(parents, np.repeat(roots, sizes)[inner] + right[inner], 1)
    _wrong((parents != (within > 0)).any(), "nodes without one parent")
    _wrong(len(counts) != leaf.sum() or (counts < 1).any() or (counts > classes).any(), "leaves without classes")
    _wrong(len(held) != counts.sum() or len(shares) != len(held), "leaves without classes")
    _wrong((held < 0).any() or (held >= classes).any(), "classes that there are not")
    same_leaf = np.diff(np.repeat(np.arange(len(counts)), counts)) == 0
    _wrong((np.diff(held)[same_leaf] <= 0).any(), "classes that a leaf holds twice")
    _wrong(not (np.isfinite(shares).all() and (shares >= 0).all()), "shares that are no shares")
    totals = np.add.reduceat(shares.astype(np.float64), np.cumsum(counts) - counts)
    _wrong((np.abs(totals - 1) > 1e-4).any(), "shares that do not add up to 1")


def _wrong(found: Any, what: str) -> None:
    if found:
        raise ValueError(f"The trees are damaged: there are {what}.")


def _walker(
    features: int,
    feature: npt.NDArray[np.int32],
    threshold: npt.NDArray[np.float32],
    right: npt.NDArray[np.int32],
) -> Any:
    """Return scikit-learn's tree with these nodes; its ``apply`` walks samples (sample, feature) down to their leaves."""
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415 - a second to import
    from sklearn.tree._tree import Tree  # noqa: PLC0415

    sample = DecisionTreeClassifier(max_depth=1).fit(np.array([[0.0], [1.0]]), [0, 1]).tree_.__getstate__()
    nodes = np.zeros(len(feature), sample["nodes"].dtype)  # further fields differ between versions, and apply uses none
    leaf = feature < 0
    nodes["left_child"] = np.where(leaf, -1, np.arange(len(feature)) + 1)
    nodes["right_child"] = np.where(leaf, -1, right)
    nodes["feature"] = np.where(leaf, -2, feature)
    nodes["threshold"] = np.where(leaf, -2.0, threshold)
    tree = Tree(features, np.ones(1, np.intp), 1)
    # Not a saved object's state, but numbers that `check_trees` has passed.
    tree.__setstate__(
        {"max_depth": 1, "node_count": len(nodes), "nodes": nodes, "values": np.zeros((len(nodes), 1, 1))}
    )
    return tree


def _down_to_float32(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the largest float32 that is not larger: float32 values fall on the same side of it."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
