"""Parameters become the settings of a job, layers of all sorts become files that tell the same."""

import gc

import pytest
from geodl_qgis_plugin.processing_algorithms.base import GeoDLAlgorithm
from geodl_qgis_plugin.processing_algorithms.layers import layer_classes, style_when_loaded
from osgeo import gdal, ogr, osr
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsColorRampShader,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsMarkerSymbol,
    QgsPalettedRasterRenderer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRendererCategory,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QVariant
from qgis.PyQt.QtGui import QColor


class Example(GeoDLAlgorithm):
    """Has a parameter of every kind, none of them needed."""

    NAME, GROUP_ID = "example", "setup"

    def initAlgorithm(self, config=None):
        number = QgsProcessingParameterNumber
        for parameter in (
            QgsProcessingParameterMultipleLayers("PREDICTORS", "p", QgsProcessing.SourceType.TypeRaster, optional=True),
            QgsProcessingParameterRasterLayer("RASTER", "r", optional=True),
            QgsProcessingParameterFeatureSource("SOURCE", "s", optional=True),
            QgsProcessingParameterMapLayer("LABELS", "l", optional=True),
            QgsProcessingParameterField("CLASS_FIELD", "f", parentLayerParameterName="SOURCE", optional=True),
            number("TILE_SIZE", "t", number.Type.Integer, 128),
            number("BUFFER", "b", number.Type.Double, optional=True),
            QgsProcessingParameterBoolean("RESUME", "r", False),
            QgsProcessingParameterEnum(
                "TASK", "t", ["each pixel", "each tile"], usesStaticStrings=True, defaultValue="each pixel"
            ),
            QgsProcessingParameterString("NOTE", "n", optional=True),
            QgsProcessingParameterExtent("EXTENT", "e", optional=True),
            QgsProcessingParameterCrs("CRS", "c", optional=True),
            QgsProcessingParameterRasterDestination("OUTPUT", "o", optional=True),
            QgsProcessingParameterVectorDestination("FOOTPRINTS", "f", optional=True),
            QgsProcessingParameterFolderDestination("TILES", "t", optional=True),
            QgsProcessingParameterFileDestination("REPORT", "r", "HTML files (*.html)", optional=True),
        ):
            self.add(parameter, help="Help.")


@pytest.fixture
def settings(context, feedback):
    """Return a function that turns parameters into settings."""
    algorithm = Example().create()
    return lambda parameters: algorithm.settings(parameters, context, feedback)


@pytest.fixture
def raster(tmp_path):
    """Return a function that writes a small GeoTIFF."""

    def write(name="dem.tif", epsg=32616):
        dataset = gdal.GetDriverByName("GTiff").Create(str(tmp_path / name), 4, 3, 1)
        dataset.SetGeoTransform((500000, 30, 0, 4000000, 0, -30))
        if epsg:
            crs = osr.SpatialReference()
            crs.ImportFromEPSG(epsg)
            dataset.SetProjection(crs.ExportToWkt())
        dataset = None
        return str(tmp_path / name)

    return write


@pytest.fixture
def points(tmp_path):
    """Write a GeoPackage with two layers of points, three features each; return its path."""
    path = tmp_path / "labels.gpkg"
    source = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32616)
    for name in ("first", "second"):
        layer = source.CreateLayer(name, crs, ogr.wkbPoint)
        layer.CreateField(ogr.FieldDefn("unit", ogr.OFTString))
        for i, unit in enumerate(("gneiss", "schist", "till")):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature["unit"] = f"{name} {unit}"
            feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({500000 + i} 4000000)"))
            layer.CreateFeature(feature)
    source = None
    return str(path)


def units(path):
    """Read the units of what a setting names, as the engine would."""
    path, _, name = path.partition("|layername=")
    source = ogr.Open(path)
    layer = source.GetLayerByName(name) if name else source.GetLayer(0)
    return [feature["unit"] for feature in layer]


def test_plain_values(settings):
    """Values go by their names in lower case; what was left empty is not given, so the job's default holds."""
    assert settings({}) == {"tile_size": 128, "resume": False, "task": "each pixel"}
    given = settings(
        {"TILE_SIZE": 64, "BUFFER": 12.5, "RESUME": True, "TASK": "each tile", "NOTE": "Ü", "CLASS_FIELD": "unit"}
    )
    assert given == {
        "tile_size": 64,
        "buffer": 12.5,
        "resume": True,
        "task": "each tile",
        "note": "Ü",
        "class_field": "unit",
    }


