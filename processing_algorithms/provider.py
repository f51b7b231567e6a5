"""The provider: the list of GeoDL's algorithms and graphical models."""

from pathlib import Path

from qgis.core import QgsApplication, QgsProcessingException, QgsProcessingModelAlgorithm, QgsProcessingProvider
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QIcon

import geodl_qgis_plugin

from .assess_classification import AssessClassification
from .base import GeoDLAlgorithm
from .classify_raster import ClassifyRaster
from .classify_rasters import ClassifyRasters
from .describe_model import DescribeModel
from .export_onnx import ExportONNX
from .export_tiles import ExportTiles
from .extract_tiles import ExtractTiles
from .forecast_series import ForecastSeries
from .grid_points import GridPoints
from .import_onnx import ImportONNX
from .magnetic_predictors import MagneticPredictors
from .plugin_files import icon_path
from .setup import Setup
from .terrain_predictors import TerrainPredictors
from .train_classifier import TrainClassifier
from .train_forecaster import TrainForecaster
from .tune_classifier import TuneClassifier

ALGORITHMS: tuple[type[GeoDLAlgorithm], ...] = (
    Setup,
    GridPoints,
    TerrainPredictors,
    MagneticPredictors,
    ExtractTiles,
    ExportTiles,
    TrainClassifier,
    TuneClassifier,
    ClassifyRaster,
    ClassifyRasters,
    AssessClassification,
    TrainForecaster,
    ForecastSeries,
    DescribeModel,
    ExportONNX,
    ImportONNX,
)


class GeoDLProvider(QgsProcessingProvider):
    """Lists the algorithms; importing it imports neither torch nor numpy."""

    def id(self) -> str:
        """Return the first half of every algorithm's id; permanent."""
        return "geodl"

    def name(self) -> str:
        """Return the name in the toolbox."""
        return "GeoDL"

    def longName(self) -> str:
        """Return the name with what it is for."""
        return QCoreApplication.translate("GeoDL", "GeoDL: deep learning on Earth-science layers")

    def icon(self) -> QIcon:
        """Return GeoDL's icon."""
        return QIcon(self.svgIconPath())

    def svgIconPath(self) -> str:
        """Return the icon's path."""
        return icon_path()

    def supportsNonFileBasedOutput(self) -> bool:
        """Outputs are files: the engine writes them in another process."""
        return False

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return the only raster format that is written."""
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """Return the formats of layers, and of tables."""
        return ["gpkg", "geojson", "csv"]

    def loadAlgorithms(self) -> None:
        """Add the algorithms and, once QGIS knows these, the models that are made of them."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
        if QgsApplication.processingRegistry().providerById(self.id()) is not None:
            self._add_models()

    def register(self) -> None:
        """Add the provider to QGIS, then its models: a model can be read only once QGIS knows the algorithms that it calls."""
        QgsApplication.processingRegistry().addProvider(self)
        self._add_models()
        self.algorithmsLoaded.emit()

    def _add_models(self) -> None:
        for path in sorted(Path(geodl_qgis_plugin.__path__[0], "models").glob("*.model3")):
            self.addAlgorithm(_read_model(path))


MODEL_NAMES = {
    "landformmap": "Landform map, in one go",
    "lithologymap": "Lithology map, in one go",
    "magneticdomains": "Map of magnetic domains, in one go",
    "stationforecast": "Forecast of stations, in one go",
}


class GraphicalModel(QgsProcessingModelAlgorithm):
    """
    A model with an id like an algorithm's.

    QGIS takes a model's one name for both its id and what is shown, but an id is for good, and is typed.
    """

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return QCoreApplication.translate("GeoDL", MODEL_NAMES.get(self.name(), self.name()))

    def group(self) -> str:
        """Return the name of the group of algorithms that the model stands with."""
        of_group = (one.group() for one in (kind() for kind in ALGORITHMS) if one.groupId() == self.groupId())
        return next(of_group, super().group())

    def createInstance(self) -> "GraphicalModel":
        """Return another of the same, for a run."""
        copy = type(self)()
        copy.loadVariant(self.toVariant())
        copy.setProvider(self.provider())
        return copy


def _read_model(path: Path) -> QgsProcessingModelAlgorithm:
    model = GraphicalModel()
    if not model.fromFile(str(path)):
        text = QCoreApplication.translate("GeoDL", "The model {} cannot be read. Install the plugin anew.")
        raise QgsProcessingException(text.format(path))
    return model
