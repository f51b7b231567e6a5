"""Training that was cut short is told; training that was done is not."""

import pytest

from geodl_qgis_plugin.engine.classification.course import Check
from geodl_qgis_plugin.engine.classification.shortfall import cut_short
from geodl_qgis_plugin.engine.classification.trained import Trained


def _history(batches, scores, minutes):
    steps = len(scores)
    return [
        Check(i + 1, batches * (i + 1) // steps, 1.0, 1.0, score, score, 60 * minutes * (i + 1) / steps)
        for i, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("batches", "scores", "minutes", "limit", "told"),
    [
        (120, [0.3, 0.4, 0.5], 2, 2, True),  # few batches, still rising
        (120, [0.3], 2, 2, True),  # one look only
        (120, [0.5, 0.52, 0.523], 2, 2, False),  # few, but no longer rising
        (4000, [0.3, 0.4, 0.5], 2, 2, False),  # enough batches
        (120, [0.3, 0.4, 0.5], 1, 2, False),  # ended by itself
        (120, [0.3, 0.4, 0.5], 2, 0, False),  # no limit
    ],
)
def test_only_a_shortfall_is_told(batches, scores, minutes, limit, told):
    """The sentence names the batches and the minutes."""
    history = _history(batches, scores, minutes)
    sentence = cut_short(Trained(None, history, history[-1], "", 0), limit)
    assert bool(sentence) == told
    if told:
        assert "120 batches" in sentence
        assert "2 minutes" in sentence
