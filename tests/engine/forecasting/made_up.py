"""Made-up station series whose truth is known, and tables of them."""

import csv

import numpy as np

from geodl_qgis_plugin.engine.forecasting.frequency import Frequency
from geodl_qgis_plugin.engine.forecasting.seasons import Calendar

MONTHLY = Calendar(Frequency("month", 1), 15 * 12)
DAILY = Calendar(Frequency("second", 86400), 0)


def monthly(stations=6, years=25, memory=0.0, seed=0, trend=0.0):
    """A yearly cycle, a trend, and anomalies with a memory that neighbours share: (station, time)."""
    generator = np.random.default_rng(seed)
    steps = 12 * years
    common = np.zeros(steps)
    shock = generator.normal(size=steps)
    for step in range(1, steps):
        common[step] = memory * common[step - 1] + shock[step]
    phase = 2 * np.pi * np.arange(steps) / 12
    own = 0.3 * generator.normal(size=(stations, steps))
    return 10 + 6 * np.cos(phase) + trend * np.arange(steps) / 12 + common + own + np.arange(stations)[:, None]


def white_noise(stations=6, steps=300, seed=0):
    """Nothing to be known."""
    return np.random.default_rng(seed).normal(size=(stations, steps))


def random_walk(stations=6, steps=300, seed=0):
    """The last value is the best forecast there is."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(stations, steps)), axis=1)


def write_table(path, values, first="2000-01-01", unit="M", name="value", ids=None):
    """Write a CSV with station, time, value, and its stations beside it; return both paths."""
    ids = ids or [f"{index:03d}" for index in range(len(values))]
    start = np.datetime64(first, unit)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["station", "time", name])
        for station, series in zip(ids, values):
            for step, value in enumerate(series):
                rows.writerow([station, f"{start + step}", "" if np.isnan(value) else f"{value:.4f}"])
    places = path.with_name("stations.csv")
    with places.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["station", "lon", "lat"])
        for index, station in enumerate(ids):
            rows.writerow([station, -3 + 0.4 * (index % 5), 52 + 0.3 * (index // 5)])
    return path, places
