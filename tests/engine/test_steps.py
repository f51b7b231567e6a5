"""A step of the optimiser is the same however a batch is parted, and running out of memory parts it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from geodl_qgis_plugin.engine.classification.batches import Batch
from geodl_qgis_plugin.engine.classification.devices import Compute, choose_compute, is_out_of_memory
from geodl_qgis_plugin.engine.classification.steps import Steps
from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.messages import SilentProgress

WEIGHTS = torch.tensor([0.5, 1.0, 3.0])


class Small(nn.Module):
    """One convolution; fails for more tiles at once than it has memory for."""

    stride = 4

    def __init__(self, room=None, error=torch.cuda.OutOfMemoryError):
        super().__init__()
        torch.manual_seed(1)
        self.convolution, self.room, self.error = nn.Conv2d(2, 3, 3, padding=1), room, error

    def forward(self, values, derived=None):
        if self.room is not None and len(values) > self.room:
            raise self.error("out of memory. Tried to allocate 12 TiB")
        return self.convolution(torch.nan_to_num(values))


def batch(per_pixel=True):
    random = np.random.default_rng(3)
    targets = random.integers(-1, 3, (5, 6, 6) if per_pixel else 5)
    targets[1] = -1  # a tile without labels
    return Batch(random.normal(size=(5, 2, 6, 6)).astype(np.float32), targets.astype(np.int64))


def stepped(net, parts=1, progress=None):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    weights = WEIGHTS
    steps = Steps(
        net,
        optimizer,
        lambda logits, wanted: F.cross_entropy(logits, wanted, weights, ignore_index=-1),
        weights,
        Compute(torch.device("cpu")),
        parts=parts,
    )
    loss = steps.take(batch(), steps.weight(batch()), 0, progress or SilentProgress())
    return loss, net.convolution.weight.detach(), steps.parts


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_sum_up_to_the_whole(parts):
    """Loss and weights after a step, also where a part has no labels and classes weigh differently."""
    loss, weights, _ = stepped(Small())
    parted_loss, parted_weights, _ = stepped(Small(), parts)
    assert parted_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(parted_weights, weights, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, RuntimeError, MemoryError])
def test_running_out_of_memory_parts_the_batch(error):
    """The same step as with enough memory, and the user is told once for each halving."""
    progress = SilentProgress()
    _, weights, parts = stepped(Small(room=2, error=error), progress=progress)
    assert parts == 4
    assert len(progress.warnings) == 2
    assert "2 parts" in progress.warnings[0]
    np.testing.assert_allclose(weights, stepped(Small())[1], rtol=1e-5, atol=1e-7)


def test_no_memory_for_a_single_tile():
    """Says what to do instead of trying for ever; other errors are none of memory and come through."""
    with pytest.raises(GeoDLError, match="not even memory for one tile"):
        stepped(Small(room=0))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        stepped(Small(room=0, error=lambda _: RuntimeError("shape mismatch")))


def test_bfloat16_is_used_where_it_was_asked_for():
    """On the processor; automatic stays with float32 there, and the log says which."""
    automatic, low = (choose_compute(name, SilentProgress()) for name in ("automatic", "bfloat16"))
    if automatic.device.type == "cpu":
        assert automatic.low is None
        assert "float32." in automatic.sentence()
    assert "bfloat16" in low.sentence()
    with low.precision():
        assert nn.Conv2d(1, 1, 3)(torch.ones(1, 1, 4, 4)).dtype is torch.bfloat16
