"""How far values in space resemble each other: the distance beyond which a test block tells something new."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SILL = 0.05  # the range is where correlation falls to this: the practical range of a variogram


def correlation_range_px(values: NDArray[np.float32], spacing: tuple[float, float]) -> float:
    """
    Return the distance at which the autocorrelation of a band falls to 5 %, from all pairs at once by Fourier transform.

    Parameters
    ----------
    values : array (row, column)
        NaN where there is no data.
    spacing : (float, float)
        Distance between rows and between columns; the result has the same unit.

    Returns
    -------
    distance : float
        At most half the shorter side; 0 where the band is constant or has fewer than a hundred values.
    """
    valid = np.isfinite(values)
    if np.count_nonzero(valid) < 100:
        return 0.0
    inside = values[valid].astype(np.float64)
    low, high = np.percentile(inside, (1, 99))
    inside = np.clip(inside, low, high)
    if inside.std() <= 1e-9 * max(1.0, abs(float(inside.mean()))):
        return 0.0
    centred = np.zeros(values.shape)
    centred[valid] = (inside - inside.mean()) / inside.std()
    shape = (2 * values.shape[0], 2 * values.shape[1])
    products = np.fft.irfft2(np.abs(np.fft.rfft2(centred, shape)) ** 2, shape)
    pairs = np.fft.irfft2(np.abs(np.fft.rfft2(valid.astype(float), shape)) ** 2, shape)
    rows = np.fft.fftfreq(shape[0], 1 / shape[0]) * spacing[0]
    columns = np.fft.fftfreq(shape[1], 1 / shape[1]) * spacing[1]
    distance = np.hypot(rows[:, None], columns[None, :])
    step = max(spacing)
    longest = min(values.shape[0] * spacing[0], values.shape[1] * spacing[1]) / 2
    lags = np.arange(0, max(int(longest / step), 1) + 1)
    ring = np.minimum(np.round(distance / step).astype(int), lags.size)
    sums = np.bincount(ring.ravel(), products.ravel(), lags.size + 1)[: lags.size]
    counts = np.bincount(ring.ravel(), np.round(pairs).ravel(), lags.size + 1)[: lags.size]
    correlation = np.divide(sums, counts, out=np.zeros(lags.size), where=counts > 0.5)
    below = np.flatnonzero(correlation < _SILL)
    return float(lags[below[0]] * step) if below.size else float(longest)
