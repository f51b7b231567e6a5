"""The job `setup`, with small wheels made here, real pip, and no connection."""

import sys
import threading
import time
import zipfile

import pytest

from geodl_qgis_plugin.engine import setup
from geodl_qgis_plugin.engine.errors import Cancelled, EnvironmentProblem, OutputError, SettingsError
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.setup import Settings, run


@pytest.fixture
def wheels(tmp_path):
    """Return a folder of wheels and a function that adds one."""
    folder = tmp_path / "wheels"
    folder.mkdir()

    def add(name="tinygeo", version="1.0", needs=(), code=None):
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        files = {
            f"{name}.py": f'__version__ = "{version}"\n' if code is None else code,
            f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
            for path, text in files.items():
                file.writestr(path, text)

    add.folder = folder
    return add


@pytest.fixture
def requirements(monkeypatch):
    """Make the engine need one small package instead of PyTorch and others."""
    monkeypatch.setattr(setup, "REQUIREMENTS", {"tinygeo": "tinygeo>=1"})


@pytest.fixture
def install(wheels, tmp_path, requirements):
    """Return a function that runs the job with INSTALL."""
    packages = tmp_path / "profile" / "packages"

    def go(progress=None, **changes):
        settings = {"install": True, "wheels": str(wheels.folder), "packages": str(packages)} | changes
        return run(Settings(**settings), progress or SilentProgress())

    go.packages = packages
    return go


def test_check_alone_changes_nothing(install, tmp_path):
    """Without INSTALL, what is missing is named, with the way to get it, and no folder is made."""
    progress = SilentProgress()
    assert install(progress, install=False) == {"missing": ["tinygeo"]}
    assert "INSTALL" in progress.warnings[0]
    assert not install.packages.exists()


def test_install_from_wheels(install, wheels, tmp_path):
    """With INSTALL, the package lies in the folder and the report names its version and place."""
    wheels()
    report = tmp_path / "report.html"
    assert install(report=str(report), facts={"QGIS": "3.40 <test>"}) == {"missing": [], "report": str(report)}
    assert (install.packages / "tinygeo.py").exists()
    page = report.read_text(encoding="utf-8")
    assert "3.40 &lt;test&gt;" in page
    assert f"1.0  {install.packages}" in page
    assert [path.name for path in install.packages.parent.iterdir()] == ["packages"]


def test_numpy_stays_that_of_qgis(install, wheels):
    """A package that needs numpy gets the one that is there: none is looked for, none is copied."""
    wheels(needs=["numpy"])
    assert install()["missing"] == []
    assert not list(install.packages.glob("numpy*"))


def test_needs_of_packages_are_installed(install, wheels):
    """What a package needs comes with it."""
    wheels("tinygeo", needs=["tinydependency"])
    wheels("tinydependency")
    assert install()["missing"] == []
    assert (install.packages / "tinydependency.py").exists()


def test_failed_install_leaves_the_old_folder(install, wheels):
    """A failed installation says pip's reason, and the folder stays as it was."""
    install.packages.mkdir(parents=True)
    (install.packages / "old.py").write_text("x = 1\n")
    with pytest.raises(EnvironmentProblem, match=r"tinygeo.*Nothing was changed"):
        install()
    wheels(code="raise RuntimeError('built for another processor')\n")
    with pytest.raises(EnvironmentProblem, match=r"cannot be loaded \(RuntimeError: built for another processor\)"):
        install()
    assert [path.name for path in install.packages.parent.iterdir()] == ["packages"]
    assert (install.packages / "old.py").read_text() == "x = 1\n"


def test_broken_folder_is_replaced(install, wheels):
    """A folder with a broken package is replaced as a whole, and nothing of it stays."""
    install.packages.mkdir(parents=True)
    (install.packages / "tinygeo.py").write_text("raise ImportError('half an update')\n")
    (install.packages / "stale.py").write_text("x = 1\n")
    wheels()
    assert install()["missing"] == []
    assert not (install.packages / "stale.py").exists()


def test_nothing_is_installed_twice(install, wheels):
    """A second run finds everything and leaves the folder alone."""
    wheels()
    install()
    (install.packages / "mark").touch()
    assert install(wheels="/no/such/folder")["missing"] == []
    assert (install.packages / "mark").exists()


def test_cancel_ends_pip(tmp_path):
    """Cancelling ends pip at once and changes nothing."""

    class Progress(SilentProgress):
        def __init__(self):
            super().__init__()
            self.stop = threading.Event()

        def cancelled(self):
            return self.stop.is_set()

    progress = Progress()
    threading.Timer(0.5, progress.stop.set).start()
    before = time.monotonic()
    with pytest.raises(Cancelled, match="Nothing was changed"):
        setup._pip(
            [sys.executable, "-c", "import time; print('Collecting', flush=True); time.sleep(60)"], tmp_path, progress
        )
    assert time.monotonic() - before < 10
    assert progress.messages == ["Collecting"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"wheels": "/no/such/folder"}, SettingsError, "WHEELS is /no/such/folder"),
        ({"packages": None}, SettingsError, "does not install into a Python that you named"),
        ({"report": "/proc/none/report.html"}, OutputError, "cannot be written"),
    ],
)
def test_refusals(install, changes, error, words):
    """What cannot work is refused with a sentence before pip is started."""
    with pytest.raises(error, match=words):
        install(**changes)


def test_missing_pip_is_told(install, monkeypatch):
    """Where pip itself is missing, the sentence says how to get it."""
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match=r"no pip.*python3-pip"):
        install()
