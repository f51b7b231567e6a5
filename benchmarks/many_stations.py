"""
Make up many stations with decades of daily temperature, and measure what reading, training and forecasting them take.

    python benchmarks/many_stations.py make 1000 /tmp/stations.nc
    python benchmarks/many_stations.py run /tmp/stations.nc --folder /tmp/results
    python benchmarks/many_stations.py read /tmp/stations.nc

The climate is made up, but as a climate is: a yearly cycle that grows with latitude, colder by 6.5 K a kilometre, warming that
differs from place to place, weather that lasts some days and is shared by neighbours, gaps of days and of years, stations that
began late. The suffix says the format: .nc (CF station file), .csv or .gpkg (a row a station and day; stations beside it).
``run`` trains, judges and forecasts in processes of their own, as QGIS does, and prints time, processor time and peak memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from osgeo import gdal

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
FIRST_DAY = np.datetime64("1985-01-01")
WEST, EAST, SOUTH, NORTH = -10.0, 30.0, 36.0, 70.0
MODES = 60
STATIONS_AT_ONCE = 200
MISSING = -9999.0


class Climate:
    """Where the stations are, and their weather, station by station on demand: the whole never lies in memory."""

    def __init__(self, stations, years, seed=0):
        generator = np.random.default_rng(seed)
        self.days = round(years * 365.25)
        self.ids = [f"{number:05d}" for number in range(1, stations + 1)]
        self.places = np.column_stack(
            [generator.uniform(WEST, EAST, stations), generator.uniform(SOUTH, NORTH, stations)]
        )
        waves = generator.normal(size=(2, 12)) / 6.0
        relief = np.cos(self.places @ waves + generator.uniform(0, 6.3, 12)).sum(axis=1)
        self.height = np.round(np.clip(150 + 220 * relief + generator.exponential(120, stations), 0, 3500))
        # weather: fields with a length scale of some hundred kilometres, each an autoregressive series
        self.waves = generator.normal(size=(2, MODES)) / 5.0
        self.phases = generator.uniform(0, 2 * np.pi, MODES)
        self.memory = generator.uniform(0.65, 0.9, MODES)
        shocks = generator.normal(size=(MODES, self.days)) * np.sqrt(1 - self.memory**2)[:, None]
        self.weather = _remembered(shocks, self.memory)
        self.seed = seed

    def values(self, first, last):
        """Return the temperature at the stations from ``first`` to ``last``: (station, day), NaN where missing."""
        generator = np.random.default_rng([self.seed, first])
        count = last - first
        places, height = self.places[first:last], self.height[first:last]
        day = np.arange(self.days)
        phase = 2 * np.pi * (day % 365.25) / 365.25
        north = (places[:, 1] - SOUTH) / (NORTH - SOUTH)
        mean = 18 - 14 * north - 0.0065 * height
        swing = 7 + 8 * north + 0.1 * (places[:, 0] - WEST)
        trend = 0.03 + 0.01 * np.sin(places[:, 0] / 5)
        loading = np.cos(places @ self.waves + self.phases) * np.sqrt(2 / MODES)
        spread = 3.2 + 0.8 * np.cos(phase)
        own = _remembered(generator.normal(size=(count, self.days)) * 0.8, np.full(count, 0.6))
        found = mean[:, None] - swing[:, None] * np.cos(phase - 0.35) + trend[:, None] * day / 365.25
        found += spread * (loading @ self.weather) + own
        found[generator.random(found.shape) < 0.01] = np.nan
        for row in range(count):
            if generator.random() < 0.2:  # began late
                found[row, : generator.integers(0, self.days // 3)] = np.nan
            for _ in range(generator.poisson(1.0)):  # broken for some months
                at = generator.integers(0, self.days)
                found[row, at : at + generator.integers(20, 400)] = np.nan
        return np.round(found, 1)


def _remembered(shocks, memory):
    from scipy.signal import lfilter

    return np.stack([lfilter([1.0], [1.0, -one], row) for one, row in zip(memory, shocks)])


def make(climate, path):
    """Write the stations in the format that the suffix names."""
    gdal.UseExceptions()
    parts = [(at, min(at + STATIONS_AT_ONCE, len(climate.ids))) for at in range(0, len(climate.ids), STATIONS_AT_ONCE)]
    if path.suffix == ".nc":
        _make_netcdf(climate, path, parts)
        return
    table = path if path.suffix == ".csv" else path.with_name(path.stem + "_rows.csv")
    _make_csv(climate, table, parts)
    if path.suffix == ".gpkg":
        gdal.VectorTranslate(
            str(path), str(table), format="GPKG", layerName="series", layerCreationOptions=["SPATIAL_INDEX=NO"],
            SQLStatement=f'SELECT station, CAST(day AS DATE) AS day, CAST(tmean AS FLOAT) AS tmean FROM "{table.stem}"',
        )  # fmt: skip
        table.unlink()


def _make_netcdf(climate, path, parts):
    dataset = gdal.GetDriverByName("netCDF").CreateMultiDimensional(str(path))
    group = dataset.GetRootGroup()
    station = group.CreateDimension("station", "", "", len(climate.ids))
    day = group.CreateDimension("time", "TEMPORAL", "", climate.days)
    number, text = gdal.ExtendedDataType.Create(gdal.GDT_Float64), gdal.ExtendedDataType.CreateString()

    def array(name, dimensions, kind, attributes, options=()):
        made = group.CreateMDArray(name, dimensions, kind, list(options))
        for key, value in attributes.items():
            made.CreateAttribute(key, [], text).Write(value)
        return made

    ids = array("station_id", [station], text, {"cf_role": "timeseries_id"})
    ids.Write(climate.ids)
    for column, (name, standard) in enumerate((("lon", "longitude"), ("lat", "latitude"))):
        array(name, [station], number, {"standard_name": standard}).WriteArray(climate.places[:, column].copy())
    array("height", [station], number, {"standard_name": "surface_altitude", "units": "m"}).WriteArray(climate.height)
    times = array("time", [day], number, {"standard_name": "time", "calendar": "standard"})
    times.SetUnit(f"days since {FIRST_DAY}")
    times.WriteArray(np.arange(climate.days, dtype=float))
    kind = gdal.ExtendedDataType.Create(gdal.GDT_Float32)
    values = array("tmean", [station, day], kind, {"coordinates": "lat lon"}, [f"BLOCKSIZE=50,{climate.days}"])
    values.SetNoDataValueDouble(MISSING)
    for first, last in parts:
        found = np.nan_to_num(climate.values(first, last), nan=MISSING).astype(np.float32)
        values.WriteArray(found, [first, 0])


def _make_csv(climate, path, parts):
    days = [f",{FIRST_DAY + day}," for day in range(climate.days)]
    with path.open("w") as file:
        file.write("station,day,tmean\n")
        for first, last in parts:
            for name, row in zip(climate.ids[first:last], climate.values(first, last)):
                rows = [f"{name}{day}{value}\n" for day, value in zip(days, row.tolist()) if value == value]
                file.writelines(rows)
    with path.with_name(path.stem.removesuffix("_rows") + "_stations.csv").open("w") as file:
        file.write("station,lon,lat,height\n")
        for name, (x, y), height in zip(climate.ids, climate.places, climate.height):
            file.write(f"{name},{x:.5f},{y:.5f},{height:.0f}\n")


def source(path):
    """Return the settings that say where the series are."""
    if path.suffix == ".nc":
        return {"input": str(path), "value_field": "tmean"}
    return {
        "input": str(path),
        "station_field": "station",
        "time_field": "day",
        "value_field": "tmean",
        "stations": str(path.with_name(path.stem + "_stations.csv")),
    }


def job(name, settings, launcher=()):
    """Run a job of the engine; return its result, and print what it took, stage by stage."""
    given = Path(settings["output"]).with_suffix(".json")
    given.write_text(json.dumps(settings))
    command = [sys.executable, *launcher, "-m", "geodl_qgis_plugin.engine", name, str(given)]
    started, stage, since, found = time.perf_counter(), "start", 0.0, None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    stages = []
    for line in process.stdout:
        said = json.loads(line)
        now = time.perf_counter() - started
        if said["type"] == "progress" and said["text"] and _kind(said["text"]) != stage:
            stages.append((stage, now - since))
            stage, since = _kind(said["text"]), now
        elif said["type"] in ("message", "warning", "error"):
            print(f"    {now:7.1f} s  {said['text']}")
        elif said["type"] == "result":
            found = said["result"]
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    seconds = time.perf_counter() - started
    print("    " + ", ".join(f"{name} {spent:.1f} s" for name, spent in [*stages, (stage, seconds - since)]))
    worked = used.ru_utime + used.ru_stime
    print(f"  {name}: {seconds:.0f} s, {worked:.0f} s of processor time, peak {used.ru_maxrss / 2**20:.2f} GB")
    return found


def _kind(text):
    return " ".join(word for word in text.split() if not any(letter.isdigit() for letter in word))


def read(path):
    """Read the series and print what that took."""
    from geodl_qgis_plugin.engine.forecasting.reading import read_series
    from geodl_qgis_plugin.engine.forecasting.series_settings import SeriesSettings, source_of

    started = time.perf_counter()
    series = read_series(source_of(SeriesSettings(**source(path)), "found", "mean"))
    name = next(iter(series.values))
    print(
        f"  reading {path.name}: {np.isfinite(series.values[name]).sum():,} values, {time.perf_counter() - started:.0f} s, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB"
    )
    for finding in series.findings:
        print("   ", finding.sentence)


def run(path, folder, scheduler):
    """Train, judge and forecast, with all outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {name: str(folder / file) for name, file in (("report", "report.html"), ("skill", "skill.gpkg"))}
    trained = job("trainforecaster", source(path) | outputs | {"output": str(folder / "model.geodl")})
    if trained:
        print(
            f"    MASE {trained['mase']:.3f}, MAE {trained['mae']:.3f}, 90 % intervals held {trained['coverage']:.1%}"
        )
        given = {
            "model": trained["output"],
            "output": str(folder / "forecast.gpkg"),
            "charts": str(folder / "charts.html"),
        }
        job("forecastseries", source(path) | given | ({"scheduler": scheduler} if scheduler else {}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("stations", type=int)
    making.add_argument("path", type=Path)
    making.add_argument("--years", type=float, default=40)
    running = commands.add_parser("run")
    running.add_argument("path", type=Path)
    running.add_argument("--folder", type=Path, required=True)
    running.add_argument("--scheduler", default="", help="as for geodl:forecastseries")
    commands.add_parser("read").add_argument("path", type=Path)
    options = parser.parse_args()
    print(f"Load of the machine: {os.getloadavg()[0]:.1f}")
    if options.command == "make":
        make(Climate(options.stations, options.years), options.path)
    elif options.command == "read":
        read(options.path)
    else:
        run(options.path, options.folder, options.scheduler)


if __name__ == "__main__":
    main()
