"""Stations that lie upwind know more: each station's own weights for its neighbours, however many stations there are."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.forecasting.climatology import NormalsPlan
from geodl_qgis_plugin.engine.forecasting.core import Side, fit_core, look_ahead
from geodl_qgis_plugin.engine.forecasting.neighbours import NeighbourSums, nearest
from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
from geodl_qgis_plugin.engine.forecasting.windows import Shape
from geodl_qgis_plugin.engine.messages import SilentProgress

from .made_up import DAILY


def travelling(stations, steps):
    """Weather whose waves all travel east, seen at places; returns these and the values."""
    generator = np.random.default_rng(0)
    places = generator.uniform(0, 10, (stations, 2))
    waves, phase = generator.normal(size=(2, 40)) / 1.2, generator.uniform(0, 2 * np.pi, 40)
    strength = np.zeros((steps, 2, 40))
    for step in range(1, steps):
        strength[step] = 0.9 * strength[step - 1] + 0.44 * generator.normal(size=(2, 40))
    angle = (places @ waves + phase)[:, None] - 0.8 * waves[0] * np.arange(steps)[:, None]  # (station, step, wave)
    values = (np.cos(angle) * strength[:, 0] + np.sin(angle) * strength[:, 1]).sum(axis=2) / np.sqrt(40)
    return places, values + 0.2 * generator.normal(size=values.shape)


@pytest.mark.parametrize("stations", [60, 500])
def test_neighbours_help_few_stations_and_many(stations):
    """Where weather travels, tomorrow's error falls by a tenth or more with the stations' own weights."""
    places, values = travelling(stations, 700)
    side, shape = Side.of_training(stations, places), Shape(7, 3)
    plan, training = NormalsPlan({"year": 2}, "none"), TrainingPlan(members=0)
    core = fit_core(values[:, :600], side, DAILY, plan, shape, training, 0, SilentProgress())
    assert core.neighbours is not None
    errors = []
    for one in (core, replace(core, neighbours=None)):
        found = [(at, look_ahead(one, values[:, :at], side, DAILY)) for at in range(600, 690, 9)]
        errors.append(np.mean([np.abs((said.normal + said.ridge)[:, 0] - values[:, at]) for at, said in found]))
    assert errors[0] < 0.9 * errors[1]


def test_weights_of_nothing_are_none():
    """Neighbours that tell nothing get weights of next to nothing; too few windows a station get no weights at all."""
    generator = np.random.default_rng(1)
    index = nearest(generator.uniform(size=(5, 2)), np.zeros(5, dtype=int))
    where = np.stack(np.meshgrid(np.arange(5), np.arange(1000)), axis=2).reshape(-1, 2)
    sums = NeighbourSums(index, 2, 0, 1000)
    sums.add(generator.normal(size=(5000, 5)).astype(np.float32), generator.normal(size=(5000, 2)), where)
    assert np.abs(sums.solve().weights).max() < 0.1
    few = NeighbourSums(index, 2, 0, 1000)
    few.add(np.ones((400, 5), dtype=np.float32), np.ones((400, 2)), where[:400])
    assert few.solve() is None
