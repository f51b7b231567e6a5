"""
What stands for ground that training must not see, where wide windows reach into it.

The predictors of test areas and of the buffer round them are hidden from training, but a map sees them: a window of 121 pixels
near them is half empty while training and full afterwards, and its mean is another one. So what lies beyond the edge of hidden
ground is taken to be the mirror image of what lies before it: levels go on without a step, and texture stays what it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..training_data.splits import BUFFER, TEST
from ..training_data.tile_set import TileSet


def as_on_a_map(
    values: npt.NDArray[np.float32],
    split: npt.NDArray[np.uint8],
    part: str,
    tile_set: TileSet,
    also_hidden: Sequence[int] = (),
) -> npt.NDArray[np.float32]:
    """
    Return bands as `TileSet.read` gives them to a part, with the `mirrored` ground in place of what is hidden from it.

    ``also_hidden`` are further parts (numbers of ``split``) that are hidden, as test areas are.
    """
    if part == "test" or tile_set.context != "hidden":
        return values
    return mirrored(values, np.isin(split, (TEST, BUFFER, *also_hidden)))


def mirrored(values: npt.NDArray[np.float32], hidden: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """
    Return bands (band, row, column) with hidden pixels (row, column) taken from their mirror images.

    The mirror stands at the nearest pixel that is not hidden; where the image is hidden too or outside, that pixel itself is
    taken. Other pixels stay as they are, nodata too.
    """
    if not hidden.any() or hidden.all():
        return values
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    rows, columns = np.nonzero(hidden)
    near_rows, near_columns = nearest[0][hidden], nearest[1][hidden]
    image_rows, image_columns = 2 * near_rows - rows, 2 * near_columns - columns
    height, width = hidden.shape
    inside = (image_rows >= 0) & (image_rows < height) & (image_columns >= 0) & (image_columns < width)
    inside[inside] &= ~hidden[image_rows[inside], image_columns[inside]]
    result = values.copy()
    result[:, rows, columns] = values[
        :, np.where(inside, image_rows, near_rows), np.where(inside, image_columns, near_columns)
    ]
    return result
