"""What tests of training share: a set that follows a planted rule, and a look at the validation part after every epoch."""

import pytest

from geodl_qgis_plugin.engine.classification import training

from .test_tile_set import extract
from .test_training import rule


@pytest.fixture(scope="session")
def tiles(tmp_path_factory):
    """Return the tile set of `rule`; nobody changes it."""
    folder = tmp_path_factory.mktemp("rule")
    return extract(folder / "set", **rule(folder))


@pytest.fixture(scope="module")
def checks_after_every_epoch():
    """Look at the validation part after every epoch, though epochs are short."""
    before, training.FEWEST_BATCHES_BETWEEN_CHECKS = training.FEWEST_BATCHES_BETWEEN_CHECKS, 1
    yield
    training.FEWEST_BATCHES_BETWEEN_CHECKS = before
