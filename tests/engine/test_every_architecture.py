"""Every architecture of the registry, whatever is added to it: a map in windows is the map of one pass, and of tile by tile."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import networks, pixel_blocks
from geodl_qgis_plugin.engine.classification.classification_job import Settings, prepare
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.networks import EACH_PIXEL, EACH_TILE, Architecture, ensemble_of
from geodl_qgis_plugin.engine.classification.networks.core import logits_of_core
from geodl_qgis_plugin.engine.classification.networks.trees import Trees
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid

from .models import unsettled, write_classifier
from .planted import write_raster
from .test_networks import raster
from .test_tile_set import UTM

torch.set_num_threads(1)
BANDS = [Band("dem", "m"), Band("ratio")]
CLASSES, SIZE = 4, 48
SMALL = {"unet": {"widths": [4, 6, 8]}, "forest": {"widths": [3, 9], "scales": [2, 4]}}
SMALL |= {"extra trees": SMALL["forest"], "surroundings": SMALL["forest"] | {"hidden": 8}}
ALL = [(name, task) for name in networks._BUILDERS for task in networks._BUILDERS[name][0]]


def architecture_of(name, task):
    """Return a small architecture; of an ensemble the task's first two."""
    if name == "ensemble":
        first, second = [other for other, own in ALL if own == task and other != name][:2]
        return ensemble_of([architecture_of(first, task), architecture_of(second, task)], [0.7, 0.3])
    chosen = networks.choose_architecture(name, task, BANDS, CLASSES, SIZE, spacing_m=(30.0, 30.0))
    numbers = SMALL.get(name, {}) if task == EACH_PIXEL else {}
    return Architecture.from_dict({**chosen.as_dict(), "numbers": {**chosen.numbers, **numbers}})


def filled(architecture):
    """Return a net with weights, norms, scaling and trees that are those of no fresh one."""
    net = unsettled(architecture, len(BANDS))
    generator = np.random.default_rng(0)
    for module in net.modules():
        if hasattr(module, "measure") and hasattr(module, "features"):
            module.measure(module.features(raster(60, 60, 5)).reshape(module.centre.numel(), -1).T)
        if isinstance(module, Trees):
            rows = generator.normal(0, 3, (400, module.features)).astype(np.float32)
            forest = RandomForestClassifier(4, max_depth=5, random_state=0)
            forest.fit(rows, generator.integers(0, CLASSES, len(rows)))
            module.take([tree.tree_ for tree in forest.estimators_], np.arange(CLASSES))
    return net.eval()


def every(task):
    """Give a test each architecture that does a task."""
    names = [name for name, own in ALL if own == task]
    return pytest.mark.parametrize("model", [(name, task) for name in names], indirect=True, ids=names)


@pytest.fixture(scope="module")
def model(request, tmp_path_factory):
    """Return the path of a model file."""
    name, task = request.param
    path = tmp_path_factory.mktemp("model") / "m.geodl"
    architecture = architecture_of(name, task)
    names = [f"class {number}" for number in range(CLASSES)]
    write_classifier(path, architecture, BANDS, names, tile_size_px=SIZE, net=filled(architecture))
    return path


def work_on(path, folder, values, **changes):
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), values.shape[2], values.shape[1])
    write_raster(folder / "r.tif", values, grid, names=["dem", "ratio"])
    settings = Settings(model=str(path), predictors=[str(folder / "r.tif")], output=str(folder / "x.tif"), **changes)
    return prepare(settings, SilentProgress())


def mapped(work):
    """Return the probabilities (class, row, column) of all blocks, NaN where none were worked out."""
    result = np.full((CLASSES, work.grid.height, work.grid.width), np.nan, np.float32)
    for block in work.blocks:
        scores = work.score(block, work.read(block))
        if scores is not None:
            result[(slice(None), *block.slices)] = np.where(scores.valid, scores.probabilities, np.nan)
    return result


def assert_same_map(found, expected):
    """Every place whose two best classes differ by more than 1e-5 has the same one."""
    known = np.isfinite(expected).all(axis=0)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=0), known)
    if known.any():
        second, first = np.sort(expected[:, known], axis=0)[-2:]
        clear = first - second > 1e-5
        np.testing.assert_array_equal(found[:, known].argmax(0)[clear], expected[:, known].argmax(0)[clear])
        assert np.abs(found - expected)[:, known].max() < 1e-4


@every(EACH_PIXEL)
@pytest.mark.parametrize("seed", range(2))
def test_a_map_from_windows_is_that_of_one_pass(model, tmp_path, monkeypatch, seed):
    """Random sizes of raster and window, with holes; for pixels."""
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(1, 130, 2))
    values = raster(height, width, seed)
    monkeypatch.setattr(pixel_blocks, "CORE_PX", 10_000)
    whole = work_on(model, tmp_path, values)
    assert len(whole.blocks) == 1
    expected = mapped(whole)
    monkeypatch.setattr(pixel_blocks, "CORE_PX", int(generator.integers(8, 50)))
    assert_same_map(mapped(work_on(model, tmp_path, values)), expected)


@every(EACH_TILE)
@pytest.mark.parametrize("seed", range(2))
def test_tiles_that_slide_are_those_one_by_one(model, tmp_path, seed):
    """Random sizes of raster, at the net's own stride and at another, which gives tiles one by one; for tiles."""
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(SIZE, 110, 2))
    values = raster(height, width, seed)
    stride = 8 * int(generator.integers(1, 4))
    work = work_on(model, tmp_path, values, stride=stride)
    found = mapped(work)
    expected = np.full_like(found, np.nan)
    for row, column in np.ndindex(found.shape[1:]):
        tile = values[:, row * stride : row * stride + SIZE, column * stride : column * stride + SIZE]
        if np.isfinite(tile).all(axis=0).mean() >= 0.5:
            with torch.inference_mode():
                logits = work.model.net(torch.from_numpy(np.ascontiguousarray(tile))[None])[0, :, 0, 0]
            expected[:, row, column] = torch.softmax(logits, dim=0).numpy()
    assert_same_map(found, expected)


def part_of(length, generator):
    """Return a part of a length, often one that begins or ends at its end or a pixel or two from it."""
    ends = [0, 1, 2, length - 2, length - 1, length, *generator.integers(0, length, 6)]
    first, last = np.sort(generator.choice(np.unique(ends), 2, replace=False))
    return slice(int(first), int(last))


@every(EACH_PIXEL)
def test_a_core_has_the_logits_of_the_whole_window(model):
    """However the halo lies round it, and at the edges of the window, where nothing is beyond: what is left out is not seen."""
    net, generator = load_classifier(model).net, np.random.default_rng(0)
    values = torch.from_numpy(raster(64, 56, 3))[None]
    with torch.inference_mode():
        whole = torch.softmax(net(values), dim=1)
        for _ in range(25):
            core = part_of(64, generator), part_of(56, generator)
            alone = torch.softmax(logits_of_core(net, values, core), dim=1)
            torch.testing.assert_close(alone, whole[:, :, core[0], core[1]], rtol=0, atol=1e-5)
