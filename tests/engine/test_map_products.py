"""What is kept of a block: the most probable class and its probability, and values from 0 to 1 as bytes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geodl_qgis_plugin.engine.classification.map_products import most_probable
from geodl_qgis_plugin.engine.rasters.writer import pack, unpack


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 300), st.integers(1, 70), st.integers(1, 5))
def test_the_most_probable_class_is_the_first_of_the_largest(data, classes, rows, columns):
    """As numpy finds it, with many equal values, whatever the number of classes and strips."""
    few = st.sampled_from(np.float32([0, 0.25, 0.5, 1]).tolist())
    shares = data.draw(arrays.arrays(np.float32, (classes, rows, columns), elements=few, fill=st.just(0.25)))
    positions, largest = most_probable(shares)
    np.testing.assert_array_equal(positions, shares.argmax(axis=0))
    np.testing.assert_array_equal(largest, shares.max(axis=0))


def test_bytes_hold_values_to_half_a_step():
    """From 0 to 1; what lies beyond is drawn in, what is no number is nodata."""
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    assert np.abs(unpack(pack(values)) - values).max() <= 0.002 + 1e-6
    odd = unpack(pack(np.float32([np.nan, np.inf, -np.inf, -0.1, 1.1])))
    assert np.isnan(odd[:3]).all()
    assert odd[3:].tolist() == [0.0, 1.0]
