"""Forests as models: scikit-learn's own probabilities, exact maps, and arrays that cannot lead astray."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import forest as growing
from geodl_qgis_plugin.engine.classification import pieces, tree_growth
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.networks import Architecture, choose_architecture, ensemble_of
from geodl_qgis_plugin.engine.classification.networks.statistics import tile_statistics
from geodl_qgis_plugin.engine.classification.networks.trees import Trees
from geodl_qgis_plugin.engine.classification.prediction import (
    padded,
    probabilities_of,
    reading_of,
    ready_for_maps,
    receptive_halo_px,
)
from geodl_qgis_plugin.engine.errors import Cancelled, ModelFileError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model, write_model
from geodl_qgis_plugin.engine.rasters.grid import Window

from .test_tile_set import extract
from .test_training import rule

DEM, SLOPE = Band("dem", "m"), Band("slope", "degree")


def drawn(samples, features, seed=0):
    """Return features with ties and a rule for three classes, one of which is rare."""
    random = np.random.default_rng(seed)
    x = np.round(random.normal(size=(samples, features)), 1).astype(np.float32)
    y = np.where(x[:, 0] + x[:, 1] > 0, 0, 2) * (random.random(samples) < 0.9)
    return x, np.where(random.random(samples) < 0.01, 1, y)


def grown(kind, features=7, classes=4, positions=(0, 1, 3)):
    """Return a forest of scikit-learn's and its trees as arrays; class 2 was never seen."""
    x, y = drawn(600, features)
    forest = kind(15, min_samples_leaf=2, random_state=0).fit(x, y)
    trees = Trees(features, classes)
    trees.take([tree.tree_ for tree in forest.estimators_], np.array(positions))
    return forest, trees


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_probabilities_are_those_of_scikit_learn(kind):
    """To 1e-6, also at thresholds, after a copy and after saving; a class that was never seen has none."""
    forest, trees = grown(kind)
    x, _ = drawn(5000, 7, 1)
    wanted = forest.predict_proba(x)
    again = Trees(7, 4)
    again.load_state_dict(trees.state_dict())
    for one in (trees, copy.deepcopy(trees), again):
        given = one.probabilities(x)
        np.testing.assert_allclose(given[:, [0, 1, 3]], wanted, atol=1e-6)
        assert (given[:, 2] == 0).all()


def test_thresholds_in_float32_part_as_in_float64():
    """Values that are neighbours of a threshold in float32 fall on the side on which scikit-learn puts them."""
    random = np.random.default_rng(3)
    x = random.normal(1e6, 1, (400, 1)).astype(np.float32)
    forest = ExtraTreesClassifier(30, random_state=0).fit(x, random.integers(0, 2, 400))
    trees = Trees(1, 2)
    trees.take([tree.tree_ for tree in forest.estimators_], np.arange(2))
    at = np.concatenate([tree.tree_.threshold for tree in forest.estimators_]).astype(np.float32)
    near = np.concatenate([at, np.nextafter(at, np.float32(np.inf)), np.nextafter(at, np.float32(-np.inf))])[:, None]
    np.testing.assert_allclose(trees.probabilities(near), forest.predict_proba(near), atol=1e-6)


def spoilt(state, name, place, value):
    changed = {key: array.clone() for key, array in state.items()}
    changed[name][place] = value
    return changed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("right", 0),  # back to the root: a circle
        ("right", -5),
        ("right", 1),  # the left child
        ("right", 10**6),
        ("feature", 7),
        ("feature", -2),
        ("feature", -1),  # a leaf in the middle
        ("threshold", float("nan")),
        ("roots", 3),
        ("counts", 0),
        ("counts", 9),
        ("classes", 4),
        ("classes", -1),
        ("shares", 2.0),
        ("shares", float("nan")),
    ],
)
def test_trees_that_lead_astray_are_refused(name, value):
    """Whichever array was changed: before a walk, and with what is wrong."""
    _, trees = grown(RandomForestClassifier)
    with pytest.raises(RuntimeError, match="The trees are damaged"):
        Trees(7, 4).load_state_dict(spoilt(trees.state_dict(), name, 0, value))


