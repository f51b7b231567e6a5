"""
Time GeoDL against neuralforecast's default LSTM: training and the answers at the same rolling origins, in turn, medians.

    python benchmarks/forecast_speed.py --other /path/to/python-with-neuralforecast --set uk_tmean --runs 3

neuralforecast has an environment of its own, whose Python is named; it needs pandas and ../shared as `forecast_skill.py` does.
``--steps`` trains it for fewer than its 1,000 steps, where time is short; what was run is told. Each run is a process of its
own; imports are not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import forecast_skill
from forecast_skill import SHARED


def one(which, name, steps):
    """Run one of the two; print its seconds of the clock and of processors, and its MASE."""
    os.environ["GEODL_FC_DATA"] = str(SHARED / "data")
    sys.path.insert(0, str(SHARED / "benchmarks"))
    import forecast_protocol as protocol

    os.chdir(tempfile.mkdtemp())
    task = protocol.Task(name)
    if which == "geodl":
        import torch  # noqa: F401 - not to be counted

        started, worked = time.perf_counter(), time.process_time()
        rows = forecast_skill.score_geodl(protocol, task, 0, forecast_skill.anomaly)
        mase = rows[0]["MASE"]
    else:
        import neuralforecast.models  # noqa: F401 - not to be counted

        started, worked = time.perf_counter(), time.process_time()
        points, _ = forecast_skill.neuralforecast_lstm(task, steps)
        mase = protocol.score(task, points)["MASE"]
    print(json.dumps([time.perf_counter() - started, time.process_time() - worked, mase]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--other", default=sys.executable, help="Python that has neuralforecast")
    parser.add_argument("--set", default="uk_tmean")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--one", choices=("geodl", "neuralforecast"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.set, options.steps)
        return
    if not (SHARED / "benchmarks" / "forecast_protocol.py").exists():
        print("The shared protocol and data are not beside this checkout: nothing was measured.")
        return
    found = {"geodl": [], "neuralforecast": []}
    for run in range(options.runs):
        for which, python in (("geodl", sys.executable), ("neuralforecast", options.other)):
            command = [python, __file__, "--one", which, "--set", options.set, "--steps", str(options.steps)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[which].append(json.loads(done.stdout.strip().splitlines()[-1]))
            clock, processor, mase = found[which][-1]
            print(
                f"{run + 1}, {which}: {clock:.1f} s, {processor:.1f} s of processors, MASE {mase:.3f}, "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    for index, what in ((0, "clock"), (1, "processors")):
        own, other = (statistics.median(run[index] for run in runs) for runs in found.values())
        print(f"{what}: {own:.1f} s against {other:.1f} s of {options.steps} steps, {other / own:.1f} times")


if __name__ == "__main__":
    main()
