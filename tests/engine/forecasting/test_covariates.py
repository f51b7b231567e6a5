"""What stands beside the values: a covariate that tells something helps, one that does not does no harm."""

import csv

import numpy as np
import pytest
from osgeo import ogr

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.errors import SeriesError
from geodl_qgis_plugin.engine.forecasting import forecaster
from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model

STATIONS, STEPS = 4, 300
FIELDS = {"station_field": "station", "time_field": "time", "horizon": 3, "compare_statistical": "no", "origins": 12}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Monthly flow that follows the snow of the month before; hail that has to do with nothing."""
    folder = tmp_path_factory.mktemp("beside")
    generator = np.random.default_rng(4)
    snow, hail, own = generator.normal(size=(3, STATIONS, STEPS))
    season = 5 * np.cos(np.arange(STEPS) * np.pi / 6)
    flow = 20 + season + 0.5 * own
    flow[:, 1:] += snow[:, :-1]
    with (folder / "series.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["station", "time", "flow", "snow", "hail"])
        for station in range(STATIONS):
            for step in range(STEPS):
                month = np.datetime64("1990-01", "M") + step
                rows.writerow([f"0{station}", month, flow[station, step], snow[station, step], hail[station, step]])
    with (folder / "stations.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["station", "lon", "lat", "height"])
        rows.writerows([f"0{station}", 8 + station, 47, 400 * station] for station in range(STATIONS))
    return folder


@pytest.fixture
def trained(tables, tmp_path, monkeypatch):
    """Train with some fields beside the values; return the results and the model's path."""
    monkeypatch.setattr(forecaster, "TrainingPlan", lambda: TrainingPlan(members=1, rounds=6))

    def train(**settings):
        given = {"input": str(tables / "series.csv"), "stations": str(tables / "stations.csv"), "value_field": "flow"}
        model = tmp_path / "model.geodl"
        return run_job("trainforecaster", given | FIELDS | {"output": str(model)} | settings, SilentProgress()), model

    return train


def forecast(tables, model, output, **settings):
    """Forecast with a model; return the layer's forecast rows by variable and station, in the order of lead times."""
    given = {"input": str(tables / "series.csv"), "stations": str(tables / "stations.csv"), "model": str(model)}
    run_job("forecastseries", given | {"output": str(output)} | settings, SilentProgress())
    source = ogr.Open(str(output))
    rows = [row for row in source.GetLayer(0) if row["kind"] == "forecast"]
    found = {}
    for row in sorted(rows, key=lambda row: row["lead_time"]):
        found.setdefault((row["variable"], row["station"]), []).append(row["median"])
    return found


def test_a_covariate_that_tells_something_helps(trained, tables, tmp_path):
    """Snow explains most of next month's flow: the error falls by a tenth or more over three months; hail costs little."""
    plain, hail, snow = (trained(covariates=names)[0]["mase"] for names in ("", "hail", "snow"))
    assert snow < 0.9 * plain
    assert abs(hail - plain) < 0.03 * plain
    both, model = trained(covariates="snow;hail")
    assert both["mase"] < 0.92 * plain
    assert read_model(model).part("forecaster")["covariates"] == ["snow", "hail"]
    found = forecast(tables, model, tmp_path / "forecast.gpkg")
    assert all(len(medians) == 3 and np.isfinite(medians).all() for medians in found.values())
    with pytest.raises(SeriesError, match="needs the covariate"):
        forecast(tables, model, tmp_path / "other.gpkg", covariates="hail")
    assert not (tmp_path / "other.gpkg").exists()


def test_elevation_and_coordinates_do_no_harm(trained, tables, tmp_path):
    """Where height and place tell nothing, to give them costs less than 3 % of the error, and the model remembers them."""
    plain = trained()[0]["mase"]
    made, model = trained(elevation_field="height", use_coordinates=True)
    assert abs(made["mase"] - plain) < 0.03 * plain
    assert read_model(model).part("forecaster")["statics"]["names"] == ["elevation", "easting", "northing"]
    assert len(forecast(tables, model, tmp_path / "forecast.gpkg")) == STATIONS


def test_several_variables_at_once(trained, tables, tmp_path):
    """Two variables in one model are judged and forecast each by itself: the second changes nothing of the first."""
    _, alone = trained(value_field="flow")
    one = forecast(tables, alone, tmp_path / "one.gpkg")
    _, model = trained(value_field="flow;snow")
    both = forecast(tables, model, tmp_path / "both.gpkg")
    assert {variable for variable, _ in both} == {"flow", "snow"}
    assert len(both) == 2 * STATIONS
    for (_, station), medians in one.items():
        np.testing.assert_allclose(both["flow", station], medians, rtol=1e-6)
    only = forecast(tables, model, tmp_path / "only.gpkg", value_field="snow")
    assert {variable for variable, _ in only} == {"snow"}
