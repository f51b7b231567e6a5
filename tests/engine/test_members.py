"""Ensembles of seeds: the mean of their members, in one file, resumed member by member."""

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.course import Check
from geodl_qgis_plugin.engine.classification.members import together
from geodl_qgis_plugin.engine.classification.networks import EACH_PIXEL, choose_architecture, ensemble_of
from geodl_qgis_plugin.engine.classification.networks.ensemble import Ensemble
from geodl_qgis_plugin.engine.classification.trained import Trained
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model

from .test_training import After, same_weights, train

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("checks_after_every_epoch")
OPTIONS = {"ensemble": 2, "epochs": 2}


@pytest.fixture(scope="module")
def ensemble(tiles, tmp_path_factory):
    path = tmp_path_factory.mktemp("ensemble") / "m.geodl"
    train(tiles, path, report=str(path.with_suffix(".html")), **OPTIONS)
    return path


def test_members_are_the_nets_of_their_seeds(tiles, ensemble, tmp_path):
    """The file holds the very weights that each seed gives alone, and maps the mean of their probabilities."""
    whole = read_model(ensemble).weights
    for number in range(2):
        train(tiles, tmp_path / f"{number}.geodl", epochs=2, seed=3 + number)
        for name, array in read_model(tmp_path / f"{number}.geodl").weights.items():
            if not name.startswith("applicability."):
                np.testing.assert_array_equal(whole[f"members.{number}.{name}"], array, err_msg=name)
    values = torch.from_numpy(tiles.read([0])[0])
    model, alone = load_classifier(ensemble), [load_classifier(tmp_path / f"{n}.geodl") for n in range(2)]
    with torch.inference_mode():
        shares = [torch.softmax(one.net(values) * one.net.temperature, dim=1) for one in alone]
        mean = torch.softmax(model.net(values) * model.net.temperature, dim=1)
    torch.testing.assert_close(mean, (shares[0] + shares[1]) / 2, atol=2e-5, rtol=1e-3)
    assert model.halo_px == alone[0].halo_px
    assert "ensemble of 2" in ensemble.with_suffix(".html").read_text()


def test_a_break_in_any_member_changes_nothing(tiles, ensemble, tmp_path):
    """Broken off in the second member, the same command goes on there, and the first is not trained again."""

    class InSecond(After):
        second = False

        def message(self, text):
            super().message(text)
            self.second |= text.startswith("Member 2")

        def update(self, fraction, text=""):
            if self.second:
                super().update(fraction, text)

    with pytest.raises(KeyboardInterrupt):
        train(tiles, tmp_path / "m.geodl", InSecond(2, KeyboardInterrupt()), **OPTIONS)
    told = SilentProgress()
    train(tiles, tmp_path / "m.geodl", told, **OPTIONS)
    start, end = (told.messages.index(f"Member {number + 1} of 2, seed {3 + number}.") for number in range(2))
    assert any(text.startswith("Training ended") for text in told.messages[start:end])
    assert not any(text.startswith("Epoch") for text in told.messages[start:end])  # the first one is not trained again
    same_weights(tmp_path / "m.geodl", ensemble)
    assert [path.name for path in tmp_path.iterdir()] == ["m.geodl"]


def test_members_that_are_ensembles_are_taken_apart():
    """A mean of means is one mean with weights; nothing is nested."""
    architecture = choose_architecture("unet", EACH_PIXEL, [], 2, 32, {"widths": [3, 4]}, (30.0, 30.0))
    architecture = type(architecture)(**{**architecture.as_dict(), "bands": 2, "kept": [0, 1]})
    torch.manual_seed(0)
    nets = [architecture.build().eval() for _ in range(3)]
    check = Check(1, 1, 0.0, 0.0, 0.5, 0.5, 1.0)
    pair = Ensemble(nets[:2], [0.25, 0.75]).eval()
    inner = Trained(pair, [check], check, "", 5, architecture=ensemble_of([architecture] * 2, [0.25, 0.75]))
    plain = Trained(nets[2], [check], check, "", 5)
    whole = together([inner, plain], architecture, "done")
    assert whole.net.weights == pytest.approx([0.125, 0.375, 0.5])
    values = torch.rand(1, 2, 16, 16)
    with torch.inference_mode():
        expected = torch.softmax(pair(values), 1) / 2 + torch.softmax(nets[2](values), 1) / 2
        torch.testing.assert_close(torch.softmax(whole.net(values), 1), expected, atol=1e-5, rtol=1e-4)
    again = whole.architecture.build()
    again.load_state_dict(whole.net.state_dict())
    assert len(whole.members) == 2
