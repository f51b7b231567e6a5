"""What stands for hidden ground is the mirror image of what lies before its edge, and owes nothing to what is hidden."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_qgis_plugin.engine.classification.hidden_ground import mirrored


def test_a_row_is_mirrored_at_both_edges_of_hidden_ground():
    """The image of the first hidden pixel is the one before the edge pixel; where there is none, the edge pixel is taken."""
    values = np.array([[[1, 2, 3, 4, 90, 91, 92, 93, 5, 6, 7]]], np.float32)
    hidden = np.array([[False] * 4 + [True] * 4 + [False] * 3])
    assert mirrored(values, hidden)[0, 0].tolist() == [1, 2, 3, 4, 3, 2, 7, 6, 5, 6, 7]
    edge = np.array([[True, True, True, False, False]])
    assert mirrored(np.array([[[9, 9, 9, 1, 2]]], np.float32), edge)[0, 0].tolist() == [1, 1, 2, 1, 2]


def test_without_hidden_ground_nothing_changes():
    """And where all is hidden there is nothing to take: nodata stays."""
    values = np.array([[[1, np.nan]]], np.float32)
    assert mirrored(values, np.zeros((1, 2), bool)) is values
    lost = np.full((1, 2, 2), np.nan, np.float32)
    np.testing.assert_array_equal(mirrored(lost, np.ones((2, 2), bool)), lost)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_hidden_values_are_not_seen(height, width, seed):
    """Whatever is hidden, the same comes out; what is seen stays; and no value comes out that was not seen."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(2, height, width)).astype(np.float32)
    hidden = random.random((height, width)) < random.random()
    hidden[random.integers(height), random.integers(width)] = False
    other = values.copy()
    other[:, hidden] = 1e9
    result = mirrored(values, hidden)
    np.testing.assert_array_equal(result, mirrored(other, hidden))
    np.testing.assert_array_equal(result[:, ~hidden], values[:, ~hidden])
    assert np.isin(result, values[:, ~hidden]).all()
