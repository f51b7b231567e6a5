"""geodl:describemodel: what a model file holds."""

from typing import Any

from qgis.core import QgsProcessingOutputNumber, QgsProcessingParameterFile, QgsProcessingParameterFileDestination

from .base import GeoDLAlgorithm


class DescribeModel(GeoDLAlgorithm):
    """Tells what a model was made from, what it needs and how good it is."""

    NAME, GROUP_ID = "describemodel", "models"
    NEEDS = ("safetensors", "matplotlib", "jinja2")
    MODEL, REPORT = "MODEL", "REPORT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Describe model")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr(
            "Tell what a model file holds: bands, classes, architecture, training area, scores and checksums."
        )

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>The file is checked first: one that was cut short or altered is refused. Nothing in a model file is run.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterFile(
                self.MODEL, self.tr("Model"), fileFilter=self.tr("GeoDL models (*.geodl);;All files (*)")
            ),
            help=self.tr("A .geodl file, for classification or for forecasting."),
        )
        self.add(
            QgsProcessingParameterFileDestination(self.REPORT, self.tr("Report"), self.tr("HTML files (*.html)")),
            help=self.tr("One HTML file that opens in any browser."),
        )
        self.add_output(QgsProcessingOutputNumber("WEIGHTS", self.tr("Number of weights")))
