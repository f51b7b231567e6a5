"""Cross-validation: pooled from all folds, the forest beside it, a random split labelled optimistic; breaks change nothing."""

import json

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classes import classes_from_names
from geodl_qgis_plugin.engine.classification import forest
from geodl_qgis_plugin.engine.classification.fold_scores import CrossValidation, FoldScore
from geodl_qgis_plugin.engine.classification.metrics import Accuracy
from geodl_qgis_plugin.engine.errors import SettingsError, SplitError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model

from .test_training import train

torch.set_num_threads(1)
OPTIONS = {"cross_validation": 3, "epochs": 1, "forest": True}


@pytest.fixture(scope="module", autouse=True)
def small_forests():
    """Grow few trees: five forests are grown here."""
    before, forest.TREES = forest.TREES, 20
    yield
    forest.TREES = before


@pytest.fixture(scope="module")
def model(tiles, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.geodl"
    train(tiles, path, report=str(path.with_suffix(".html")), **OPTIONS)
    return path


def test_every_label_is_scored_in_one_fold(tiles, model):
    """The pooled matrices of net and forest hold all labelled pixels of the set once; the report shows them."""
    told = CrossValidation.from_dict(read_model(model).part("classifier")["cross_validation"])
    assert [fold.name for fold in told.folds] == ["1", "2", "3"]
    pooled = told.pooled("net")
    assert pooled.pixels == int((tiles.labels[:] > 0).sum())
    assert told.pooled("forest").pixels == pooled.pixels
    assert told.pooled("forest").accuracy > 0.8
    assert told.random.net.pixels < pooled.pixels
    html = model.with_suffix(".html").read_text()
    assert "Over all folds of space" in html
    assert "random split (optimistic)" in html
    assert "Learning curves" in html  # of one epoch too
    page = model.parent / "d.html"
    run_job("describemodel", {"model": str(model), "report": str(page)}, SilentProgress())
    assert "Over all folds of space" in page.read_text()
    assert [path.name for path in model.parent.glob(".*")] == []


def test_the_weights_are_those_without_it(tiles, model, tmp_path):
    """The model itself is trained as ever."""
    train(tiles, tmp_path / "m.geodl", epochs=1)
    for name, array in read_model(tmp_path / "m.geodl").weights.items():
        np.testing.assert_array_equal(read_model(model).weights[name], array, err_msg=name)


def test_finished_folds_are_kept_over_a_break(tiles, model, tmp_path):
    """Broken off in the third fold, the same command does not train the first two again, and tells the same scores."""

    class InThird(SilentProgress):
        def message(self, text):
            super().message(text)
            if "fold 3" in text:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiles, tmp_path / "m.geodl", InThird(), **OPTIONS)
    kept = sorted(path.name for path in tmp_path.glob(".*/folds-3/*.json"))
    assert kept == ["1.json", "2.json"]
    told = SilentProgress()
    train(tiles, tmp_path / "m.geodl", told, **OPTIONS)
    assert not any("fold 1" in text or "fold 2" in text for text in told.messages)
    first, second = (read_model(path).part("classifier")["cross_validation"] for path in (model, tmp_path / "m.geodl"))
    assert json.dumps(first) == json.dumps(second)


def test_stopping_keeps_the_model(tiles, tmp_path):
    """What was trained is written with its scores, without a cross-validation."""

    class Stops(SilentProgress):
        stopped = False

        def message(self, text):
            super().message(text)
            self.stopped |= "Cross-validation: fold 2" in text

        def cancelled(self):
            return self.stopped

    progress = Stops()
    result = train(tiles, tmp_path / "m.geodl", progress, **{**OPTIONS, "forest": False})
    assert result["accuracy"] is not None
    assert "cross_validation" not in read_model(tmp_path / "m.geodl").part("classifier")
    assert any("left out" in text for text in progress.messages)


@pytest.mark.parametrize(("folds", "error"), [(2, SettingsError), (60, SplitError)])
def test_bad_numbers_are_refused_before_any_work(tiles, tmp_path, folds, error):
    """Two folds leave nothing to choose by; for sixty there are too few blocks."""
    with pytest.raises(error, match="folds"):
        train(tiles, tmp_path / "m.geodl", cross_validation=folds)
    assert list(tmp_path.iterdir()) == []


def test_pooled_is_no_mean_of_folds():
    """Pixels count alike, whatever their fold; the spread is the standard deviation of the folds' own scores."""
    classes = classes_from_names("ab")
    scores = [Accuracy.from_confusion(matrix, classes) for matrix in ([[90, 0], [0, 0]], [[0, 0], [10, 0]])]
    folds = [FoldScore("1", scores[0], None), FoldScore("2", scores[1], None), FoldScore("3", None, None, "No labels.")]
    told = CrossValidation(folds, None)
    assert told.pooled("net").accuracy == pytest.approx(0.9)
    assert told.spread("net", "accuracy") == pytest.approx(np.std([1.0, 0.0], ddof=1))
    assert told.pooled("forest") is None
    assert told.spread("forest", "accuracy") is None
    again = CrossValidation.from_dict(json.loads(json.dumps(told.as_dict())))
    assert again.folds[2].left_out == "No labels."
    assert again.pooled("net").confusion.tolist() == [[90, 0], [10, 0]]
