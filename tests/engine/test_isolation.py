"""The engine runs where there is no QGIS, and starts without its heavy packages."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WALK = """
import importlib, pkgutil, sys
class NoQgis:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("qgis", "processing", "PyQt5", "PyQt6"):
            raise ImportError(f"the engine imports {name}")
sys.meta_path.insert(0, NoQgis())
import geodl_qgis_plugin.engine as engine
names = [module.name for module in pkgutil.walk_packages(engine.__path__, engine.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_engine_never_imports_qgis():
    """Every module of the engine can be imported where importing qgis fails."""
    done = python(WALK)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_engine_starts_without_torch():
    """The engine's command line loads no heavy package before it knows the job: QGIS waits for its first line."""
    code = "import sys, geodl_qgis_plugin.engine.__main__; print([n for n in ('torch', 'numpy', 'osgeo') if n in sys.modules])"
    done = python(code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