def test_extent_and_crs(settings):
    """An extent keeps every digit and its CRS; a CRS is its code."""
    given = settings({"EXTENT": "1.5,2.25,-3,4.123456789012 [EPSG:4326]", "CRS": "EPSG:32616"})
    assert given["extent"] == "1.5,2.25,-3.0,4.123456789012 [EPSG:4326]"
    assert given["crs"] == "EPSG:32616"


def test_outputs_are_paths(settings, tmp_path):
    """Outputs that were asked for have a path, also temporary ones; others have none."""
    given = settings(
        {
            "OUTPUT": str(tmp_path / "o.tif"),
            "FOOTPRINTS": "TEMPORARY_OUTPUT",
            "TILES": "TEMPORARY_OUTPUT",
            "REPORT": str(tmp_path / "r.html"),
        }
    )
    assert given["output"] == str(tmp_path / "o.tif")
    assert given["footprints"].endswith(".gpkg")
    assert given["tiles"].startswith("/")
    assert given["report"] == str(tmp_path / "r.html")


def test_rasters_are_paths(settings, raster):
    """Rasters given as paths and as layers become paths in their order."""
    a, b = raster("a.tif"), raster("b.tif")
    layer = QgsRasterLayer(b, "b")
    QgsProject.instance().addMapLayer(layer)
    assert settings({"PREDICTORS": [a, layer], "RASTER": layer}) | {"x": 1} == {
        "predictors": [a, b],
        "raster": b,
        "tile_size": 128,
        "resume": False,
        "task": "each pixel",
        "x": 1,
    }
    assert settings({"PREDICTORS": layer.id()})["predictors"] == [b]


def test_missing_files_go_to_the_engine(settings, raster):
    """What QGIS cannot open reaches the engine as it was given, whose sentence says what is wrong with it."""
    given = settings({"PREDICTORS": [raster(), "/no/such.tif"], "RASTER": "/no/such.tif", "SOURCE": "/no/such.gpkg"})
    assert given["predictors"][1] == given["raster"] == "/no/such.tif"
    assert given["source"] == "/no/such.gpkg"


def test_crs_set_in_qgis_is_kept(settings, raster):
    """A CRS that the user gave a raster in QGIS is known to the engine though it stands not in the file."""
    layer = QgsRasterLayer(raster("plain.tif", epsg=None), "plain")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32616"))
    path = settings({"RASTER": layer})["raster"]
    opened = gdal.Open(path)
    assert path.endswith("plain.vrt")
    assert opened.GetSpatialRef().GetAuthorityCode(None) == "32616"
    assert opened.GetGeoTransform() == (500000, 30, 0, 4000000, 0, -30)


def test_additional_nodata_of_layers_is_kept(settings, raster):
    """What the user entered in a layer's properties as additional no data value goes to the engine behind its path."""
    path = raster("coded.tif")
    layer = QgsRasterLayer(path, "coded")
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(-32768, -32768), QgsRasterRange(-9999, -9999)])
    assert settings({"PREDICTORS": [layer, path]})["predictors"] == [f"{path}|nodata=-32768,-9999", path]


def test_raster_from_a_server_is_refused(settings):
    """A layer of pictures from a server has no values; the sentence says how to get a file."""
    layer = QgsRasterLayer("type=xyz&url=file:///tmp/{z}/{x}/{y}.png&zmax=1&zmin=0", "tiles", "wms")
    with pytest.raises(QgsProcessingException, match=r"“tiles” comes from WMS.*Export it"):
        settings({"RASTER": layer})


def test_layer_of_several_in_a_file(settings, points):
    """The layer that was chosen is read, not the file's first one, and nothing is copied."""
    for name in ("first", "second"):
        path = settings({"SOURCE": f"{points}|layername={name}"})["source"]
        assert path == f"{points}|layername={name}"
        assert units(path)[0] == f"{name} gneiss"


def test_filter_selection_and_memory_are_kept(settings, points):
    """A filter, a selection and a layer in memory reach the engine as the user sees them."""
    layer = QgsVectorLayer(f"{points}|layername=second", "labels", "ogr")
    QgsProject.instance().addMapLayer(layer)
    layer.setSubsetString("unit LIKE '%till'")
    assert units(settings({"SOURCE": layer})["source"]) == ["second till"]
    layer.setSubsetString("")
    layer.selectByExpression("unit = 'second schist'")
    chosen = QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True)
    assert units(settings({"SOURCE": chosen})["source"]) == ["second schist"]
    memory = QgsVectorLayer("Point?crs=EPSG:32616&field=unit:string", "memory", "memory")
    feature = QgsFeature(memory.fields())
    feature["unit"] = "im Gedächtnis"
    feature.setGeometry(QgsGeometry.fromWkt("POINT (1 2)"))
    memory.dataProvider().addFeature(feature)
    for name in ("SOURCE", "LABELS"):
        assert units(settings({name: memory})[name.lower()]) == ["im Gedächtnis"]


