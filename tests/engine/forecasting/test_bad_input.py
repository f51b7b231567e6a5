"""Bad input is refused with one sentence, and leaves nothing behind."""

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.forecasting.reading import Source, read_series
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress

from .made_up import monthly, white_noise, write_table


def refused(folder, job="trainforecaster", **settings):
    """Run a job that must be refused; return its sentence, having checked that no output is left."""
    out = folder / "out"
    given = {"output": str(out / "model.geodl"), "report": str(out / "report.html"), "skill": str(out / "skill.gpkg")}
    given |= {"station_field": "station", "time_field": "time", "value_field": "value"} | settings
    with pytest.raises(GeoDLError) as error:
        run_job(job, {name: value for name, value in given.items() if value is not None}, SilentProgress())
    assert not out.exists() or not list(out.iterdir())
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


@pytest.fixture
def tables(tmp_path):
    def write(values, **options):
        series, places = write_table(tmp_path / "series.csv", values, **options)
        return {"input": str(series), "stations": str(places)}

    return write


def test_no_time_field(tables, tmp_path):
    """Without a time field, and without columns named by dates, the fields that there are get named."""
    assert "station, time, value" in refused(tmp_path, **tables(monthly(2, 10)), time_field="")
    assert "no such field" in refused(tmp_path, **tables(monthly(2, 10)), time_field="moment")


def test_times_that_are_not_times(tables, tmp_path):
    """A field of other texts is shown by one of them."""
    assert "no time that can be read" in refused(tmp_path, **tables(monthly(2, 10)), time_field="station")


def test_four_values(tables, tmp_path):
    """One station with four values is told how many are needed."""
    assert "4 values" in refused(tmp_path, **tables(monthly(1, 10)[:, :4]))


def test_all_missing(tables, tmp_path):
    """All values missing."""
    assert "missing" in refused(tmp_path, **tables(np.full((2, 120), np.nan)))
    assert "missing" in refused(tmp_path, **tables(np.full((2, 120), -9999.0)))


def test_constant(tables, tmp_path):
    """A series that never changes."""
    assert "never change" in refused(tmp_path, **tables(np.full((1, 120), 7.0)))


@pytest.mark.parametrize("horizon", [200, 100, 60])
def test_horizon_longer_than_the_series(tables, tmp_path, horizon):
    """A horizon that leaves nothing to learn from or to judge by."""
    assert "horizon" in refused(tmp_path, **tables(monthly(2, 10)), horizon=horizon)


def test_fields_that_are_not_there(tables, tmp_path):
    """Each parameter is named by its own name."""
    given = tables(monthly(2, 10))
    assert refused(tmp_path, **given, covariates="rain").startswith("COVARIATES is “rain”")
    assert refused(tmp_path, **given | {"value_field": "rain"}).startswith("VALUE_FIELD is “rain”")
    assert "STATION_FIELD is empty" in refused(tmp_path, **given | {"station_field": ""})


@pytest.mark.parametrize(("text", "said"), [("", "All values are missing"), ("3.5", "All values are 3.5")])
def test_a_covariate_that_tells_nothing(tables, tmp_path, text, said):
    """Missing throughout, or the same throughout."""
    given = tables(monthly(2, 10))
    path = Path(given["input"])
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([f"{first},rain", *(f"{line},{text}" for line in rest)]) + "\n")
    assert said in refused(tmp_path, **given, covariates="rain")


@pytest.mark.parametrize("architecture", ["anomaly", "classic"])
def test_a_hole_where_forecasts_are_judged(tables, tmp_path, architecture):
    """No station has values where the model is judged: years of war, say."""
    values = monthly(2, 12)
    values[:, 60:112] = np.nan
    assert "a hole in the record" in refused(tmp_path, **tables(values), horizon=6, architecture=architecture)


@pytest.mark.parametrize("step", ["hour", "day", "week"])
def test_a_step_finer_than_the_data(tables, tmp_path, step):
    """Months cannot be brought to weeks or hours."""
    text = refused(tmp_path, **tables(monthly(2, 10)), step=step)
    assert "the data come less often" in text


def test_duplicates(tables, tmp_path):
    """Rows of the same station and time are counted, and the first is shown."""
    given = tables(monthly(2, 10))
    with Path(given["input"]).open("a") as file:
        file.write("001,2003-05,4.5\n001,2003-06,4.5\n")
    text = refused(tmp_path, **given)
    assert text.startswith("2 rows")
    assert "001, 2003-05" in text


def test_no_places(tables, tmp_path):
    """A table without points, and points without some of the stations."""
    given = tables(monthly(3, 10))
    assert "no places" in refused(tmp_path, **given | {"stations": ""})
    places = Path(given["stations"])
    places.write_text("\n".join(places.read_text().splitlines()[:-1]) + "\n")
    assert "002" in refused(tmp_path, **given)


def test_impossible_places(tables, tmp_path):
    """A latitude of 95 degrees, as of mixed-up columns or metres."""
    given = tables(monthly(3, 10))
    places = Path(given["stations"])
    places.write_text(places.read_text().replace(",52.0", ",95.0"))
    text = refused(tmp_path, **given)
    assert "3 of 3" in text
    assert "latitude 95" in text


def test_two_places(tables, tmp_path):
    """A station that is given twice at different places is told; it stays where it stood first."""
    given = tables(monthly(3, 10))
    with Path(given["stations"]).open("a") as file:
        file.write("001,5,50\n")
    source = Source(given["input"], "station", "time", ["value"], [], stations=given["stations"])
    series = read_series(source)
    assert "Stations with several places, of which the first is taken: 1 (001)." in [
        one.sentence for one in series.findings
    ]
    assert series.coordinates[1].tolist() == [-2.6, 52.0]


def test_lost_zeros(tables, tmp_path):
    """Ids that fit but for their leading zeros are recognised."""
    given = tables(monthly(3, 10))
    places = Path(given["stations"])
    places.write_text(places.read_text().replace("\n00", "\n"))
    assert "leading zeros" in refused(tmp_path, **given)


def test_mixed_frequencies(tmp_path):
    """A monthly and a daily station."""
    path = tmp_path / "series.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["station", "time", "value"])
        for step in range(120):
            rows.writerow(["a", f"{np.datetime64('2000-01', 'M') + step}-01", step % 7])
            rows.writerow(["b", f"{np.datetime64('2000-01-01') + step}", step % 5])
    (tmp_path / "stations.csv").write_text("station,lon,lat\na,1,2\nb,2,3\n")
    assert "mixed frequencies" in refused(tmp_path, input=str(path), stations=str(tmp_path / "stations.csv"))


def test_a_model_for_another_variable(tables, tmp_path):
    """A model of one variable is not used for another."""
    given = tables(white_noise(2, 150), name="rain")
    model = tmp_path / "rain.geodl"
    fields = {
        "station_field": "station",
        "time_field": "time",
        "value_field": "rain",
        "horizon": 6,
        "compare_statistical": "no",
    }
    run_job("trainforecaster", given | fields | {"output": str(model)}, SilentProgress())
    given = tables(monthly(2, 10), name="temperature")
    text = refused(
        tmp_path,
        "forecastseries",
        **given,
        model=str(model),
        value_field="temperature",
        output=str(tmp_path / "out" / "forecast.gpkg"),
        report=None,
        skill=None,
    )
    assert "trained on rain" in text
