"""Surroundings: exact maps, a planted wide pattern is learnt, the test part is not seen, one seed is one model."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import forest, pieces, surroundings_nets, surroundings_training, training
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.metrics import score_of_shares
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.networks.surroundings import Surroundings
from geodl_qgis_plugin.engine.classification.prediction import (
    padded,
    probabilities_of,
    reading_of,
    ready_for_maps,
    receptive_halo_px,
)
from geodl_qgis_plugin.engine.classification.surroundings_training import choose_weights, columns_of
from geodl_qgis_plugin.engine.errors import Cancelled, ModelFileError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window

from .planted import write_raster
from .test_killed_training import told
from .test_networks import in_one_pass, in_windows, raster
from .test_tile_set import UTM, extract
from .test_training import same_weights
from .test_watched_training import Looking

torch.set_num_threads(1)
DEM, RATIO = Band("dem", "m"), Band("ratio", "")


def architecture(widths=(3, 9), bands=(DEM, RATIO), **numbers):
    chosen = choose_architecture("surroundings", "each pixel", bands, 4, 64, spacing_m=(30.0, 20.0))
    return type(chosen)(
        **{
            **chosen.as_dict(),
            "numbers": {**chosen.numbers, "widths": list(widths), "scales": [2, 4], "hidden": 8, **numbers},
        }
    )


def grown(widths=(3, 9), **numbers):
    """Return surroundings whose members know three of four classes, ready for maps."""
    torch.manual_seed(0)
    net = architecture(widths, **numbers).build()
    features = net.features(raster(60, 60, 5)).reshape(net.centre.numel(), -1).T
    net.measure(features)
    wanted = np.random.default_rng(0).integers(0, 3, len(features))
    for kind, where in ((RandomForestClassifier, net.forest), (ExtraTreesClassifier, net.extra_trees)):
        if where is None:
            continue
        trees = kind(4, random_state=0).fit(features, wanted)
        where.take([tree.tree_ for tree in trees.estimators_], np.arange(3))
    return ready_for_maps(net)


NET = grown(weights=[0.5, 0.25, 0.25])


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 50), core=st.integers(5, 40), seed=st.integers(0, 10**6))
def test_a_map_from_windows_equals_the_map_from_one_pass(height, width, core, seed):
    """For any size of raster and window, with holes; probabilities to 1e-5."""
    values = raster(height, width, seed)
    windows, whole = in_windows(NET, values, core, receptive_halo_px(NET)), in_one_pass(NET, values)
    np.testing.assert_allclose(windows, whole, atol=1e-5)
    np.testing.assert_allclose(whole.sum(axis=0), 1, atol=1e-5)


def test_nothing_beyond_the_halo_is_seen_and_the_widest_window_is():
    """A pixel at the widest window's edge changes what a pixel gets, one beyond the halo does not."""
    values, halo = raster(41, 41, 2, holes=False), NET.halo_px
    for away, same in ((9 // 2, False), (halo + 1, True)):
        changed = values.copy()
        changed[:, 20 + away, 20] += 1000
        seen = [NET.features(one)[:, 20, 20] for one in (values, changed)]
        assert np.array_equal(*seen) == same


def test_the_probabilities_are_the_weighted_mean_of_the_members():
    """And a member that does not count is not there."""
    features = NET.features(raster(20, 20, 1)).reshape(NET.centre.numel(), -1).T
    nets, forest, extra = NET.shares(features)
    np.testing.assert_allclose(NET.probabilities(features), 0.5 * nets + 0.25 * forest + 0.25 * extra, atol=1e-6)
    alone = grown(weights=[0, 0, 1])
    np.testing.assert_allclose(alone.probabilities(features), alone.extra_trees.probabilities(features), atol=1e-6)


def test_narrower_windows_are_a_part_of_wider_ones():
    """The features picked by place are those that a net with fewer widths works out."""
    wide, narrow, values = architecture((3, 5, 9)).build(), architecture((3, 9)).build(), raster(30, 30, 4)
    np.testing.assert_array_equal(wide.features(values)[columns_of(wide, (3, 9))], narrow.features(values))


def test_missing_values_are_the_middle_for_nets():
    """What has no value is 0 for a net, and constant features do not divide by 0."""
    net = architecture((3,), (RATIO, RATIO)).build()
    features = np.array([[1, 5, 2], [3, 5, -9999], [2, 5, 8]], np.float32)
    net = Surroundings.__new__(Surroundings)
    torch.nn.Module.__init__(net)
    net.register_buffer("centre", torch.zeros(3))
    net.register_buffer("spread", torch.ones(3))
    net.measure(features)
    scaled = net.scaled(features)
    assert torch.isfinite(scaled).all()
    assert scaled[1, 2] == 0
    assert (scaled[:, 1] == 0).all()
    assert scaled[2, 0] == 0  # the median


def test_weights_are_chosen_by_the_score():
    """Equal ones where nothing is won by others; else the member that is right."""
    wanted = np.repeat([0, 1, 2, 0], 200)
    right = np.eye(3, dtype=np.float32)[wanted]
    wrong = np.roll(right, 1, axis=1) * 0.9 + 0.1 / 3
    assert choose_weights([right, right, right], wanted) == pytest.approx([1 / 3] * 3)
    assert choose_weights([wrong, right, wrong], wanted)[1] >= 0.5
    assert score_of_shares(right, wanted) == 1.0
    assert score_of_shares(np.roll(right, 1, axis=1), wanted) == 0.0
    unsure = right * 0.4 + 0.2
    assert choose_weights([wrong, unsure], wanted) == [0.0, 1.0]


@pytest.mark.parametrize(
    "numbers",
    [
        {"weights": [0, 0, 0]},
        {"weights": [1, 1]},
        {"widths": [9999]},
        {"hidden": 10**9},
        {"nets": 0},
        {"hidden": 8, "more": 1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(numbers):
    """Before anything is built from them."""
    with pytest.raises((ValueError, ModelFileError)):
        type(NET_ARCHITECTURE).from_dict(
            {**NET_ARCHITECTURE.as_dict(), "numbers": {**NET_ARCHITECTURE.numbers, **numbers}}
        ).build()


NET_ARCHITECTURE = architecture()


def wide_rule(folder, side=160):
    """Write noisy bands whose mean over 15 pixels tells the class, where single pixels tell little; return the settings."""
    random = np.random.default_rng(2)
    patches = np.kron(random.integers(0, 2, (side // 20, side // 20)), np.ones((20, 20)))
    values = np.stack([patches + random.normal(0, 2.0, (side, side)), random.normal(0, 1, (side, side))])
    values[:, 40:44, 40:60] = np.nan
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), side, side)
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "predictors": [write_raster(folder / "p.tif", values.astype(np.float32), grid, names=["one", "other"])],
        "labels": [write_raster(folder / "l.tif", (1 + patches).astype(np.uint8), grid, nodata=0)],
        "block_size": 1200.0,
        "tile_size": 32,
    }


@pytest.fixture(scope="module", autouse=True)
def small():
    """Fewer and smaller members; the windows that are tried fit the small raster."""
    names = {"TREES": 20, "TRIAL_TREES": 10, "STEPS": 60, "TRIAL_STEPS": 60, "BATCH": 512, "TREE_PIXELS": 4000}
    names |= {"CHOICES_PX": ((3, 5), (3, 5, 15)), "WIDEST_PX": (3, 5, 15)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setattr(surroundings_training, name, value)
        patch.setattr(surroundings_nets, "BATCH", names["BATCH"])
        yield


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    return extract(folder / "set", **wide_rule(folder))


def train(tiles, output, progress=None, **options):
    settings = {
        "tiles": str(tiles.folder),
        "output": str(output),
        "architecture": "surroundings",
        "forest": False,
        "seed": 3,
    }
    return run_job("trainclassifier", {**settings, **options}, progress or SilentProgress())


@pytest.fixture(scope="module")
def trained(tiles, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "m.geodl"
    return output, train(tiles, output)


def test_a_planted_wide_pattern_is_learnt(trained, tiles):
    """Single pixels cannot tell it (0.6 at best); the wider windows are chosen, and the model maps as it was scored."""
    output, result = trained
    assert result["accuracy"] > 0.8
    model = load_classifier(output)
    assert model.architecture.numbers["widths"] == [3, 5, 15]
    assert model.halo_px == 7
    whole = Window(0, 0, tiles.grid.height, tiles.grid.width)
    reading = reading_of(whole, whole.height, whole.width, 0, 1)
    codes = np.array([one.code for one in model.classes])
    found = codes[probabilities_of(model.net, padded(np.array(tiles.predictors), whole, whole), reading).argmax(axis=0)]
    scored = (tiles.split == 3) & (tiles.labels > 0)
    assert (found == tiles.labels)[scored].mean() == pytest.approx(result["accuracy"], abs=1e-3)


class Killed(BaseException):
    """Nothing in the engine catches it."""


class Dying(SilentProgress):
    """Kills the run when it has told of its progress a number of times."""

    def __init__(self, fatal=0):
        super().__init__()
        self.told, self.fatal = 0, fatal

    def update(self, fraction, text=""):
        self.told += 1
        if self.told == self.fatal:
            raise Killed(text)


@pytest.mark.parametrize("chosen", ["automatic", "forest"])
def test_killed_at_random_moments(chosen, tiles, tmp_path, monkeypatch):
    """What stands is not made again, and the weights, the report and the description are those of an unbroken run."""
    monkeypatch.setattr(pieces, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(forest, "TREES", 60)
    made, write = [], pieces.write_tensors
    monkeypatch.setattr(pieces, "write_tensors", lambda *names, **key: (made.append(names[0]), write(*names, **key)))
    monkeypatch.setattr(training, "FEWEST_BATCHES_BETWEEN_CHECKS", 1)
    options = {"architecture": chosen, "epochs": 3, "widths": [3, 4], "report": str(tmp_path / "r.html")}
    counting = Dying()
    train(tiles, tmp_path / "m.geodl", counting, **options)
    unbroken = told(tmp_path / "m.geodl", tmp_path / "r.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.geodl", "r.html"]
    (tmp_path / "m.geodl").unlink()
    whole = len(made)
    random, fewest = np.random.default_rng(), counting.told // 4
    for moment in (*random.integers(fewest, 2 * fewest, 3), 0):  # the third, or the second, may be after its end
        made.clear()
        with contextlib.suppress(Killed):
            train(tiles, tmp_path / "m.geodl", Dying(int(moment)), **options)
            break
    assert len(made) < whole  # some of it stood already
    weights, report, item = told(tmp_path / "m.geodl", tmp_path / "r.html")
    for name, array in unbroken[0].items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)
    assert report == unbroken[1]
    assert item == unbroken[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.geodl", "r.html"]


def test_what_is_chosen_does_not_depend_on_the_test_part(trained, tiles, tmp_path):
    """Other labels there, and the very same model comes out."""
    folder = tmp_path / "other"
    other = extract(folder / "set", **wide_rule(folder))
    hidden = np.array(other.split) == 3
    labels = np.load(other.folder / "labels.npy")
    labels[hidden] = np.where(labels[hidden] == 1, 2, 1)
    np.save(other.folder / "labels.npy", labels)
    train(other, tmp_path / "other.geodl")
    first, second = read_model(trained[0]).weights, read_model(tmp_path / "other.geodl").weights
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_the_belt_round_the_validation_part_is_learnt_from_but_not_the_buffer_round_the_test_part(tmp_path):
    """Other labels in the belt make another model, chosen as before; other labels in the buffer change nothing."""
    models, scores = [], []
    for name, changed in (("as it is", None), ("belt", 0), ("buffer", 4)):
        folder = tmp_path / name
        one = extract(folder / "set", **wide_rule(folder), buffer=90.0)
        labels, there = np.load(one.folder / "labels.npy"), np.array(one.split) == changed
        assert changed is None or (labels[there] > 0).sum() > 100
        labels[there] = np.where(labels[there] == 1, 2, 1)
        np.save(one.folder / "labels.npy", labels)
        train(one, folder / "m.geodl")
        model = read_model(folder / "m.geodl")
        models.append(model.weights)
        scores.append(model.part("classifier")["training"]["tried"])
    whole, belt, buffer = models
    assert all(np.array_equal(whole[name], buffer[name]) for name in whole)
    assert any(whole[name].shape != belt[name].shape or not np.array_equal(whole[name], belt[name]) for name in whole)
    assert scores[0] == scores[1] == scores[2]


class Stopped(SilentProgress):
    """Cancelled once a text was seen."""

    def __init__(self, text):
        super().__init__()
        self.text, self.seen = text, False

    def update(self, fraction, text=""):
        self.seen |= text.startswith(self.text)

    def cancelled(self):
        return self.seen


def test_a_stop_is_no_loss(tiles, trained, tmp_path):
    """Before all members stand there is no model, but the same command goes on with what stands, to the same model."""
    with pytest.raises(Cancelled, match="goes on"):
        train(tiles, tmp_path / "m.geodl", Stopped("Growing trees"))
    assert [path.suffix for path in tmp_path.iterdir()] == [".training"]
    train(tiles, tmp_path / "m.geodl")
    same_weights(trained[0], tmp_path / "m.geodl")
    assert [path.name for path in tmp_path.iterdir()] == ["m.geodl"]


def test_the_automatic_choice_is_the_better_one(tiles, tmp_path):
    """On a wide pattern in noise a U-Net of one epoch has no weight; page and report say what is tried and was chosen."""
    options = {"architecture": "automatic", "epochs": 1, "widths": [3, 4], "report": str(tmp_path / "r.html")}
    progress = Looking(tmp_path / "r.html")
    result = train(tiles, tmp_path / "m.geodl", progress, **options)
    pages = [page for page in progress.seen if "Classifier in training" in page]
    for words in ("trial: net, windows to 15 pixels", "trial: all members, weighted"):
        assert words in pages[0] + pages[-1]
    assert result["accuracy"] > 0.6
    assert read_model(tmp_path / "m.geodl").part("classifier")["architecture"]["name"] in ("surroundings", "ensemble")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "What was tried" in html
    assert "windows to 15 pixels" in html
    tried = read_model(tmp_path / "m.geodl").part("classifier")["training"]["tried"]
    assert sum(one["kept"] for one in tried) == 1
    assert any("U-Net" in one["name"] for one in tried)
    load_classifier(tmp_path / "m.geodl")


def test_a_stop_keeps_what_was_tried(tiles, tmp_path):
    """Automatic: stopped while the U-Net trains, the surroundings that were tried are the model."""
    options = {"architecture": "automatic", "widths": [3, 4]}
    result = train(tiles, tmp_path / "m.geodl", Stopped("Epoch 1 of"), **options)
    assert result["cancelled"]
    assert load_classifier(tmp_path / "m.geodl").architecture.name == "surroundings"
    assert result["accuracy"] > 0.7