@pytest.mark.parametrize("kind", ["forest", "extra trees"])
def test_trees_grown_in_lots_are_those_grown_at_once(kind, tmp_path):
    """Bit for bit scikit-learn's, whether growing was broken off or not."""
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 5)).astype(np.float32)
    wanted = (features[:, 0] + random.normal(0, 0.5, 300) > 0).astype(np.int64)
    scikit = RandomForestClassifier if kind == "forest" else ExtraTreesClassifier
    counts = np.bincount(wanted)
    weights = (counts[wanted] / len(wanted)) ** -0.5
    whole = scikit(25, min_samples_leaf=2, max_features="sqrt", random_state=3).fit(features, wanted, weights)
    expected = Trees(5, 2)
    expected.take([tree.tree_ for tree in whole.estimators_], np.arange(2))

    def grown(go_on):
        trees = Trees(5, 2)
        kept = pieces.Pieces(tmp_path / "pieces")
        options = {"class_weight": 0.5, "seed": 3, "trees": 25, "at_once": 10, "kept": kept, "name": "trees"}
        tree_growth.grow_trees(trees, kind, features, wanted, go_on=go_on, **options)
        return trees

    def broken(number, last):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grown(broken)
    assert len(list((tmp_path / "pieces").iterdir())) == 1
    lots = []
    trees = grown(lambda number, last: lots.append((number, len(last["roots"]))) or True)
    assert lots == [(10, 10), (20, 10), (25, 5)]
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, trees.state_dict()[name]), name


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_is_refused_or_harmless(data):
    """Random numbers in random places of the nodes: refused, or every walk ends in a leaf with shares of known classes."""
    _, trees = TREES
    state = {key: array.clone() for key, array in trees.state_dict().items()}
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(["roots", "right", "feature", "counts", "classes"]))
        place = data.draw(st.integers(0, len(state[name]) - 1))
        state[name][place] = data.draw(st.integers(-3, 60))
    again = Trees(7, 4)
    try:
        again.load_state_dict(state)
    except RuntimeError:
        return
    np.testing.assert_allclose(again.probabilities(drawn(50, 7, 2)[0]).sum(axis=1), 1.0, atol=1e-5)


TREES = grown(RandomForestClassifier)


def test_missing_and_foreign_arrays_are_refused():
    """A forest without thresholds, one with an array more, one of matrices."""
    state = TREES[1].state_dict()
    with pytest.raises(RuntimeError, match="Missing"):
        Trees(7, 4).load_state_dict({name: array for name, array in state.items() if name != "threshold"})
    with pytest.raises(RuntimeError, match="Unexpected"):
        Trees(7, 4).load_state_dict({**state, "code": torch.zeros(3)})
    with pytest.raises(RuntimeError, match="no row"):
        Trees(7, 4).load_state_dict({**state, "right": state["right"][:, None]})


@pytest.fixture(scope="module")
def few_trees():
    """Grow few trees in these tests."""
    before, growing.TREES = growing.TREES, 20
    yield
    growing.TREES = before


@pytest.fixture(scope="module")
def tiles(tmp_path_factory, few_trees):
    folder = tmp_path_factory.mktemp("rule")
    return extract(folder / "set", **rule(folder))


def trained(tiles, output, **options):
    return run_job("trainclassifier", {"tiles": str(tiles.folder), "output": str(output), **options}, SilentProgress())


@pytest.fixture(scope="module")
def model(tiles, tmp_path_factory):
    output = tmp_path_factory.mktemp("forest") / "m.geodl"
    return output, trained(tiles, output, architecture="forest", report=str(output.with_suffix(".html")))


