"""The classic preset is Keras' network, and is forecast with by feeding it its own answers."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.forecasting.training import classic_network, classic_next

FIXTURE = Path(__file__).resolve().parents[2] / "data" / "keras_lstm.npz"


def test_agrees_with_keras():
    """On the weights of Keras' LSTM(50, relu) and Dense(1) the answers agree to 1e-5 (how they were made: SOURCES.md)."""
    held = np.load(FIXTURE)
    network = classic_network(
        {
            "kernel": held["kernel"],
            "recurrent": held["recurrent"],
            "bias": held["bias"],
            "dense.weight": held["dense_kernel"].T.copy(),
            "dense.bias": held["dense_bias"],
        }
    )
    found = classic_next(network, held["windows"])
    assert np.std(held["output"]) > 0.01
    np.testing.assert_allclose(found, held["output"], atol=1e-5)
