"""QGIS, started once without a window and with a profile of its own."""

import os
import sys
import tempfile

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if not os.environ.get("QGIS_CUSTOM_CONFIG_PATH"):
    os.environ["QGIS_CUSTOM_CONFIG_PATH"] = tempfile.mkdtemp(prefix="geodl-profile-")
sys.path.append(os.environ.get("QGIS_PLUGIN_PATH", "/usr/share/qgis/python/plugins"))

from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingFeedback, QgsProject


@pytest.fixture(scope="session")
def qgis():
    """Return the application, with Processing's native algorithms and GeoDL's provider registered."""
    application = QgsApplication([], False)
    QgsApplication.initQgis()
    from processing.core.Processing import Processing

    Processing.initialize()
    from geodl_qgis_plugin.plugin import GeoDLPlugin

    plugin = GeoDLPlugin(None)
    plugin.initProcessing()
    yield application
    plugin.unload()
    QgsApplication.exitQgis()


def pytest_sessionfinish(session, exitstatus):
    """Keep how the tests ended."""
    session.config.geodl_exit_status = int(exitstatus)


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config):
    """End at once, all is told by now: QGIS may crash while Python takes itself apart, and would hide how tests ended."""
    if QgsApplication.instance() is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(getattr(config, "geodl_exit_status", 1))


class Feedback(QgsProcessingFeedback):
    """Keeps what an algorithm says."""

    def __init__(self):
        super().__init__(False)
        self.infos, self.warnings, self.texts, self.debug = [], [], [], []

    def pushInfo(self, info):
        """Keep a message."""
        self.infos.append(info)

    def pushWarning(self, warning):
        """Keep a warning."""
        self.warnings.append(warning)

    def pushDebugInfo(self, info):
        """Keep a detail."""
        self.debug.append(info)

    def setProgressText(self, text):
        """Keep what is being done."""
        self.texts.append(text)


@pytest.fixture
def feedback():
    """Return a feedback that keeps what it is told."""
    return Feedback()


@pytest.fixture
def context(qgis):
    """Return a Processing context with an empty project."""
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    context.setFeedback(QgsProcessingFeedback())
    yield context
    context.temporaryLayerStore().removeAllMapLayers()  # layers that outlive QGIS end the process
    QgsProject.instance().clear()


@pytest.fixture
def run_algorithm(qgis, context, feedback):
    """Return a function that runs an algorithm by id through the registry, as the toolbox does; it gives the outputs."""

    def run(algorithm_id, parameters):
        import processing

        return processing.run(algorithm_id, parameters, context=context, feedback=feedback)

    return run
