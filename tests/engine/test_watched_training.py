"""Training that can be watched: a page while it goes on, a learning rate that was looked for, a batch size that fits."""

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classification import batch_size, forest, live_report
from geodl_qgis_plugin.engine.classification.batch_size import automatic_batch_size, saved_bytes
from geodl_qgis_plugin.engine.classification.devices import Compute
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.rate_finder import best_rate
from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model

from .test_training import same_weights, train

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("checks_after_every_epoch")
CPU = Compute(torch.device("cpu"))


class Looking(SilentProgress):
    """Reads the report whenever training says something; fails after an epoch if it is told to."""

    def __init__(self, path, fail_after=0):
        super().__init__()
        self.path, self.fail_after, self.seen = path, fail_after, []

    def update(self, fraction, text=""):
        if self.path.exists():
            self.seen.append(self.path.read_text())
        if self.fail_after and text.startswith(f"Epoch {self.fail_after + 1} of"):
            raise GeoDLError("The disk is full.")


def test_the_report_is_there_while_training_goes_on(tiles, tmp_path):
    """A whole page after the first look at the validation part, which shows itself anew; the final one does not."""
    progress = Looking(tmp_path / "r.html")
    train(tiles, tmp_path / "m.geodl", progress, epochs=3, report=str(tmp_path / "r.html"))
    pages = [page for page in progress.seen if "Classifier in training" in page]
    assert len(set(pages)) >= 2
    assert all('http-equiv="refresh"' in page and page.endswith("</html>") for page in pages)
    assert any("Epoch 2 of 3 is done" in page for page in pages)
    final = (tmp_path / "r.html").read_text()
    assert "refresh" not in final.partition("<style>")[0]
    assert "Classifier in training" not in final
    told = [text for text in progress.messages if text.startswith("Epoch")]
    assert len(told) == 3
    assert all("validation loss" in text for text in told)


def test_trees_are_watched_as_they_grow(tiles, tmp_path, monkeypatch):
    """How many stand and what they score on the validation part, with a curve of it."""
    monkeypatch.setattr(forest, "TREES", 60)
    monkeypatch.setattr(live_report, "STAGES_EVERY_S", 0.0)
    progress = Looking(tmp_path / "r.html")
    options = {"architecture": "forest", "report": str(tmp_path / "r.html")}
    train(tiles, tmp_path / "m.geodl", progress, **options)
    pages = [page for page in progress.seen if "Classifier in training" in page]
    assert any("Forest: 20 of 60 trees, with a score of 0." in page for page in pages)
    assert "over the number of trees" in pages[-1]
    assert pages[-1].count("<svg") == 1
    assert all('http-equiv="refresh"' in page and page.endswith("</html>") for page in pages)


def test_a_failed_training_withdraws_its_page(tiles, tmp_path):
    """So that nobody takes it for a result."""
    progress = Looking(tmp_path / "r.html", fail_after=2)
    with pytest.raises(GeoDLError, match="disk is full"):
        train(tiles, tmp_path / "m.geodl", progress, epochs=4, report=str(tmp_path / "r.html"))
    assert progress.seen
    assert not (tmp_path / "r.html").exists()


def test_a_rate_that_was_looked_for(tiles, tmp_path):
    """It lies inside what was tried, is told with its curve, and training with it goes on after a break to the same net."""
    options = {"epochs": 4, "find_learning_rate": True, "report": str(tmp_path / "r.html")}
    progress = SilentProgress()
    result = train(tiles, tmp_path / "whole.geodl", progress, **options)
    (told,) = (text for text in progress.messages if text.startswith("The learning rate that was found"))
    assert 1e-5 < float(told.rstrip(".").split()[-1]) < 1.0
    assert "the rate at which it fell fastest" in (tmp_path / "r.html").read_text()
    assert result["accuracy"] > result["majority_accuracy"] + 0.2
    with pytest.raises(GeoDLError):
        train(tiles, tmp_path / "m.geodl", Looking(tmp_path / "r.html", fail_after=2), **options)
    progress = SilentProgress()
    train(tiles, tmp_path / "m.geodl", progress, **options)
    assert not any("rate that was found" in text for text in progress.messages)
    same_weights(tmp_path / "whole.geodl", tmp_path / "m.geodl")


def test_the_steepest_rate():
    """Where a loss falls like a logistic curve, the middle of the fall; where it does not fall, the usual rate."""
    rates = np.logspace(-5, 0, 100)
    losses = 1 / (1 + (rates / 1e-3) ** 2)
    assert best_rate(list(zip(rates, losses)), 0.5) == pytest.approx(1e-3, rel=0.2)
    assert best_rate(list(zip(rates, 1 + rates)), 0.5) == 0.5
    assert best_rate([(0.1, 1.0)], 0.5) == 0.5


def test_an_automatic_batch_size(tiles, tmp_path, monkeypatch):
    """16 for pixels, 32 for tiles, fewer where there are few tiles or little memory; what a tile takes goes with its area."""
    net = choose_architecture("unet", "each pixel", tiles.bands, 2, 64, {"widths": [4, 8]}).build()
    whole = choose_architecture("pooled", "each tile", tiles.bands, 2, 64, {}).build()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert automatic_batch_size(net, 2, 64, 1000, CPU) == 16
    assert automatic_batch_size(whole, 2, 64, 1000, CPU) == 32
    assert automatic_batch_size(net, 2, 64, 40, CPU) == 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert saved_bytes(net, 2, 128) == pytest.approx(4 * saved_bytes(net, 2, 64), rel=0.01)
    one = batch_size._TIMES_SAVED * saved_bytes(net, 2, 64)
    monkeypatch.setattr(batch_size, "free_bytes", lambda _: 2 * 5 * one)
    assert automatic_batch_size(net, 2, 64, 1000, CPU) == 4
    monkeypatch.undo()
    train(tiles, tmp_path / "m.geodl", epochs=1, batch_size=0)
    assert read_model(tmp_path / "m.geodl").part("classifier")["training"]["history"][-1]["batches"] == 10
