"""Training by two processes under torchrun: the same step as one process, and a lost process costs nothing but time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classification.batches import Batches, own_part
from geodl_qgis_plugin.engine.classification.devices import Compute
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.steps import Steps
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model
from geodl_qgis_plugin.engine.ranks import Ranks
from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

from .own_name import needs_own_name
from .test_training import QUICK

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")

STEP = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[3])
from geodl_qgis_plugin.engine.ranks import joined
from tests.engine.test_ranked_training import stepped
with joined() as ranks:
    loss, state = stepped(sys.argv[1], ranks)
    np.savez(f"{sys.argv[2]}{ranks.rank}.npz", loss=ranks.sum(np.array([loss])), **state)
"""
# The engine, with a checkpoint after every batch, whose rank RANK_TO_LOSE is killed in the middle of its first life.
ENGINE = """
import os, signal, sys
from geodl_qgis_plugin.engine import __main__
from geodl_qgis_plugin.engine.classification import steps, training
training.KEEP_EVERY_S = 0.0
training.FEWEST_BATCHES_BETWEEN_CHECKS = 1
taken, take = 0, steps.Steps.take
def counted(self, *arguments):
    global taken
    taken += 1
    if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"], taken) == (os.environ.get("RANK_TO_LOSE"), "0", 17):
        os.kill(os.getpid(), signal.SIGKILL)
    return take(self, *arguments)
steps.Steps.take = counted
sys.exit(__main__.main(sys.argv[1:]))
"""


def torchrun(*arguments, **environment):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=ROOT, env=variables, timeout=180, check=False
    )


def stepped(folder, ranks):
    """Take a step of a U-Net with the batch norms that it has; return the loss and all weights and buffers."""
    torch.set_num_threads(1)
    tiles = TileSet.open(folder)
    architecture = choose_architecture("unet", "each pixel", tiles.bands, 2, 32, {"widths": [4, 6]})
    torch.manual_seed(0)
    net = architecture.build().double().train()  # rounding must not flip a ReLU
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    weights = torch.tensor([1.0, 3.0])
    loss = torch.nn.CrossEntropyLoss(weights, ignore_index=-1)
    steps = Steps(net, optimizer, loss, weights, Compute(torch.device("cpu")), ranks)
    batch = next(Batches(tiles, 6, 1, per_pixel=True, ranks=ranks).epoch(0))
    weight = float(ranks.sum(np.array([steps.weight(batch)]))[0])
    found = steps.take(batch, weight, 0, SilentProgress())
    return found, {name: tensor.numpy() for name, tensor in net.state_dict().items()}


@needs_own_name
def test_two_processes_take_the_step_of_one(tiles, tmp_path):
    """Weights and batch norms' statistics after a step, up to rounding; both processes hold the same to the last bit."""
    script = tmp_path / "step.py"
    script.write_text(STEP)
    done = torchrun(str(script), str(tiles.folder), str(tmp_path / "rank"), str(ROOT))
    assert done.returncode == 0, done.stderr[-2000:]
    loss, state = stepped(tiles.folder, Ranks())
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1))
    assert float(first["loss"][0]) == pytest.approx(loss, rel=1e-5)
    for name, array in state.items():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        np.testing.assert_allclose(first[name], array, rtol=1e-5, atol=1e-7, err_msg=name)


def test_parts_of_a_batch():
    """Each tile is one process's; where there are fewer tiles than processes, each makes all of them."""
    for tiles in (2, 3, 7, 16):
        assert [i for rank in range(2) for i in own_part(tiles, Ranks(rank, 2))] == list(range(tiles))
    assert list(own_part(2, Ranks(2, 3))) == [0, 1]


@needs_own_name
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of Windows")
def test_a_lost_process(tiles, tmp_path):
    """Killed in the middle of an epoch: torchrun starts both anew, and the model is that of the unbroken run."""
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    outputs = []
    for lost in ("none", "1"):
        output = tmp_path / f"{lost}.geodl"
        settings = {"tiles": str(tiles.folder), "output": str(output), **QUICK, "epochs": 3}
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        done = torchrun(str(script), "trainclassifier", str(tmp_path / "settings.json"), RANK_TO_LOSE=lost)
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        assert done.stdout.count('"type": "result"') == 1  # one process talks
        assert ("Going on after epoch 1, batch 6" in done.stdout) == (lost == "1")
        assert not list(tmp_path.glob(".*.training"))
        outputs.append(read_model(output).weights)
    for name, array in outputs[0].items():
        np.testing.assert_array_equal(outputs[1][name], array, err_msg=name)
