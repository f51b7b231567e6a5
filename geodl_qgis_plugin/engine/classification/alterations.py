"""
Changes of a tile's values that leave its classes alone: noise, brightness and contrast, bands that fail.

They are measured in each band's spread over the training part. Elevations stay as they are: what is derived from them is made
before, and noise in metres would be cliffs to it. Azimuths, and the two parts of a vector, are not brightened: that would turn
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..bands import Band
from ..training_data.tile_set import Scaling
from .networks import is_surface

_MOST_SPREADS = 0.999  # a contrast of 0 would leave nothing


@dataclass(frozen=True)
class Alteration:
    """
    What is done to training tiles.

    ``noise`` is the standard deviation of what is added to every pixel, ``gain`` that of a factor about 1 and of a shift, one
    for each tile and band, all in the band's spreads; ``band_dropout`` is the probability that a band is missing.
    """

    noise: float = 0.0
    gain: float = 0.0
    band_dropout: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.noise or self.gain or self.band_dropout)

    def apply(
        self, values: npt.NDArray[np.float32], bands: Sequence[Band], scaling: Scaling, random: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """
        Return a tile (band, row, column) with its values changed; what has no value still has none, and labels stay true.

        A band that is left out has no value anywhere; one at least is left.
        """
        altered = values.copy()
        touched = [i for i, band in enumerate(bands) if not is_surface(band)]
        for i in touched:
            spread, middle = float(scaling.scale[i]), float(scaling.offset[i])
            if self.gain and bands[i].kind in ("scalar", "directional"):
                factor, shift = 1 + self.gain * random.normal(), self.gain * random.normal() * spread
                altered[i] = middle + (altered[i] - middle) * max(factor, 1 - _MOST_SPREADS) + shift
            if self.noise:
                altered[i] += random.normal(0, self.noise * spread, altered[i].shape).astype(np.float32)
            if bands[i].kind == "azimuth":
                altered[i] %= 360.0
        if self.band_dropout:
            lost = [i for i in touched if random.random() < self.band_dropout]
            if len(lost) == len(bands):
                lost.remove(int(random.choice(lost)))
            altered[lost] = np.nan
        return altered


AS_IT_IS = Alteration()
