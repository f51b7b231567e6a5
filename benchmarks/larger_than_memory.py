"""
Train on a tile set that is larger than the memory that training may use.

A set of ten thousand tiles of 128 × 128 pixels with nine bands (6.4 GB) is cut; then the engine trains on it for some minutes
in a control group whose memory, page cache included, is limited (root on Linux only). Printed are the limit, the most that was
used, how often the limit was met, and how training ended.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from tile_cutting import ACROSS, SIZE, make_rasters

from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress

CONTROL = Path("/sys/fs/cgroup")


class Limit:
    """A control group with limited memory, of either version of Linux's control groups."""

    def __init__(self, limit_bytes):
        old = (CONTROL / "memory").is_dir()
        self.folder = (CONTROL / "memory" if old else CONTROL) / f"geodl-bench-{os.getpid()}"
        self.names = (
            ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt")
            if old
            else ("memory.max", "memory.peak", "memory.events")
        )
        self.folder.mkdir()
        (self.folder / self.names[0]).write_text(str(limit_bytes))

    def enter(self):
        """Put the calling process into the group."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def told(self):
        """Return the most bytes that were used, and what is known of how often the limit was met."""
        return int((self.folder / self.names[1]).read_text()), " ".join(
            (self.folder / self.names[2]).read_text().split()
        )


def forget(folder):
    """Have the system drop a folder's files from its page cache, which would not count towards the limit."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main():
    """Cut, train within the limit, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--folder", type=Path, help="where to write 13 GB; else the system's temporary folder")
    parser.add_argument("--limit-gb", type=float, default=2.0)
    parser.add_argument("--minutes", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geodl-bench-", dir=options.folder) as name:
        folder = Path(name)
        predictors, labels = make_rasters(folder, ACROSS * SIZE)
        cut = {
            "predictors": [predictors],
            "labels": [labels],
            "tile_size": SIZE,
            "stride": SIZE,
            "output": str(folder / "set"),
        }
        tiles = run_job("extracttiles", cut, SilentProgress())["tiles"]
        size = sum(path.stat().st_size for path in (folder / "set").rglob("*") if path.is_file())
        train = {
            "tiles": str(folder / "set"),
            "output": str(folder / "a.geodl"),
            "minutes": options.minutes,
            "forest": False,
        }
        (folder / "train.json").write_text(json.dumps(train))
        forget(folder)
        limit = Limit(int(options.limit_gb * 1e9))
        command = [sys.executable, "-m", "geodl_qgis_plugin.engine", "trainclassifier", str(folder / "train.json")]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit.enter, check=False)
        most, met = limit.told()
        limit.folder.rmdir()
    last = json.loads(ended.stdout.strip().splitlines()[-1])
    told = last.get("result", last)
    print(
        f"{tiles:,} tiles, {size / 1e9:.1f} GB, within {options.limit_gb:g} GB: at most {most / 1e9:.2f} GB used, "
        f"limit met: {met}; "
        f"{told.get('batches', told)} batches of {options.minutes:g} minutes, exit status {ended.returncode}"
    )
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
