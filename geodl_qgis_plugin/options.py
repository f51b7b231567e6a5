"""GeoDL's page in QGIS's options: which Python runs the engine, and where its packages lie."""

from qgis.core import QgsSettings
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QFormLayout, QLabel, QPushButton

from geodl_qgis_plugin.processing_algorithms.interpreter import PYTHON_SETTING, package_folder
from geodl_qgis_plugin.processing_algorithms.plugin_files import icon_path


def open_setup():
    """Open the dialog of geodl:setup."""
    from processing import execAlgorithmDialog  # noqa: PLC0415 - QGIS's own plugin, loaded when a user asks

    execAlgorithmDialog("geodl:setup")


class OptionsFactory(QgsOptionsWidgetFactory):
    """Makes the page when the options are opened."""

    def __init__(self):
        super().__init__("GeoDL", QIcon(icon_path()), "geodl")

    def createWidget(self, parent):
        """Return a new page."""
        return OptionsPage(parent)


class OptionsPage(QgsOptionsPageWidget):
    """The page."""

    def __init__(self, parent):
        super().__init__(parent)
        self.python = QgsFileWidget(self)
        self.python.setFilePath(QgsSettings().value(PYTHON_SETTING, "", type=str))
        self.python.lineEdit().setPlaceholderText(_tr("QGIS's own Python with the package folder below"))
        self.python.setToolTip(_tr("A Python with PyTorch and GDAL, such as that of a virtual environment."))
        self.folder = QLabel(str(package_folder()), self)
        self.folder.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.folder.setWordWrap(True)
        self.check = QPushButton(_tr("Check and install…"), self)
        self.check.clicked.connect(self._check)
        form = QFormLayout(self)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(_tr("Python of the engine"), self.python)
        form.addRow(_tr("Package folder"), self.folder)
        form.addRow("", self.check)

    def apply(self):
        """Keep the settings; QGIS calls this for OK and Apply."""
        QgsSettings().setValue(PYTHON_SETTING, self.python.filePath().strip())

    def _check(self):
        self.apply()
        open_setup()


def _tr(text):
    return QCoreApplication.translate("GeoDL", text)
