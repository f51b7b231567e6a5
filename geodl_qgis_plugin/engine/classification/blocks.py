"""
Maps block by block: what is to be mapped as a list of blocks, each of which can be worked out alone, anywhere, in any order.

A block's arrays follow from the model, the rasters and the block's place alone. So a map is the same whether one process
made it or several, and whether they were stopped on the way or not.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ..errors import ModelFileError
from ..rasters.grid import Grid, Window
from ..rasters.stack import Stack
from .classifier import Classifier, load_classifier
from .map_mask import Mask
from .map_products import Product, Scores
from .turned import Turned, turned

Block = Window  # in pixels of the map; of a tile model in tiles


class BlockWork(abc.ABC):
    """
    What a model makes of rasters, block by block.

    It can be sent to another process (it pickles): handles and the model are opened there when first needed.

    Attributes
    ----------
    grid : Grid
        Of the maps.
    blocks : list of Block
        In the order in which they are read fastest; together they cover the grid.
    """

    grid: Grid
    blocks: list[Block]

    def __init__(
        self, model: Classifier, stack: Stack, area: Window, products: Sequence[Product], mask: Mask | None = None
    ) -> None:
        self._model: Classifier | None = model
        self._file: tuple[Path, str] = (model.file.path, model.file.sha256)
        self._turned = isinstance(model.net, Turned)
        self.stack, self.area, self.products, self.mask = stack, area, list(products), mask
        self._fast = model.fast

    @property
    def model(self) -> Classifier:
        """Return the model, read again where this was sent to another process."""
        if self._model is None:
            path, sha256 = self._file
            model = load_classifier(path, fast=self._fast)
            if model.file.sha256 != sha256:
                raise ModelFileError(f"{path} is not the file it was when the map was begun. Start the map again.")
            self._model = turned(model) if self._turned else model
        return self._model

    @abc.abstractmethod
    def read(self, block: Block) -> Any:
        """Return what `score` needs of the rasters; called in the reading thread."""

    @abc.abstractmethod
    def score(self, block: Block, given: Any) -> Scores | None:
        """Return what the model says of a block, or None where no pixel has data."""

    def compute(self, block: Block, given: Any = None) -> Mapping[str, npt.NDArray[Any]]:
        """
        Return a block's arrays as they are stored, by product; none of them where no pixel has data.

        Parameters
        ----------
        given : optional
            What `read` returned, if it was called before.
        """
        scores = self.score(block, self.read(block) if given is None else given)
        return self._stored(scores)

    def compute_together(self, given: Sequence[tuple[Block, Any]]) -> list[Mapping[str, npt.NDArray[Any]]]:
        """Return the arrays of several blocks, which a GPU works out at once; ``given`` has what `read` returned of each."""
        return [self._stored(scores) for scores in self.score_together(given)]

    def score_together(self, given: Sequence[tuple[Block, Any]]) -> list[Scores | None]:
        """Return what the model says of several blocks."""
        return [self.score(block, read) for block, read in given]

    @property
    def at_once(self) -> int:
        """How many blocks are best worked out together."""
        return 1

    @property
    def lanes(self) -> int:
        """How many threads work out blocks."""
        return self.model.runner.lanes

    def _stored(self, scores: Scores | None) -> Mapping[str, npt.NDArray[Any]]:
        return {} if scores is None else {product.name: product.stored(scores) for product in self.products}

    def for_thread(self) -> BlockWork:
        """Return the same work with raster handles of its own, and the same model, for another thread."""
        other = copy.copy(self)
        other.stack, other._model = self.stack.reopen(), self.model
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model behind."""
        return self.__dict__ | {"_model": None}
