"""
Write two graphical models that the provider offers: lithology_map.model3 and magnetic_domains.model3.

    .venv/bin/python tools/geology_models.py

The first makes a lithology map of airborne grids and mapped geology, the second a map of magnetic domains of a total-field
grid.
"""

from graphical_model import HELP_OF_MAPS, REAL, WHOLE, add_tiles_to_map, begin, source, step, write
from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
)

SHARED_HELP = HELP_OF_MAPS | {
    "CONTACT_BELT": "Pixels so near to a line between two classes are not learnt from, in map units: contacts on small-"
    "scale maps are fuzzy, a millimetre on a map of 1 : 1 000 000 is a kilometre.",
}
GEOLOGY_HELP = SHARED_HELP | {
    "SHORT_DESCRIPTION": "From airborne grids and mapped geology to a styled lithology map, with its confidence and a report.",
    "ALG_DESC": "From airborne grids (magnetics, radiometrics, electromagnetics, terrain) and mapped geology to a "
    "styled lithology map of the whole raster, with its confidence and an honest report, in one go.",
    "PREDICTORS": "The grids that the net will see, in this order. The first one sets the grid; others may have another"
    " CRS or pixel size.",
    "LABELS": "Mapped geology: polygons or a raster, in any CRS. Classes keep the names and colours that the layer "
    "is drawn with.",
    "SMALLEST_CLASS": "Rocks with fewer labelled pixels are left out: nothing can be learnt from a few, and nothing tested.",
}
MAGNETICS_HELP = SHARED_HELP | {
    "SHORT_DESCRIPTION": "From a total-field anomaly and mapped domains to a styled map, with its confidence and a report.",
    "ALG_DESC": "From a total-field anomaly and mapped examples of magnetic domains to a styled map of the domains: "
    "the field is reduced to the pole, its gradients are worked out, tiles are cut, a classifier is trained,"
    " and everything is mapped, in one go.",
    "FIELD": "Grid of the total-field anomaly in nT, in metres or degrees. Holes stay holes.",
    "DATE": "When it was surveyed; the IGRF then tells the direction of the Earth's field.",
    "INCLINATION": "Of the Earth's field, in degrees, positive downwards; instead of the date.",
    "DECLINATION": "Of the Earth's field, in degrees, positive east of north; instead of the date.",
    "HEIGHT": "One band shows the field so many metres higher, where shallow sources fade. Two to five pixels suit "
    "most grids.",
    "LABELS": "Examples of each domain: polygons or a raster, in any CRS. The rest need not be mapped.",
    "magnetic_predictors": "Field reduced to the pole, gradients, tilt, upward continuation: what the net saw.",
}


def labels_and_test(of_labels):
    """Give the parameters that both models have."""
    anything, polygons = QgsProcessing.SourceType.TypeMapLayer, QgsProcessing.SourceType.TypeVectorPolygon
    yield QgsProcessingParameterMultipleLayers("LABELS", of_labels, anything)
    yield QgsProcessingParameterField("CLASS_FIELD", "Class field", parentLayerParameterName="LABELS", optional=True)
    yield QgsProcessingParameterFeatureSource("TEST_AREAS", "Test areas", [polygons], optional=True)
    yield QgsProcessingParameterNumber("BUFFER", "Buffer round test areas (map units)", REAL, 0.0, minValue=0)
    yield QgsProcessingParameterNumber(
        "CONTACT_BELT", "Belt along contacts to leave out (map units)", REAL, 0.0, minValue=0
    )


def training(tile_size):
    """Give the parameters of tiles and training."""
    yield QgsProcessingParameterNumber("TILE_SIZE", "Tile size (pixels)", WHOLE, tile_size, minValue=8)
    yield QgsProcessingParameterNumber("EPOCHS", "Epochs (0: automatic)", WHOLE, 0, minValue=0)
    yield QgsProcessingParameterNumber("MINUTES", "Minutes of training at most (0: no limit)", REAL, 0.0, minValue=0)


def build_geology():
    """Return the model from airborne grids and mapped geology to a lithology map."""
    raster = QgsProcessing.SourceType.TypeRaster
    smallest = QgsProcessingParameterNumber("SMALLEST_CLASS", "Smallest class (pixels)", WHOLE, 1, minValue=1)
    parameters = [
        QgsProcessingParameterMultipleLayers("PREDICTORS", "Airborne grids", raster),
        *labels_and_test("Mapped geology"),
        smallest,
        *training(64),
    ]
    model = begin("lithologymap", "classification", parameters, GEOLOGY_HELP, advanced=("EPOCHS", "MINUTES"))
    own = ("LABELS", "CLASS_FIELD", "TEST_AREAS", "BUFFER", "CONTACT_BELT", "SMALLEST_CLASS", "TILE_SIZE")
    return add_tiles_to_map(model, source.fromModelParameter("PREDICTORS"), own, 0)


def build_magnetics():
    """Return the model from a total-field grid to a map of magnetic domains."""
    day = QgsProcessingParameterDateTime.Type.Date
    parameters = [
        QgsProcessingParameterRasterLayer("FIELD", "Total-field anomaly"),
        QgsProcessingParameterDateTime("DATE", "Date of the survey", day, optional=True),
        QgsProcessingParameterNumber("INCLINATION", "Inclination (degrees)", REAL, None, True, -90, 90),
        QgsProcessingParameterNumber("DECLINATION", "Declination (degrees)", REAL, None, True, -180, 360),
        QgsProcessingParameterNumber("HEIGHT", "Upward continuation (m)", REAL, 500.0, minValue=0),
        *labels_and_test("Mapped domains"),
        *training(64),
    ]
    advanced = ("INCLINATION", "DECLINATION", "EPOCHS", "MINUTES")
    model = begin("magneticdomains", "classification", parameters, MAGNETICS_HELP, advanced)
    given = {"INPUT": "FIELD"} | {name: name for name in ("DATE", "INCLINATION", "DECLINATION", "HEIGHT")}
    field = {name: source.fromModelParameter(own) for name, own in given.items()}
    # Of the field reduced to the pole, so that training may turn and mirror them; mirrored, so that a map reaches the edges.
    field |= {
        "DERIVATIVES_OF": source.fromStaticValue("reduced to the pole"),
        "MARGIN": source.fromStaticValue("mirrored"),
    }
    made = [("OUTPUT", "PREDICTORS", "Magnetic predictors")]
    model.addChildAlgorithm(step("magneticpredictors", "Reduce to the pole, work out gradients", 0, field, made))
    own = ("LABELS", "CLASS_FIELD", "TEST_AREAS", "BUFFER", "CONTACT_BELT", "TILE_SIZE")
    return add_tiles_to_map(model, source.fromChildOutput("magneticpredictors", "OUTPUT"), own, 1)


if __name__ == "__main__":
    write({"lithology_map.model3": build_geology, "magnetic_domains.model3": build_magnetics})