def test_a_forest_is_trained_saved_and_told_of(model, tmp_path):
    """It learns a planted rule; the report calls it by its name; a description counts its trees."""
    output, result = model
    assert result["accuracy"] > result["majority_accuracy"] + 0.25
    assert "the forest is right for" in output.with_suffix(".html").read_text()
    run_job("describemodel", {"model": str(output), "report": str(tmp_path / "d.html")}, SilentProgress())
    assert "20 trees" in (tmp_path / "d.html").read_text()
    assert set(read_model(output).weights) >= {f"trees.{name}" for name in TREES[1].state_dict()}
    json.loads(json.dumps(read_model(output).item), parse_constant=lambda name: pytest.fail(name))


def test_the_same_seed_grows_the_same_forest(model, tiles, tmp_path):
    """And another seed another one."""
    trained(tiles, tmp_path / "again.geodl", architecture="forest")
    trained(tiles, tmp_path / "other.geodl", architecture="forest", seed=1)
    first, again, other = (
        read_model(path).weights for path in (model[0], tmp_path / "again.geodl", tmp_path / "other.geodl")
    )
    assert all(np.array_equal(array, again[name]) for name, array in first.items())
    assert not np.array_equal(first["trees.threshold"], other["trees.threshold"])


def test_extra_trees_stand_beside_a_random_forest(tiles, tmp_path):
    """They are a forest of their own, so the comparison is made."""
    report = tmp_path / "r.html"
    result = trained(tiles, tmp_path / "m.geodl", architecture="extra trees", report=str(report))
    assert result["forest_accuracy"] is not None
    assert "the model of extra trees is right for" in report.read_text(encoding="utf-8")
    assert result["accuracy"] > result["majority_accuracy"] + 0.25


def test_a_class_that_is_missing_from_a_part(few_trees, tmp_path):
    """It is in one part alone; a forest lives with it, and keeps it among its classes."""
    tiles = extract(tmp_path / "set", **rule(tmp_path / "in", rare=True))
    assert sum(tiles.class_counts(part).get(30, 0) > 0 for part in ("training", "validation", "test")) == 1
    result = trained(tiles, tmp_path / "m.geodl", architecture="forest", class_weight=1.0)
    assert result["accuracy"] > result["majority_accuracy"]
    assert [one.code for one in load_classifier(tmp_path / "m.geodl").classes] == [10, 20, 30]


def test_a_map_from_windows_is_that_of_one_pass(model, tiles, tmp_path):
    """Any window that is read alone: the same classes, and probabilities that differ by float32's last digit at most."""
    classifier = load_classifier(model[0])
    values = np.array(tiles.predictors[:, :70, :90])
    whole = torch.softmax(classifier.net(torch.from_numpy(values)[None]), 1)[0].numpy()
    random = np.random.default_rng(0)
    for _ in range(6):
        row, column = int(random.integers(0, 60)), int(random.integers(0, 80))
        core = Window(row, column, int(random.integers(1, 70 - row + 1)), int(random.integers(1, 90 - column + 1)))
        reading = reading_of(core, 70, 90, classifier.halo_px, classifier.net.stride)
        part = probabilities_of(classifier.net, values[(slice(None), *reading.outer.slices)], reading)
        wanted = whole[(slice(None), *core.slices)]
        np.testing.assert_allclose(part, wanted, atol=1e-6)
        clear = np.abs(wanted[0] - wanted[1]) > 1e-5
        np.testing.assert_array_equal(part.argmax(0)[clear], wanted.argmax(0)[clear])


@settings(max_examples=15, deadline=None)
@given(
    bands=st.lists(st.sampled_from([DEM, SLOPE]), min_size=1, max_size=2),
    widths=st.lists(st.sampled_from([3, 5, 8, 17]), min_size=1, max_size=3),
    row=st.integers(0, 40),
    column=st.integers(0, 50),
    size=st.integers(1, 20),
)
def test_features_of_a_window_are_those_of_the_raster(bands, widths, row, column, size):
    """With holes, at edges, for elevations and for other bands, whatever the windows' widths: to the bit within the halo."""
    random = np.random.default_rng(4)
    values = (random.normal(500, 90, (len(bands), 45, 55))).astype(np.float32)
    values[:, random.random((45, 55)) < 0.1] = np.nan
    numbers = {"spacing_m": [30.0, 25.0], "widths": widths, "scales": [2, 6]}
    surfaces = [i for i, band in enumerate(bands) if band is DEM]
    kept = [i for i in range(len(bands)) if i not in surfaces]
    net = Architecture("forest", len(bands), 3, kept, surfaces, numbers=numbers).build()
    core = Window(row, column, min(size, 45 - row), min(size, 55 - column))
    outer = core.grown(receptive_halo_px(net), 45, 55)
    top, left = core.row - outer.row, core.column - outer.column
    part = net.features(values[(slice(None), *outer.slices)])
    assert len(part) == net.trees.features
    np.testing.assert_array_equal(
        part[:, top : top + core.height, left : left + core.width], net.features(values)[(slice(None), *core.slices)]
    )


