"""The shell: registers the provider and, where there is a window, a menu entry and a page in QGIS's options."""

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from geodl_qgis_plugin.processing_algorithms.plugin_files import icon_path
from geodl_qgis_plugin.processing_algorithms.provider import GeoDLProvider


class GeoDLPlugin:
    """
    What QGIS holds of GeoDL.

    `iface` is none in ``qgis_process`` and QGIS Server, which call `initProcessing` and never `initGui`.
    """

    def __init__(self, iface):
        self.iface = iface
        self.provider = None
        self._action = None
        self._options = None

    def initProcessing(self):
        """Register the provider; touches no window."""
        self.provider = GeoDLProvider()
        self.provider.register()

    def initGui(self):
        """Register the provider, a menu entry and the page in QGIS's options."""
        from .options import OptionsFactory, open_setup  # noqa: PLC0415 - windows only where there is a window

        self.initProcessing()
        self._options = OptionsFactory()
        self.iface.registerOptionsWidgetFactory(self._options)
        self._action = QAction(
            QIcon(icon_path()), QCoreApplication.translate("GeoDL", "Check and install…"), self.iface.mainWindow()
        )
        self._action.triggered.connect(open_setup)
        self.iface.addPluginToMenu("GeoDL", self._action)

    def unload(self):
        """Take everything back."""
        if self._action is not None:
            self.iface.removePluginMenu("GeoDL", self._action)
            self._action.deleteLater()
            self._action = None
        if self._options is not None:
            self.iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