def test_virtual_fields_and_crs_are_kept(settings, points):
    """A field that QGIS computes, and a CRS set by hand, are in the file that the engine reads."""
    layer = QgsVectorLayer(f"{points}|layername=first", "labels", "ogr")
    layer.addExpressionField('upper("unit")', QgsField("loud", QVariant.String))
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32617"))
    source = ogr.Open(settings({"LABELS": layer})["labels"])
    assert source.GetLayer(0).GetNextFeature()["loud"] == "FIRST GNEISS"
    assert source.GetLayer(0).GetSpatialRef().GetAuthorityCode(None) == "32617"


def test_labels_may_be_a_raster(settings, raster):
    """A parameter that takes any layer takes a raster too."""
    path = raster("labels.tif")
    assert settings({"LABELS": QgsRasterLayer(path, "labels")})["labels"] == path
    assert settings({"LABELS": path})["labels"] == path


def test_classes_of_categories(qgis, points):
    """Names and colours come from the layer's categories; hidden ones and “all other values” are no class."""
    layer = QgsVectorLayer(f"{points}|layername=first", "labels", "ogr")

    def category(value, label, colour, shown=True):
        return QgsRendererCategory(value, QgsMarkerSymbol.createSimple({"color": colour}), label, shown)

    categories = [
        category("first gneiss", "Gneiss", "#aa0000"),
        category(["first till", "x"], "", "#00bb00"),
        category("first schist", "Schist", "#0000cc", shown=False),
        category("", "Others", "#ffffff"),
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("unit", categories))
    assert layer_classes(layer, "unit") == [
        {"value": "first gneiss", "name": "Gneiss", "colour": "#aa0000"},
        {"value": "first till", "name": "first till", "colour": "#00bb00"},
        {"value": "x", "name": "x", "colour": "#00bb00"},
    ]
    assert layer_classes(layer, "another") == []


def test_classes_of_a_palette(qgis, raster):
    """Names and colours come from a raster's palette."""
    layer = QgsRasterLayer(raster("classes.tif"), "classes")
    assert layer_classes(layer) == []
    items = [QgsColorRampShader.ColorRampItem(2, QColor("#123456"), "Ridge")]
    layer.setRenderer(
        QgsPalettedRasterRenderer(layer.dataProvider(), 1, QgsPalettedRasterRenderer.colorTableToClassData(items))
    )
    assert layer_classes(layer) == [{"value": 2.0, "name": "Ridge", "colour": "#123456"}]


def test_style_is_kept_until_the_layer_is_loaded(context, feedback, raster, tmp_path):
    """A style that was asked for in a job is alive when QGIS loads the result later, and is applied; the name too."""
    path = raster("map.tif")
    styled = QgsRasterLayer(path, "styled")
    styled.setOpacity(0.25)
    styled.saveNamedStyle(str(tmp_path / "other.qml"))
    style_when_loaded(context, path, str(tmp_path / "other.qml"))  # not to be loaded: nothing to do
    details = QgsProcessingContext.LayerDetails("OUTPUT", QgsProject.instance(), "OUTPUT")
    context.addLayerToLoadOnCompletion(path, details)
    style_when_loaded(context, path, str(tmp_path / "other.qml"), "Landforms")
    gc.collect()
    details = context.layerToLoadOnCompletionDetails(path)
    fresh = QgsRasterLayer(path, "fresh")
    details.postProcessor().postProcessLayer(fresh, context, feedback)
    assert fresh.opacity() == 0.25
    assert details.name == "Landforms"


def test_the_map_lies_over_its_confidence_and_polygons_over_both(context, monkeypatch):
    """QGIS lays a layer with a greater key over others."""
    from geodl_qgis_plugin.processing_algorithms import engine_process
    from geodl_qgis_plugin.processing_algorithms.classify_raster import ClassifyRaster

    made = {"output": "map.tif", "confidence": "confidence.tif", "polygons": "polygons.gpkg", "entropy": None}
    monkeypatch.setattr(engine_process, "run_job", lambda *_: made)
    monkeypatch.setattr(ClassifyRaster, "settings", lambda *_: {})
    for path in filter(None, made.values()):
        details = QgsProcessingContext.LayerDetails(path, QgsProject.instance(), path)
        context.addLayerToLoadOnCompletion(path, details)
    algorithm = ClassifyRaster()
    algorithm.initAlgorithm()
    algorithm.processAlgorithm({}, context, context.feedback())
    keys = [context.layerToLoadOnCompletionDetails(path).layerSortKey for path in made.values() if path]
    over, under, top = keys
    assert top > over > under > 0
