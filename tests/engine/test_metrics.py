"""Accuracy: known answers, agreement with scikit-learn, classes that are missing."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_qgis_plugin.engine.classes import classes_from_names
from geodl_qgis_plugin.engine.classification.metrics import Accuracy, ConfusionCounter
from geodl_qgis_plugin.engine.errors import LabelsError


def _classes(count):
    return classes_from_names(f"class {i}" for i in range(1, count + 1))


def test_scores_of_the_matrix_in_congalton_1991():
    """The error matrix of Congalton (1991, doi:10.1016/0034-4257(91)90048-B), as read in its table 1: 74 % and kappa 0.65."""
    mapped_by_reference = np.array([[65, 4, 22, 24], [6, 81, 5, 8], [0, 11, 85, 19], [4, 7, 3, 90]])
    accuracy = Accuracy.from_confusion(mapped_by_reference.T, _classes(4))
    assert accuracy.accuracy == pytest.approx(321 / 434)
    assert accuracy.kappa == pytest.approx(0.65, abs=0.005)
    assert accuracy.recall[0] == pytest.approx(65 / 75)
    assert accuracy.precision[0] == pytest.approx(65 / 115)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_agrees_with_scikit_learn(count, pixels, seed):
    """All scores equal scikit-learn's to 1e-12 on random pairs, classes missing on either side included."""
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    reference = generator.integers(1, count + 1, pixels)
    mapped = np.where(generator.random(pixels) < 0.6, reference, generator.integers(1, count + 1, pixels))
    codes = np.arange(1, count + 1)
    counter = ConfusionCounter(_classes(count))
    counter.add(reference, mapped)
    accuracy = counter.accuracy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        present = np.unique(reference)
        options = {"zero_division": 0}
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            reference, mapped, labels=codes, **options
        )
        iou = metrics.jaccard_score(reference, mapped, labels=codes, average=None, **options)
        expected = {
            "accuracy": metrics.accuracy_score(reference, mapped),
            "balanced_accuracy": metrics.recall_score(reference, mapped, labels=present, average="macro", **options),
            "kappa": metrics.cohen_kappa_score(reference, mapped),
            "macro_f1": metrics.f1_score(reference, mapped, labels=present, average="macro", **options),
            "weighted_f1": metrics.f1_score(reference, mapped, labels=codes, average="weighted", **options),
        }
    np.testing.assert_array_equal(accuracy.confusion, metrics.confusion_matrix(reference, mapped, labels=codes))
    for name, value in expected.items():
        found = getattr(accuracy, name)
        assert (found is None and np.isnan(value)) or found == pytest.approx(value, abs=1e-12), name
    for found, theirs in (
        (accuracy.precision, precision),
        (accuracy.recall, recall),
        (accuracy.f1, f1),
        (accuracy.iou, iou),
    ):
        np.testing.assert_allclose([value or 0.0 for value in found], theirs, atol=1e-12)
    assert list(support) == list(accuracy.support)


def test_a_class_missing_on_one_side_has_no_score():
    """A class never mapped has no precision, one absent from the reference no recall, F1 or IoU; no warning is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accuracy = Accuracy.from_confusion([[8, 0, 2], [4, 0, 0], [0, 0, 0]], _classes(3))
    assert accuracy.precision == (8 / 12, None, 0.0)
    assert accuracy.recall == (0.8, 0.0, None)
    assert accuracy.f1 == (16 / 22, 0.0, None)
    assert accuracy.iou == (8 / 14, 0.0, None)
    assert accuracy.macro_f1 == pytest.approx(8 / 22)


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), [[7, 0], [0, 0]]])
def test_nothing_to_compare_and_one_class_only(matrix):
    """No pixels, or one class on both sides: kappa is undefined and nothing divides by zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accuracy = Accuracy.from_confusion(matrix, _classes(2))
    assert accuracy.kappa is None
    assert accuracy.accuracy == (1.0 if np.any(matrix) else None)


def test_windows_add_up_to_the_whole():
    """Counting window by window gives the matrix of the whole; unlabelled and unmapped pixels stay out."""
    generator = np.random.default_rng(0)
    reference = generator.integers(0, 5, (64, 50), np.uint8)
    mapped = generator.integers(0, 5, (64, 50), np.uint8)
    whole, parts = ConfusionCounter(_classes(4)), ConfusionCounter(_classes(4))
    whole.add(reference, mapped)
    for row in range(0, 64, 7):
        for column in range(0, 50, 13):
            parts.add(reference[row : row + 7, column : column + 13], mapped[row : row + 7, column : column + 13])
    np.testing.assert_array_equal(whole.matrix, parts.matrix)
    assert whole.matrix.sum() == ((reference > 0) & (mapped > 0)).sum()
    assert parts.unmapped == ((reference > 0) & (mapped == 0)).sum()


def test_counts_beyond_32_bits():
    """Kappa holds for rasters of ten thousand million pixels, whose products outgrow 64 bits."""
    big = Accuracy.from_confusion(np.array([[4, 1], [1, 4]]) * 10**9, _classes(2))
    assert big.kappa == pytest.approx(0.6)


def test_codes_without_a_class_are_told():
    """A code that no class has is refused with a sentence that names it."""
    counter = ConfusionCounter(_classes(2))
    with pytest.raises(LabelsError, match="the code 7"):
        counter.add(np.array([1, 2]), np.array([1, 7]))


def test_survives_json():
    """What `as_dict` gives goes through JSON and back without loss."""
    accuracy = Accuracy.from_confusion([[8, 0, 2], [4, 0, 0], [0, 0, 0]], _classes(3))
    again = Accuracy.from_dict(json.loads(json.dumps(accuracy.as_dict())))
    assert again.as_dict() == accuracy.as_dict()
