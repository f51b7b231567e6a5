"""The parameters that say which model maps what, and how: the same for one raster and for many."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .base import GeoDLAlgorithm


class MappingAlgorithm(GeoDLAlgorithm):
    """An algorithm that maps with a model."""

    MODEL, EXTENT, MASK = "MODEL", "EXTENT", "MASK"
    MIN_AREA, FAST, STRIDE, TURNS, SCHEDULER = "MIN_AREA", "FAST", "STRIDE", "TURNS", "SCHEDULER"

    def add_model(self) -> None:
        """Add the model."""
        self.add(
            QgsProcessingParameterFile(self.MODEL, self.tr("Model"), fileFilter=self.tr("GeoDL model (*.geodl)")),
            help=self.tr("File that “Train classifier” made, here or elsewhere."),
        )

    def add_area(self) -> None:
        """Add what of the rasters is mapped."""
        self.add(
            QgsProcessingParameterExtent(self.EXTENT, self.tr("Extent"), optional=True),
            help=self.tr("Part of the raster to map; all of it if left empty."),
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                self.MASK, self.tr("Mask"), [QgsProcessing.SourceType.TypeVectorPolygon], optional=True
            ),
            help=self.tr(
                "Polygons to map: pixels whose middle lies in one, and tiles half of which does. Nothing else is read, and the "
                "map is cut to them."
            ),
        )

    def add_manner(self) -> None:
        """Add how it is mapped."""
        self.add(
            QgsProcessingParameterNumber(
                self.MIN_AREA,
                self.tr("Smallest polygon (square metres)"),
                QgsProcessingParameterNumber.Type.Double,
                defaultValue=0,
                minValue=0,
            ),
            help=self.tr(
                "Smaller patches take the class of the largest one beside them, in the polygons of a map of pixels; the raster "
                "keeps them. 0 keeps all."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(self.FAST, self.tr("Fast"), defaultValue=False),
            help=self.tr(
                "Let the net compute with half the digits (bfloat16) where the processor or graphics card can: half the time, "
                "and a few pixels in a thousand get another class. Without it the map is exact."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                self.STRIDE, self.tr("Step of a model for tiles (pixels)"), defaultValue=0, minValue=0
            ),
            help=self.tr(
                "How far apart tiles start; 0 lays them side by side. Steps that are multiples of 8 are fast, since "
                "neighbouring tiles share the work. Models for pixels have no use for it."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(self.TURNS, self.tr("Average over turns and mirrorings"), False),
            help=self.tr(
                "Asks the model in every orientation that its bands allow, and maps the mean: up to eight times slower, and "
                "often a little better."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(self.SCHEDULER, self.tr("Dask scheduler"), optional=True),
            help=self.tr(
                "Address (tcp://host:8786) of a Dask cluster whose workers map blocks, or local:4 for four workers on this "
                "computer. Empty for one process. The map is the same; all machines must see the rasters, the model and the "
                "output's folder under the same paths. Needs the Python package distributed, and GeoDL on every worker."
            ),
            advanced=True,
        )
