"""The forecasting algorithms through the Processing registry."""

import itertools

import numpy as np
import pytest
from osgeo import ogr, osr
from qgis.core import QgsApplication, QgsVectorLayer

pytest.importorskip("torch")


@pytest.fixture
def series(tmp_path):
    """A point layer with ten years of months at four stations, ids with leading zeros."""
    path = tmp_path / "series.gpkg"
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(27700)
    layer = dataset.CreateLayer("series", reference, ogr.wkbPoint)
    for name, kind in (("station", ogr.OFTString), ("month", ogr.OFTDate), ("tmean", ogr.OFTReal)):
        layer.CreateField(ogr.FieldDefn(name, kind))
    generator = np.random.default_rng(0)
    common = generator.normal(size=120)
    layer.StartTransaction()
    for station in range(4):
        for step in range(120):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetField("station", f"00{station}")
            feature.SetField("month", f"{np.datetime64('2010-01', 'M') + step}-01")
            feature.SetField("tmean", 10 + 6 * np.cos(step * np.pi / 6) + common[step] + 0.2 * generator.normal())
            point = ogr.Geometry(ogr.wkbPoint)
            point.AddPoint_2D(400_000 + 10_000 * station, 300_000)
            feature.SetGeometry(point)
            layer.CreateFeature(feature)
    layer.CommitTransaction()
    return str(path)


def test_the_chain(run_algorithm, series, tmp_path):
    """From a point layer to a forecast layer that is styled, dated without overlap, and animates; and a skill layer."""
    fields = {"INPUT": series, "STATION_FIELD": "station", "TIME_FIELD": "month", "VALUE_FIELD": ["tmean"]}
    outputs = {"OUTPUT": "m.geodl", "REPORT": "r.html", "SKILL": "s.gpkg"}
    given = {name: str(tmp_path / file) for name, file in outputs.items()}
    made = run_algorithm("geodl:trainforecaster", fields | given | {"HORIZON": 6, "COMPARE_STATISTICAL": "no"})
    assert 0 < made["MASE"] < 1
    assert 0.5 < made["COVERAGE"] <= 1
    page = (tmp_path / "r.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    outputs = {
        "MODEL": str(tmp_path / "m.geodl"),
        "OUTPUT": str(tmp_path / "f.gpkg"),
        "CHARTS": str(tmp_path / "c.html"),
    }
    made = run_algorithm("geodl:forecastseries", fields | outputs)

    layer = QgsVectorLayer(made["OUTPUT"], "forecast", "ogr")
    layer.loadDefaultStyle()
    assert layer.crs().authid() == "EPSG:27700"
    assert layer.renderer().type() == "graduatedSymbol"
    assert layer.renderer().classAttribute() == "anomaly"
    assert layer.temporalProperties().isActive()
    rows = [feature for feature in layer.getFeatures() if feature["kind"] == "forecast"]
    assert len(rows) == 4 * 6
    assert {row["station"] for row in rows} == {"000", "001", "002", "003"}
    one = sorted((row for row in rows if row["station"] == "002"), key=lambda row: row["lead_time"])
    assert one[0]["t_start"].toString("yyyy-MM-dd") == "2020-01-01"
    for row, following in itertools.pairwise(one):
        assert row["t_end"].addDays(1) == following["t_start"]
        bounds = [row[name] for name in ("low_90", "low_80", "median", "high_80", "high_90")]
        assert bounds == sorted(bounds)

    skill = QgsVectorLayer(str(tmp_path / "s.gpkg"), "skill", "ogr")
    assert skill.featureCount() == 4
    assert skill.renderer().classAttribute() == "skill_climatology"


def test_a_netcdf_file_instead_of_a_layer(qgis, context, feedback, tmp_path):
    """Either a layer or a CF NetCDF file is wanted, not both and not neither; the job gets one input, whichever it is."""
    algorithm = QgsApplication.processingRegistry().algorithmById("geodl:trainforecaster").create()
    path = tmp_path / "stations.nc"
    path.write_bytes(b"")
    given = {"OUTPUT": str(tmp_path / "m.geodl"), "VALUE_FIELD": ["t"]}
    assert not algorithm.checkParameterValues(given, context)[0]
    assert algorithm.checkParameterValues(given | {"NETCDF": str(path)}, context)[0]
    settings = algorithm.settings(given | {"NETCDF": str(path)}, context, feedback)
    assert settings["input"] == str(path)
    assert "netcdf" not in settings
