"""
Map the landforms of the Jacksboro fault with the built plugin, through qgis_process: `make demo`.

Real data: SRTM elevations of Tennessee that matplotlib ships, and ten landforms by GRASS r.geomorphon. A net is trained on the
west, and scored on the east 30 % of the columns, which it never sees. All happens in a QGIS profile of its own, which is then
removed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import install_plugin
import package
from osgeo import gdal, ogr

gdal.UseExceptions()
ogr.UseExceptions()

ROOT = package.ROOT
LABELS = ROOT / "tests" / "data" / "jacksboro_geomorphon_L15.tif"
TEST_SHARE = 0.3
SEARCH_M = (
    15 * 90
)  # as far as r.geomorphon looked for a label, so no training label was made from ground in the test area
# A fixed number of epochs makes two runs the same; a limit in minutes would map worse on a slow or busy machine without a word.
TRAINING = {"TASK": "each pixel", "EPOCHS": 60, "SEED": 0, "RESUME": False}
SHOWN_EVERY_S = 20


class Failed(Exception):
    """A step of the demo did not succeed; the message says where to look."""


class Chain:
    """Runs algorithms with qgis_process in a profile of its own, and keeps what they say in a log."""

    def __init__(self, home, log):
        self.log = log
        self.log.write_text("", encoding="utf-8")
        own = {"QGIS_CUSTOM_CONFIG_PATH": str(home), "QT_QPA_PLATFORM": "offscreen", "GEODL_PYTHON": sys.executable}
        self.environment = os.environ | own | {"PYTHONUNBUFFERED": "1"}

    def run(self, what, algorithm, **parameters):
        """Run an algorithm, telling what it is for, and return its numbers and paths by name."""
        print(f"{what} (geodl:{algorithm})", flush=True)
        # into a pipe qgis_process says nothing until it has a page full, unless stdbuf has it tell each line
        command = ["stdbuf", "-oL"] if shutil.which("stdbuf") else []
        command += ["qgis_process", "run", f"geodl:{algorithm}"]
        command += [
            f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in parameters.items()
        ]
        results, shown = {}, time.monotonic()
        with self.log.open("a", encoding="utf-8", buffering=1) as log:
            log.write(" ".join(command) + "\n")
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=self.environment,
            )
            for line in process.stdout:
                log.write(line)
                if found := re.match(r"([A-Z0-9_]+):\t(.*)", line):
                    results[found[1]] = found[2].strip()
                if line.startswith("Epoch") and time.monotonic() - shown > SHOWN_EVERY_S:
                    print(f"    {line.strip()}", flush=True)
                    shown = time.monotonic()
            code = process.wait()
        if code:
            said = self.log.read_text(encoding="utf-8").splitlines()[-25:]
            raise Failed("\n".join([*said, "", f"geodl:{algorithm} failed. All that was said is in {self.log}."]))
        return results


def write_test_area(dem, path):
    """Write the polygon of the east of the DEM, the part that only scores the model."""
    raster = gdal.Open(str(dem))
    west, width, _, north, _, height = raster.GetGeoTransform()
    columns, rows = raster.RasterXSize, raster.RasterYSize
    left = west + width * (columns - round(TEST_SHARE * columns))
    right, south = west + width * columns, north + height * rows
    path.unlink(missing_ok=True)
    layers = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = layers.CreateLayer("test_area", raster.GetSpatialRef(), ogr.wkbPolygon)
    feature = ogr.Feature(layer.GetLayerDefn())
    corners = ((left, south), (right, south), (right, north), (left, north), (left, south))
    feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON(({','.join(f'{x} {y}' for x, y in corners)}))"))
    layer.CreateFeature(feature)


def script(name, *arguments):
    """Run another of the tools; what it says is shown only if it fails."""
    command = [sys.executable, str(ROOT / "tools" / name), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Failed(f"{ran.stdout}{ran.stderr}\n{name} failed.")


def make(folder, home):
    """Run the chain and return the scores of the net, the forest and the majority."""
    install_plugin.install(package.build(home / "dist"), home / "profiles" / "default")
    chain = Chain(home, folder / "log.txt")
    dem, area, model, landforms = (
        folder / name for name in ("dem.tif", "test_area.gpkg", "model.geodl", "landforms.tif")
    )
    script("jacksboro_dem.py", dem)
    write_test_area(dem, area)
    shutil.rmtree(folder / "tiles", ignore_errors=True)
    chain.run(
        "1/6 Cutting tiles; the east is kept apart as test area",
        "extracttiles",
        PREDICTORS=dem,
        LABELS=LABELS,
        TILE_SIZE=64,
        TEST_AREAS=area,
        BUFFER=SEARCH_M,
        OUTPUT=folder / "tiles",
        FOOTPRINTS=folder / "tiles.gpkg",
    )
    trained = chain.run(
        "2/6 Training a U-Net on the west, and a random forest to compare with; the longest step",
        "trainclassifier",
        TILES=folder / "tiles",
        **TRAINING,
        OUTPUT=model,
        REPORT=folder / "report.html",
    )
    chain.run(
        "3/6 Mapping everything",
        "classifyraster",
        MODEL=model,
        PREDICTORS=dem,
        OUTPUT=landforms,
        CONFIDENCE=folder / "confidence.tif",
    )
    assessed = chain.run(
        "4/6 Comparing the map with the labels in the test area",
        "assessclassification",
        CLASSIFIED=landforms,
        REFERENCE=LABELS,
        AREAS=area,
        REPORT=folder / "assessment.html",
    )
    chain.run("5/6 Describing the model", "describemodel", MODEL=model, REPORT=folder / "model.html")
    net, forest = (
        {name: float(scores[prefix + name]) for name in ("ACCURACY", "KAPPA", "MACRO_F1")}
        for scores, prefix in ((assessed, ""), (trained, "FOREST_"))
    )
    print("6/6 Drawing the map", flush=True)
    script(
        "render_map.py",
        *("--classes", landforms, "--dem", dem, "--outline", area, "--output", folder / "landforms.png"),
        *("--title", "Landforms of the Jacksboro fault, Tennessee"),
        *("--legend", "Landform", "--outline-name", "Test area"),
        "--subtitle",
        f"Mapped by a U-Net from elevation (SRTM, 90 m). In the test area: accuracy {net['ACCURACY']:.2f}, "
        f"kappa {net['KAPPA']:.2f}.",
    )
    return {
        "U-Net": net,
        "random forest": forest,
        "most frequent class": {"ACCURACY": float(trained["MAJORITY_ACCURACY"])},
    }


def table(scores):
    """Return the scores as lines of text; the kappa of a constant is 0 by definition."""
    lines = [f"{'':22}{'accuracy':>10}{'kappa':>10}{'macro-F1':>10}"]
    for name, row in scores.items():
        cells = (row["ACCURACY"], row.get("KAPPA", 0.0), row.get("MACRO_F1"))
        lines.append(f"{name:22}" + "".join(f"{'–' if cell is None else f'{cell:.3f}':>10}" for cell in cells))
    return "\n".join(lines)


def main():
    """Run the demo and tell the scores and the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="folder to write into")
    parser.add_argument("--epochs", type=int, help="fewer are faster and worse")
    options = parser.parse_args()
    if options.epochs:
        TRAINING["EPOCHS"] = options.epochs
    folder, started = options.output.resolve(), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="geodl-demo-") as home:
        try:
            scores = make(folder, Path(home))
        except (Failed, package.PackageError) as error:
            sys.exit(str(error))
    print(f"\nIn the test area:\n{table(scores)}\n")
    for name, what in (
        ("landforms.png", "the map as a picture"),
        ("landforms.tif", "the map, styled: open it in QGIS"),
        ("confidence.tif", "how sure the net is, pixel by pixel"),
        ("report.html", "how the model was made and how good it is"),
        ("assessment.html", "where the map agrees with the labels"),
        ("model.html", "what the model holds"),
        ("model.geodl", "the model, for other DEMs"),
    ):
        print(f"{folder / name}: {what}")
    print(f"Done in {(time.monotonic() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
