"""What is odd about series is told with its count and never filled: clocks, thin steps, empty rows, steps of another length."""

import csv

import numpy as np
import pytest

from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.forecasting.frequency import Frequency
from geodl_qgis_plugin.engine.forecasting.reading import Source, read_series

DAY = np.timedelta64(1, "D")


@pytest.fixture
def read(tmp_path):
    """Read rows of station, time and value; the stations' places are made up."""

    def read(rows, frequency=None, **more):
        path = tmp_path / "rows.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["station", "time", "value"], *rows])
        names = dict.fromkeys(row[0] for row in rows)
        places = tmp_path / "places.csv"
        places.write_text("station,lon,lat\n" + "".join(f"{name},{at},50\n" for at, name in enumerate(names)))
        return read_series(Source(str(path), "station", "time", ["value"], [], str(places), **more), frequency)

    return read


def told(series):
    return {finding.what: finding.count for finding in series.findings}


def test_local_days_stay_days(read):
    """Days told as midnights of summer and winter time, a zone behind them, are one series without a gap."""
    days = np.datetime64("2020-01-01") + np.arange(400)
    summer = (days >= np.datetime64("2020-03-30")) & (days <= np.datetime64("2020-10-25"))
    rows = [["a", f"{day}T00:00:00+0{1 + late}:00", at] for at, (day, late) in enumerate(zip(days, summer))]
    series = read(rows)
    assert series.frequency == Frequency("second", 86400)
    assert series.start(0) == days[0]
    np.testing.assert_array_equal(series.values["value"][0], np.arange(400))
    assert told(series) == {"Times in another zone than UTC; days and months are those of the place": 400}


def test_local_months_stay_months(read):
    """The same for months, of which UTC would put half into the month before."""
    months = np.datetime64("2015-01") + np.arange(48)
    rows = [["a", f"{month}-01T00:00:00{'+01:00' if 3 < at % 12 < 10 else 'Z'}", at] for at, month in enumerate(months)]
    series = read(rows)
    np.testing.assert_array_equal(series.values["value"][0], np.arange(48))
    assert str(series.start(0))[:7] == "2015-01"


def dublin_hours():
    """Two days of hours across the end of summer time in 2021, as a clock in Dublin showed them, and in UTC."""
    utc = np.datetime64("2021-10-30T00:00") + np.arange(48) * np.timedelta64(1, "h")
    change = np.datetime64("2021-10-31T01:00")
    return np.where(utc < change, utc + np.timedelta64(1, "h"), utc)


def test_the_autumn_hour_is_told_apart(read):
    """With a time zone, the hour that comes twice becomes two, by its order, for each station; the count is told."""
    clock = dublin_hours()
    rows = [[name, str(time), at] for name in "ab" for at, time in enumerate(clock)]
    with pytest.raises(GeoDLError, match="TIME_ZONE"):
        read(rows)
    series = read(rows, time_zone="Europe/Dublin")
    assert str(series.start(0)) == "2021-10-30T00:00:00"
    for own in series.values["value"]:
        np.testing.assert_array_equal(own, np.arange(48))
    assert told(series)["Times in the autumn hour that comes twice"] == 4


def test_the_spring_hour_is_counted(read):
    """A time that the clock never showed is counted."""
    hours = np.datetime64("2021-03-27T20:00") + np.arange(30) * np.timedelta64(1, "h")
    rows = [["a", str(time), at] for at, time in enumerate(hours) if time != np.datetime64("2021-03-28T02:00")]
    series = read(rows, time_zone="Europe/Dublin", duplicates="mean")
    assert told(series)["Times in the spring hour that the clock leaves out"] == 1


def test_an_unknown_time_zone(read):
    """A zone that does not exist is refused with an example of one that does."""
    with pytest.raises(GeoDLError, match="Europe/Dublin"):
        read([["a", str(time), 1] for time in dublin_hours()], time_zone="Ireland/Dublin")


def test_rows_without_values_at_the_ends(read):
    """Rows that only hold empty values, before the first and after the last, are no part of the series."""
    days = np.datetime64("2020-01-01") + np.arange(50)
    rows = [["a", str(day), "" if at < 3 or at >= 45 else at] for at, day in enumerate(days)]
    series = read(rows)
    assert series.length == 42
    assert series.start(0) == days[3]
    assert told(series)["Steps at the beginning without any value to forecast from, left out"] == 3
    assert told(series)["Steps at the end without any value to forecast from, left out"] == 5


@pytest.mark.parametrize(("quantity", "kept"), [("mean", 20), ("sum", 10)])
def test_thin_steps_are_left_empty(read, quantity, kept):
    """A month with too few days is left empty, and counted: for a mean half of them serve, for a sum nine tenths."""
    days = np.datetime64("2020-01-01") + np.arange(366)
    rows = [["a", str(day), 1.0] for day in days if str(day)[:7] != "2020-06" or int(str(day)[8:]) <= kept]
    series = read(rows, step="month", quantity=quantity)
    june = series.values["value"][0, 5]
    assert np.isfinite(june) == (quantity == "mean")
    thin = "Steps of value left empty, in which too few values fell"
    assert (thin in told(series)) == (quantity == "sum")


def test_irregular_sampling(read):
    """Irregular sampling is refused with the steps that can be chosen, and brought to one of them."""
    generator = np.random.default_rng(0)
    times = np.datetime64("2020-01-01T00:00") + np.cumsum(generator.integers(200, 900, 3000)) * np.timedelta64(1, "m")
    rows = [["a", str(time), 5.0] for time in times]
    with pytest.raises(GeoDLError, match="irregular"):
        read(rows)
    series = read(rows, step="week")
    assert series.frequency.words == "1 week"
    assert np.nanmax(np.abs(series.values["value"] - 5.0)) == 0


def test_another_step_than_the_models(read):
    """Days are not taken for a model of months, months are, and so are months with gaps."""
    days = np.datetime64("2020-01-01") + np.arange(100)
    with pytest.raises(GeoDLError, match="day, but the model was trained on a step of 1 month"):
        read([["a", str(day), 1.0] for day in days], Frequency("month", 1))
    months = np.datetime64("2020-01") + np.arange(0, 24, 2)
    assert read([["a", f"{month}-01", 1.0] for month in months], Frequency("month", 1)).length == 23


def test_several_variables_keep_their_stations(read, tmp_path):
    """A station that has one variable and lacks the other is kept for the first."""
    from geodl_qgis_plugin.engine.forecasting.series import usable

    months = np.datetime64("2010-01") + np.arange(60)
    path = tmp_path / "both.csv"
    lines = [
        f"{name},{month}-01,{at % 7},{at % 5 if name == 'a' else ''}"
        for name in "ab"
        for at, month in enumerate(months)
    ]
    path.write_text("\n".join(["station,time,heat,rain", *lines]) + "\n")
    places = tmp_path / "two.csv"
    places.write_text("station,lon,lat\na,0,50\nb,1,50\n")
    series = read_series(Source(str(path), "station", "time", ["heat", "rain"], [], str(places)))
    kept = usable(series, ["heat", "rain"], 24, 6)
    assert kept.stations == ["a", "b"]
    assert np.isfinite(kept.values["heat"]).all()
    assert any("left out of rain" in finding.what for finding in kept.findings)
