"""Measure what the plugin costs `qgis_process list`: with it enabled against without, in turn, so that drift cancels.

    plugin_start.py [--pairs 7]

At most 0.1 s more is allowed: a user who never runs GeoDL should not feel it. Processor time is told too, and decides: it
hardly changes with what else the machine does.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import install_plugin
import package

LIMIT_S = 0.1


def seconds(home: Path) -> tuple[float, float]:
    """Time one `qgis_process list` with the profiles in `home`: by the clock, and of the processor."""
    environment = os.environ | {"QGIS_CUSTOM_CONFIG_PATH": str(home), "QT_QPA_PLATFORM": "offscreen"}
    before, used_before = time.perf_counter(), _processor_seconds()
    done = subprocess.run(["qgis_process", "list"], env=environment, capture_output=True, text=True, check=True)
    taken, used = time.perf_counter() - before, _processor_seconds() - used_before
    if ("geodl:setup" in done.stdout) != (home.name == "with"):
        raise RuntimeError(f"The profile {home} does not list what it should:\n{done.stdout}{done.stderr}")
    return taken, used


def _processor_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    """Measure pairs, print the median difference and its spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(prefix="geodl-start-") as folder:
        homes = {name: Path(folder, name) for name in ("without", "with")}
        (homes["without"] / "profiles" / "default").mkdir(parents=True)
        install_plugin.install(package.build(Path(folder)), homes["with"] / "profiles" / "default")
        for home in homes.values():
            seconds(home)  # the first start fills a new profile and compiles
        taken = [(seconds(homes["without"]), seconds(homes["with"])) for _ in range(pairs)]
    for kind, what in ((0, "clock"), (1, "processor")):
        without, with_it = ([measured[kind] for measured in column] for column in zip(*taken))
        differences = sorted(after - before for before, after in zip(without, with_it))
        median = statistics.median(differences)
        print(
            f"{what:>9}: {statistics.median(without):.2f} s without, {statistics.median(with_it):.2f} s with GeoDL; "
            f"difference in {pairs} pairs: median {median:+.3f} s, from {differences[0]:+.3f} to {differences[-1]:+.3f} s"
        )
    return 0 if median <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
