"""
Write the graphical model of the landform chain: geodl_qgis_plugin/models/landform_map.model3.

    .venv/bin/python tools/landform_model.py

It chains Extract tiles, Train classifier and Classify raster.
"""

from graphical_model import HELP_OF_MAPS, REAL, WHOLE, add_tiles_to_map, begin, source, write
from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
)

HELP = HELP_OF_MAPS | {
    "SHORT_DESCRIPTION": "From a DEM and mapped examples to a styled map, with its confidence and a report.",
    "ALG_DESC": "From a DEM (or other rasters) and mapped examples to a styled map of the whole raster, with its confidence "
    "and an honest report: tiles are cut, a classifier is trained, and everything is mapped, in one go.",
    "PREDICTORS": "The rasters that the net will see, in this order; for landforms a DEM is enough. The first sets the grid.",
    "LABELS": "Mapped examples of each class: polygons, points or a raster, in any CRS. The rest need not be mapped. Classes "
    "keep the names and colours that the layer is drawn with.",
}


def inputs():
    """Return the parameters of the model, in order."""
    raster, anything, polygons = (
        QgsProcessing.SourceType.TypeRaster,
        QgsProcessing.SourceType.TypeMapLayer,
        QgsProcessing.SourceType.TypeVectorPolygon,
    )
    yield QgsProcessingParameterMultipleLayers("PREDICTORS", "DEM, and other predictors if any", raster)
    yield QgsProcessingParameterMultipleLayers("LABELS", "Labels (polygons, points or raster)", anything)
    yield QgsProcessingParameterField("CLASS_FIELD", "Class field", parentLayerParameterName="LABELS", optional=True)
    yield QgsProcessingParameterFeatureSource("TEST_AREAS", "Test areas", [polygons], optional=True)
    yield QgsProcessingParameterNumber("BUFFER", "Buffer round test areas (map units)", REAL, 0.0, minValue=0)
    yield QgsProcessingParameterNumber("TILE_SIZE", "Tile size (pixels)", WHOLE, 128, minValue=8)
    yield QgsProcessingParameterNumber("EPOCHS", "Epochs (0: automatic)", WHOLE, 0, minValue=0)
    yield QgsProcessingParameterNumber("MINUTES", "Minutes of training at most (0: no limit)", REAL, 0.0, minValue=0)


def build():
    """Return the model."""
    model = begin("landformmap", "classification", inputs(), HELP, advanced=("EPOCHS", "MINUTES"))
    of_tiles = ("LABELS", "CLASS_FIELD", "TEST_AREAS", "BUFFER", "TILE_SIZE")
    return add_tiles_to_map(model, source.fromModelParameter("PREDICTORS"), of_tiles, 0)


if __name__ == "__main__":
    write({"landform_map.model3": build})
