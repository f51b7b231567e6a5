"""Tables of any size: what is read does not depend on blocks, on the order of rows, or on how GDAL hands them over."""

import csv

import numpy as np
import pytest
from osgeo import gdal, ogr

from geodl_qgis_plugin.engine.forecasting import joining, rows, tables
from geodl_qgis_plugin.engine.forecasting.cf_netcdf import read_cf_series
from geodl_qgis_plugin.engine.forecasting.reading import Source, read_series

DAYS = np.datetime64("2001-01-01") + np.arange(60)
IDS = ["007", "08", "Ärö", "12"]
ODD = ["-9999", "-9999.0", "---", "", "4.5*", "7,5", "1e1", " 3.2 ", "NaN"]


def messy_rows(seed=0):
    """Numbers, missing codes, marks, blanks and gaps; a station that began late, ids with zeros and umlauts."""
    generator = np.random.default_rng(seed)
    found = []
    for number, name in enumerate(IDS):
        for day in DAYS[5 * number :]:
            odd = generator.random() < 0.3
            text = generator.choice(ODD) if odd else f"{generator.normal():.2f}"
            found.append([name, str(day), text, str(10 * number)])
    found += [["", str(DAYS[0]), "1.0", "0"], ["007", "", "1.0", "0"]]
    return found


def write_csv(path, found):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["station", "time", "value", "height"], *found])
    return str(path)


@pytest.fixture
def source(tmp_path):
    places = tmp_path / "places.csv"
    places.write_text("station,lon,lat\n" + "".join(f"{name},{at},50\n" for at, name in enumerate(IDS)))

    def make(found, **more):
        return Source(
            write_csv(tmp_path / "rows.csv", found),
            "station",
            "time",
            ["value"],
            ["height"],
            str(places),
            "station",
            **more,
        )

    return make


def told(found):
    values = {name: np.round(matrix, 12).tolist() for name, matrix in found.values.items()}
    return str(
        (found.stations, found.frequency, found.first, values, found.coordinates.tolist(), found.elevation.tolist())
    ), [one.sentence for one in found.findings]


@pytest.mark.parametrize("step", ["", "week"])
def test_blocks_and_groups_change_nothing(source, monkeypatch, step):
    """Read in one piece, in columns of 37 rows, and in groups of two stations: the same values and the same findings."""
    given = source(messy_rows(), step=step)
    whole = told(read_series(given))
    assert any("4.5" in one or "mark" in one for one in whole[1])
    monkeypatch.setattr(tables, "_ROWS_A_BLOCK", 37)
    assert told(read_series(given)) == whole
    monkeypatch.setattr(tables, "_FEW_ROWS", 0)
    for module in (rows, joining):
        monkeypatch.setattr(module, "STATIONS_A_GROUP", 2)
    assert told(read_series(given)) == whole


def test_the_order_of_rows_changes_nothing(source, monkeypatch):
    """One station after the other, one day after the other, and shuffled: the same series of each station."""
    monkeypatch.setattr(rows, "STATIONS_A_GROUP", 2)
    found = messy_rows()
    usual = read_series(source(found))
    orders = {"by day": sorted(found, key=lambda row: row[1])}
    orders["shuffled"] = [found[index] for index in np.random.default_rng(1).permutation(len(found))]
    for order, changed in orders.items():
        other = read_series(source(changed))
        place = [other.stations.index(name) for name in usual.stations]
        assert [one.sentence for one in other.findings] == [one.sentence for one in usual.findings], order
        for name, matrix in usual.values.items():
            np.testing.assert_array_equal(other.values[name][place], matrix, err_msg=order)


@pytest.mark.parametrize("kind", [ogr.OFTDate, ogr.OFTString, ogr.OFTDateTime])
def test_points_in_columns_are_the_points_one_by_one(tmp_path, monkeypatch, kind):
    """A point layer with whole numbers as ids, reals, and nulls in every field and in the geometry."""
    path = tmp_path / "points.gpkg"
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = dataset.CreateLayer("points", None, ogr.wkbPoint)
    fields = (("station", ogr.OFTInteger), ("time", kind), ("value", ogr.OFTReal), ("height", ogr.OFTReal))
    for name, type_ in fields:
        layer.CreateField(ogr.FieldDefn(name, type_))
    for row in range(180):
        feature = ogr.Feature(layer.GetLayerDefn())
        values = {"station": 3 + row // 60, "time": str(DAYS[row % 60]), "value": row / 10, "height": 5.0}
        values |= {"value": -9999.0} if row % 31 == 0 else {}
        for place, (name, value) in enumerate(values.items()):
            if row % (17 + place) != 5:
                feature.SetField(name, value)
        if row != 11:
            point = ogr.Geometry(ogr.wkbPoint)
            point.AddPoint_2D(row // 60, 5)
            feature.SetGeometry(point)
        layer.CreateFeature(feature)
    layer = dataset = None
    given = Source(str(path), "station", "time", ["value"], [], elevation_field="height")
    usual = told(read_series(given))
    monkeypatch.setattr(tables, "_FEW_ROWS", 0)
    assert told(read_series(given)) == usual


def test_a_cf_file_is_read_in_groups(tmp_path, monkeypatch):
    """Station by time and time by station, in one group and in groups of two: the same values; missing ones are counted."""
    truth = np.arange(5 * 40, dtype=float).reshape(5, 40)
    truth[2, 7] = np.nan
    found = []
    for name, order in (("a", ("station", "time")), ("b", ("time", "station"))):
        path = tmp_path / f"{name}.nc"
        dataset = gdal.GetDriverByName("netCDF").CreateMultiDimensional(str(path))
        group = dataset.GetRootGroup()
        sizes = {
            "station": group.CreateDimension("station", "", "", 5),
            "time": group.CreateDimension("time", "", "", 40),
        }
        number = gdal.ExtendedDataType.Create(gdal.GDT_Float64)
        for name_, over, values in (
            ("lon", ["station"], np.arange(5.0)),
            ("lat", ["station"], np.arange(5.0)),
            ("time", ["time"], np.arange(40.0)),
            ("t", order, np.nan_to_num(truth if order[0] == "station" else truth.T, nan=-1.0)),
        ):
            array = group.CreateMDArray(name_, [sizes[one] for one in over], number)
            if name_ == "time":
                array.SetUnit("days since 2001-01-01")
            if name_ == "t":
                array.SetNoDataValueDouble(-1.0)
            array.WriteArray(np.ascontiguousarray(values))
        array = group = dataset = None
        found.append(read_cf_series(str(path), Source(str(path), "", "", ["t"], [])))
        for module in (rows, joining):
            monkeypatch.setattr(module, "STATIONS_A_GROUP", 2)
        found.append(read_cf_series(str(path), Source(str(path), "", "", ["t"], [])))
        found.append(read_cf_series(str(path), Source(str(path), "", "", ["t"], [], step="week")))
        monkeypatch.undo()
    for one in (found[0], found[1], found[3], found[4]):
        np.testing.assert_array_equal(one.values["t"], truth)
        assert "Missing values of t in the file: 1." in [finding.sentence for finding in one.findings]
    np.testing.assert_array_equal(found[2].values["t"], found[5].values["t"])
    assert found[2].values["t"][0, 1] == np.arange(7, 14).mean()
