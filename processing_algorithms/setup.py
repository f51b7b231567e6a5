"""geodl:setup: check what the engine needs, install what is missing, report."""

from typing import Any

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
)

from .base import GeoDLAlgorithm
from .plugin_files import plugin_version


class Setup(GeoDLAlgorithm):
    """Checks the environment and installs packages into GeoDL's package folder, on the user's click only."""

    NAME, GROUP_ID = "setup", "setup"
    NEEDS = ()
    INSTALL, WHEELS, REPORT = "INSTALL", "WHEELS", "REPORT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Check and install")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Check what GeoDL's engine needs (PyTorch and others) and install what is missing.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Packages go into a folder of your QGIS profile, never into QGIS itself. numpy and scipy stay as they are. The "
            "report can be pasted into a bug report.</p><p>On Linux, pip's index has PyTorch with CUDA only (over 5 GB). Where "
            "the distribution offers PyTorch (python3-torch on Debian 13), installing that first saves it; so does a folder of "
            "wheels with PyTorch's build for CPUs.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterBoolean(self.INSTALL, self.tr("Install what is missing"), defaultValue=False),
            help=self.tr(
                "Without this, the environment is only checked. With it, several hundred megabytes may be loaded."
            ),
        )
        self.add(
            QgsProcessingParameterFile(
                self.WHEELS,
                self.tr("Folder of wheels"),
                behavior=QgsProcessingParameterFile.Behavior.Folder,
                optional=True,
            ),
            help=self.tr(
                "Install from the wheels in this folder, on a machine without a connection. Empty: from pip's index."
            ),
        )
        self.add(
            QgsProcessingParameterFileDestination(self.REPORT, self.tr("Report"), self.tr("HTML files (*.html)")),
            help=self.tr("HTML file with the versions and places of all that was found."),
        )

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Add the package folder and what only QGIS knows."""
        from .interpreter import find_interpreter  # noqa: PLC0415 - only a run needs it

        settings = super().settings(parameters, context, feedback)
        packages = find_interpreter().packages
        settings["packages"] = str(packages) if packages is not None else None
        grass = QgsApplication.processingRegistry().providerById("grass")
        settings["facts"] = {
            "GeoDL": plugin_version(),
            "QGIS": f"{Qgis.version()} ({Qgis.devVersion()})",
            "Profile": QgsApplication.qgisSettingsDirPath(),
            "GRASS provider": "enabled" if grass is not None and grass.isActive() else "not enabled",
        }
        return settings
