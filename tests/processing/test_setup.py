"""geodl:setup as a user runs it, and the settings page that leads to it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from geodl_qgis_plugin.processing_algorithms.interpreter import package_folder, qgis_python
from geodl_qgis_plugin.processing_algorithms.plugin_files import plugin_version
from qgis.core import Qgis, QgsApplication, QgsProcessingException

ROOT = Path(__file__).resolve().parent.parent.parent


def test_report_for_a_bug_report(run_algorithm, feedback, tmp_path, monkeypatch):
    """The report names the versions of all that matters; the log holds the same lines to be pasted."""
    monkeypatch.setenv("GEODL_PYTHON", sys.executable)
    outputs = run_algorithm("geodl:setup", {"REPORT": str(tmp_path / "report.html")})
    page = Path(outputs["REPORT"]).read_text(encoding="utf-8")
    log = "\n".join(feedback.infos)
    for text in (
        plugin_version(),
        Qgis.version(),
        QgsApplication.qgisSettingsDirPath(),
        sys.executable,
        "torch",
        "numpy",
    ):
        assert text in page
        assert text in log
    assert "Everything that GeoDL needs is there." in page


def test_wheels_folder_that_is_missing(run_algorithm, tmp_path, monkeypatch):
    """A folder of wheels that does not exist is refused with a sentence, and no report is left behind."""
    base = Path(sys.base_prefix, "bin", "python3")
    monkeypatch.delenv("GEODL_PYTHON", raising=False)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)  # as in QGIS, outside the virtual environment
    if subprocess.run([base, "-c", "import torch, sklearn, safetensors"], capture_output=True).returncode == 0:
        pytest.skip("this system's Python has all that the engine needs")
    with pytest.raises(QgsProcessingException, match=r"/no/such/folder|no pip"):
        run_algorithm(
            "geodl:setup",
            {"INSTALL": True, "WHEELS": "/no/such/folder", "REPORT": str(tmp_path / "report.html")},
        )
    assert not list(tmp_path.iterdir())


def test_packages_lie_outside_the_plugin(qgis):
    """The package folder is in the profile and named by Python's version, so that updates of the plugin keep it."""
    folder = package_folder()
    assert folder.parent.parent == Path(QgsApplication.qgisSettingsDirPath())
    assert folder.name == f"packages-cp{sys.version_info.major}{sys.version_info.minor}"


def test_own_python_is_no_qgis(qgis):
    """QGIS's own Python is found by its folder and is an interpreter that imports QGIS."""
    done = subprocess.run(
        [qgis_python(), "-c", "import qgis.core, sys; print(sys.version_info[:2])"], capture_output=True, text=True
    )
    assert done.stdout.strip() == str(sys.version_info[:2]), done.stderr


def test_window_parts():
    """With a window there are a menu entry and an options page that keeps the engine's Python; unloading takes all back."""
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        import geodl_qgis_plugin
        geodl_qgis_plugin.__path__.append({str(ROOT)!r})
        from qgis.core import QgsApplication, QgsSettings
        from qgis.PyQt.QtWidgets import QMainWindow
        application = QgsApplication([], True)
        QgsApplication.initQgis()

        class Interface:
            def __init__(self):
                self.window, self.menu, self.pages = QMainWindow(), [], []
            def mainWindow(self):
                return self.window
            def addPluginToMenu(self, name, action):
                self.menu.append((name, action))
            def removePluginMenu(self, name, action):
                self.menu.remove((name, action))
            def registerOptionsWidgetFactory(self, page):
                self.pages.append(page)
            def unregisterOptionsWidgetFactory(self, page):
                self.pages.remove(page)

        interface = Interface()
        plugin = geodl_qgis_plugin.classFactory(interface)
        plugin.initGui()
        page = interface.pages[0].createWidget(None)
        page.python.setFilePath(" /opt/python ")
        page.apply()
        again = interface.pages[0].createWidget(None)
        print(interface.menu[0][0], again.python.filePath(), QgsSettings().value("geodl/python"), again.folder.text())
        QgsSettings().remove("geodl/python")
        plugin.unload()
        print(len(interface.menu), len(interface.pages), QgsApplication.processingRegistry().providerById("geodl"))
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown, after = done.stdout.strip().splitlines()
    assert shown.startswith("GeoDL /opt/python /opt/python ")
    assert "packages-cp" in shown
    assert after == "0 0 None"
