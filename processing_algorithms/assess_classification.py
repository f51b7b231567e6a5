"""geodl:assessclassification: how far a classified raster agrees with a reference."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
)

from .base import GeoDLAlgorithm
from .layers import drawn_by_field, layer_classes


class AssessClassification(GeoDLAlgorithm):
    """Scores a map against polygons, points or another raster."""

    NAME, GROUP_ID = "assessclassification", "classification"
    NEEDS = ("scipy", "matplotlib", "jinja2")
    CLASSIFIED, REFERENCE, CLASS_FIELD, AREAS = "CLASSIFIED", "REFERENCE", "CLASS_FIELD", "AREAS"
    REPORT, MATRIX = "REPORT", "MATRIX"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Assess classification")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr(
            "Compare a classified raster with a reference: what is taken for what, and how often it is right."
        )

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Each pixel of the map that has a reference counts once. The reference may have another CRS or pixel size. "
            "Classes are matched by name, and by code where one side has no names.</p>"
            "<p>Where the reference is a layer of points, these are taken as a random sample (of the map, or of each of its "
            "classes): the report then gives the accuracy of the whole map and the true area of each class with 95 % "
            "confidence intervals (Olofsson et al. 2014).</p>"
            "<p>A score is honest only where the reference was not used for training: limit it with “Areas”.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterRasterLayer(self.CLASSIFIED, self.tr("Classified raster")),
            help=self.tr("A raster of class codes, such as Classify raster makes."),
        )
        self.add(
            QgsProcessingParameterMapLayer(self.REFERENCE, self.tr("Reference")),
            help=self.tr("What is true: polygons or points with a class, or a raster of class codes."),
        )
        self.add(
            QgsProcessingParameterField(
                self.CLASS_FIELD, self.tr("Class field"), parentLayerParameterName=self.REFERENCE, optional=True
            ),
            help=self.tr(
                "Field of the reference that names the class. May be left out where the layer is drawn by categories of a "
                "field; not needed for a raster."
            ),
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                self.AREAS, self.tr("Areas"), [QgsProcessing.SourceType.TypeVectorPolygon], optional=True
            ),
            help=self.tr(
                "Polygons: only pixels inside them are compared, such as the areas that were kept for testing."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterFileDestination(
                self.REPORT, self.tr("Report"), self.tr("HTML files (*.html)"), optional=True
            ),
            help=self.tr("Confusion matrix, scores of each class and a map of agreement, in one file for any browser."),
        )
        self.add(
            QgsProcessingParameterVectorDestination(
                self.MATRIX,
                self.tr("Confusion matrix"),
                QgsProcessing.SourceType.TypeVector,
                optional=True,
                createByDefault=False,
            ),
            help=self.tr(
                "The confusion matrix as a table: a row for each reference class, a column for each mapped one."
            ),
        )
        for name, label in (
            ("ACCURACY", self.tr("Accuracy")),
            ("MACRO_F1", self.tr("Macro-F1")),
            ("KAPPA", self.tr("Kappa")),
        ):
            self.add_output(QgsProcessingOutputNumber(name, label))

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the job's settings, with the classes that both layers are drawn with."""
        settings = super().settings(parameters, context, feedback)
        classified = self.parameterAsLayer(parameters, self.CLASSIFIED, context)
        reference = self.parameterAsLayer(parameters, self.REFERENCE, context)
        # what QGIS cannot load is left to the engine, which says what is wrong with it
        if classified is not None:
            settings["map_classes"] = layer_classes(classified)
        if reference is not None:
            settings["class_field"] = settings.get("class_field") or drawn_by_field(reference)
            settings["classes"] = layer_classes(reference, settings["class_field"])
        return settings
