"""
Start the engine from a plugin folder: `python -E run_engine.py [--packages DIR] <job> settings.json`.

QGIS gives a process no environment of its own, so what the engine needs to import is told here. Started by path, Python puts
this folder first on its path, where the plugin's modules would hide others of the same name: it is taken off.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> int:
    """Set the path, then run the engine's own command line."""
    here = Path(__file__).resolve().parent
    arguments = sys.argv[1:]
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
    if arguments[:1] == ["--packages"]:
        sys.path.insert(0, arguments[1])
        arguments = arguments[2:]
    sys.path.insert(0, str(here.parent))
    from geodl_qgis_plugin.engine.__main__ import main as run  # noqa: PLC0415 - only now can it be found

    return run(arguments)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all is written: to take Python and PyTorch apart would cost most of a second of the processor
