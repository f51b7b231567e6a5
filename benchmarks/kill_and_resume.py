"""
Kill trainings with SIGKILL at random moments, go on with the same command, and compare with an unbroken run.

    python benchmarks/kill_and_resume.py [ARCHITECTURE …] [--kills 10] [--epochs 4] [--data DATA]

North Carolina's Landsat image and land cover, tiles of 32 pixels; every architecture, and the automatic choice for pixels
and for tiles. Weights, report and the model's description must be the same, but for its date and what clocks say.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from tests.engine.models import told

PIXEL, TILE = "each pixel", "each tile"
TASKS = {
    "unet": PIXEL,
    "surroundings": PIXEL,
    "forest": PIXEL,
    "extra trees": PIXEL,
    "automatic": PIXEL,
    "pooled": TILE,
    "classic": TILE,
    "residual": TILE,
    "automatic tiles": TILE,
}
RUN = str(ROOT / "geodl_qgis_plugin" / "run_engine.py")


def run(settings, kill_after_s=None):
    """Run the engine; kill it some time after its first line of progress. Return its exit status and how long it worked."""
    engine = subprocess.Popen(
        [sys.executable, "-E", RUN, "trainclassifier", str(settings)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    started = None
    for line in engine.stdout:
        if started is None and '"progress"' in line:
            started = time.monotonic()
            if kill_after_s is not None:
                threading.Timer(kill_after_s, engine.kill).start()
        if '"error"' in line:
            print(line)
    return engine.wait(), time.monotonic() - (started or time.monotonic())


def same(one, other):
    """Name what differs."""
    weights = one[0].keys() == other[0].keys() and all(np.array_equal(one[0][n], other[0][n]) for n in one[0])
    parts = {"weights": weights, "report": one[1] == other[1], "description": one[2] == other[2]}
    return [name for name, alike in parts.items() if not alike]


def main():
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE", help=f"of {', '.join(TASKS)}; or all")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    chosen = parser.parse_args()
    source = chosen.data / "landcover_nc_landsat"
    if not source.is_dir():
        sys.exit(f"There is no folder {source}. Give the one that holds it with --data.")
    if unknown := set(chosen.architectures) - set(TASKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    failed = False
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="geodl-") as temporary:
        folder = Path(temporary)
        cut = {
            "predictors": [str(source / "lsat7_2000_6band.tif")],
            "labels": [str(source / "landclass96_strata.tif")],
            "tile_size": 32,
            "output": str(folder / "tiles"),
        }
        run_job("extracttiles", cut, SilentProgress())
        for name in chosen.architectures or TASKS:
            found, length = [], 0.0
            settings = {"tiles": cut["output"], "task": TASKS[name], "architecture": name.removesuffix(" tiles")}
            settings |= {"epochs": chosen.epochs, "widths": [8, 12, 16], "forest": False}
            for kills in (0, chosen.kills):
                out = folder / name  # the same place: the model tells where it was written
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                settings |= {"output": str(out / "m.geodl"), "report": str(out / "r.html")}
                file = folder / "settings.json"
                file.write_text(json.dumps(settings))
                killed = 0
                for _ in range(kills):
                    status, _ = run(file, random.uniform(0.0, 1.5 * length / kills))
                    killed += status == -signal.SIGKILL
                    if status == 0:  # it came to its end: begin again
                        (out / "m.geodl").unlink()
                status, length = run(file)
                if status != 0:
                    sys.exit(f"{name}: the engine ended with {status}")
                found.append(told(out / "m.geodl", out / "r.html"))
                left = sorted(path.name for path in out.iterdir())
            differs = same(*found)
            failed |= bool(differs) or left != ["m.geodl", "r.html"]
            print(
                f"{name}: killed {killed} times; {', '.join(differs) + ' DIFFER' if differs else 'the same'}; left: "
                f"{', '.join(left)}",
                flush=True,
            )
    sys.exit(failed)


if __name__ == "__main__":
    main()