def test_statistics_of_tiles_are_numpys():
    """Percentiles, mean and spread with holes; an elevation less its mean; an empty band far below all."""
    tiles = np.random.default_rng(1).normal(100, 9, (5, 3, 24, 24)).astype(np.float32)
    tiles[:, 1, :3] = np.nan
    tiles[2, 2] = np.nan
    found = tile_statistics(tiles, [0])
    flat = tiles.reshape(5, 3, -1).astype(float)
    flat[:, 0] -= flat[:, 0].mean(axis=1, keepdims=True)
    known = [0, 1, 3, 4]
    percentiles = np.nanpercentile(flat[known], (5, 25, 50, 75, 95), axis=2)
    mean, spread = np.nanmean(flat[known], axis=2), np.nanstd(flat[known], axis=2)
    wanted = np.concatenate([*percentiles, mean[:, 1:], spread], axis=1)
    np.testing.assert_allclose(found[known], wanted, rtol=1e-5, atol=1e-4)
    assert (found[2, 2] < -9000).all()
    np.testing.assert_allclose(tile_statistics(tiles + 1000, [0])[:, 0], found[:, 0], atol=1e-3)
    small = tile_statistics(tiles[..., :3, :3], [])
    np.testing.assert_array_equal(small[0, -27:-18], tiles[0, 0, :3, :3].ravel())


def test_a_tile_forest_takes_tiles_side_by_side():
    """A raster of three by two tiles gives the logits of each."""
    x = np.random.default_rng(2).normal(size=(60, 2, 8, 8)).astype(np.float32)
    net = choose_architecture("forest", "each tile", [SLOPE, SLOPE], 2, 8).build()
    forest = RandomForestClassifier(5, random_state=0).fit(net.features(x), x[:, 0].mean((1, 2)) > 0)
    net.trees.take([tree.tree_ for tree in forest.estimators_], np.arange(2))
    raster = x[:6].reshape(3, 2, 2, 8, 8).transpose(2, 0, 3, 1, 4).reshape(1, 2, 24, 16)
    together = net(torch.from_numpy(raster))
    assert together.shape == (1, 2, 3, 2)
    alone = net(torch.from_numpy(x[:6]))[:, :, 0, 0]
    torch.testing.assert_close(together[0].permute(1, 2, 0).reshape(6, 2), alone, rtol=0, atol=0)


def test_an_ensemble_is_the_weighted_mean(model, tiles, tmp_path):
    """Of a net's and a forest's probabilities; it is saved and read back, its halo the wider one, its windows exact."""
    forest = load_classifier(model[0])
    net = choose_architecture("unet", "each pixel", tiles.bands, 2, 32, {"widths": [3, 4]})
    members = ensemble_of([net, forest.architecture], [1, 3])
    torch.manual_seed(0)
    ensemble = members.build().eval()
    ensemble.members[1].load_state_dict(forest.net.net.state_dict())
    assert ensemble.halo_px == max(receptive_halo_px(ensemble.members[0]), forest.halo_px)
    assert ensemble.stride == 2
    values = torch.from_numpy(np.array(tiles.predictors[:, :40, :48]))[None]
    one, other = (torch.softmax(member(values), 1) for member in ensemble.members)
    torch.testing.assert_close(torch.softmax(ensemble(values), 1), one / 4 + other * 3 / 4, rtol=0, atol=1e-6)

    again = Architecture.from_dict(json.loads(json.dumps(members.as_dict()))).build().eval()
    again.load_state_dict(ensemble.state_dict())
    ready = ready_for_maps(again)
    core = Window(7, 9, 20, 22)
    reading = reading_of(core, 40, 48, again.halo_px, again.stride)
    inside = reading.outer.grown(0, 40, 48)
    window = padded(values[0].numpy()[(slice(None), *inside.slices)], inside, reading.outer)
    np.testing.assert_allclose(
        probabilities_of(ready, window, reading),
        torch.softmax(ensemble(values), 1)[0].detach().numpy()[(slice(None), *core.slices)],
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"members": []},
        {"weights": [1.0]},
        {"weights": [-1.0, 2.0]},
        {"weights": [float("nan"), 1.0]},
        {"tile_size_px": 8},
    ],
)
def test_an_ensemble_that_does_not_fit_is_refused(change):
    """No members, weights that are none, another task."""
    forest = choose_architecture("forest", "each pixel", [SLOPE], 2, 32)
    good = ensemble_of([forest, forest]).as_dict()
    with pytest.raises((ValueError, ModelFileError)):
        Architecture.from_dict({**good, "numbers": {**good["numbers"], **change}}).build()
    other = ensemble_of([replace(forest, classes=3)]).as_dict()["numbers"]
    with pytest.raises(ValueError, match="its own bands and classes"):
        Architecture.from_dict({**good, "numbers": other}).build()


def test_a_model_file_with_crooked_trees_is_refused(model, tmp_path):
    """With a sentence, also where its checksums are right."""
    file = read_model(model[0])
    weights = {name: array.copy() for name, array in file.weights.items()}
    weights["trees.right"][0] = 0
    write_model(tmp_path / "m.geodl", file.item, weights, file.report)
    with pytest.raises(ModelFileError, match="trees are damaged"):
        load_classifier(tmp_path / "m.geodl")
    item = json.loads(json.dumps(file.item))
    item["properties"]["geodl:classifier"]["architecture"]["numbers"]["widths"] = [10**9]
    write_model(tmp_path / "m.geodl", item, file.weights, file.report)
    with pytest.raises(ModelFileError, match="Windows must be"):
        load_classifier(tmp_path / "m.geodl")


def test_a_forest_is_not_written_as_onnx(model, tmp_path):
    """With a sentence, and nothing is left behind."""
    pytest.importorskip("onnxruntime", reason="the extra geodl[onnx] is not installed")
    with pytest.raises(ModelFileError, match="decision trees are not written"):
        run_job("exportonnx", {"model": str(model[0]), "output": str(tmp_path / "m.onnx")}, SilentProgress())
    assert list(tmp_path.iterdir()) == []


def test_stopping_keeps_the_trees_that_stand(tiles, tmp_path):
    """Before there are any, nothing is kept."""

    class Stop(SilentProgress):
        def __init__(self, text):
            super().__init__()
            self.text, self.stopped = text, False

        def update(self, fraction, text=""):
            self.stopped |= text.startswith(self.text)

        def cancelled(self):
            return self.stopped

    growing.TREES, before = 60, growing.TREES
    try:
        settings = {"tiles": str(tiles.folder), "output": str(tmp_path / "m.geodl"), "architecture": "forest"}
        result = run_job("trainclassifier", settings, Stop("Growing the forest, 20"))
        assert result["cancelled"]
        assert len(read_model(tmp_path / "m.geodl").weights["trees.roots"]) == 20
        assert run_job("trainclassifier", settings, SilentProgress())["cancelled"] is False  # the same command goes on
        assert len(read_model(tmp_path / "m.geodl").weights["trees.roots"]) == 60
        settings["output"] = str(tmp_path / "none.geodl")
        with pytest.raises(Cancelled):
            run_job("trainclassifier", settings, Stop(""))
        assert [path.name for path in tmp_path.iterdir()] == ["m.geodl"]
    finally:
        growing.TREES = before
