"""
Time the training of the classic CNN beside the same net in Keras with TensorFlow, on the same cores, by turns, in one run.

GeoDL trains as `geodl:trainclassifier` does, from a tile set on disk, tiles turned and mirrored; Keras is fed from memory, with
no augmentation. Tiles are 128 × 128 pixels with three bands, batches 32, classes ten. Each trainer is a process of its own
that lives through the run and works only when it is its turn; what is printed are medians over the rounds, and of each round's
ratios.

    .venv/bin/python benchmarks/classic_cnn_throughput.py --keras /path/to/an/environment/with/tensorflow-cpu/bin/python

or with that path in GEODL_KERAS_PYTHON. Without it only GeoDL is timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZE, BANDS, CLASSES, BATCH, ACROSS = 128, 3, 10, 32, 20
FIRST = 4  # batches of each turn that are not timed: what was made ahead while the others worked is used up


class Gate:
    """Lets a trainer take its turn of batches, and tells how long they took."""

    def __init__(self):
        self.batches, self.left, self.started, self.worked = 0, 0, 0.0, 0.0
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def after_batch(self):
        self.left -= 1
        if self.left == self.batches:
            self.started, self.worked = time.perf_counter(), time.process_time()
        if self.left <= 0:
            if self.batches:
                tiles = self.batches * BATCH
                seconds, worked = time.perf_counter() - self.started, time.process_time() - self.worked
                self.say({"tiles_a_second": tiles / seconds, "work_ms": 1000 * worked / tiles})
            else:
                self.say({"ready": True})
            self.batches = int(sys.stdin.readline() or -1)
            if self.batches < 0:
                os._exit(0)
            self.left = self.batches + FIRST

    def say(self, line):
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()


def train_with_geodl(folder, precision):
    sys.path.insert(0, str(ROOT))
    from geodl_qgis_plugin.engine.environment import tune_memory, tune_threads

    tune_threads()
    tune_memory()
    from geodl_qgis_plugin.engine.classification.fitting import architecture_of, fresh_net, plan_of
    from geodl_qgis_plugin.engine.classification.training import train
    from geodl_qgis_plugin.engine.classification.training_settings import Settings
    from geodl_qgis_plugin.engine.messages import SilentProgress
    from geodl_qgis_plugin.engine.settings import read_settings
    from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

    gate = Gate()

    class Progress(SilentProgress):
        def update(self, fraction, text=""):
            if text.startswith("Epoch"):
                gate.after_batch()

    values = {"tiles": folder, "output": "none", "task": "each tile", "architecture": "classic"}
    settings = read_settings(
        Settings, {**values, "batch_size": BATCH, "epochs": 100_000, "patience": 100_000, "precision": precision}
    )
    tile_set = TileSet.open(folder)
    architecture = architecture_of(settings, tile_set)
    from geodl_qgis_plugin.engine.classification import training

    training.FEWEST_BATCHES_BETWEEN_CHECKS = 10**9  # training alone is timed
    train(fresh_net(architecture, 0), tile_set, plan_of(settings, architecture), None, Progress())


def train_with_keras(compiled):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np

    gate = Gate()
    layers = [keras.layers.Input((SIZE, SIZE, BANDS))]
    for filters in (32, 64, 128):
        layers += [keras.layers.Conv2D(filters, 3, activation="relu"), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(128, activation="relu"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss, jit_compile={"yes": True, "no": False}.get(compiled, "auto"))
    random = np.random.default_rng(0)
    values = random.normal(size=(32 * BATCH, SIZE, SIZE, BANDS)).astype("f4")
    wanted = random.integers(0, CLASSES, len(values))

    class Turn(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            gate.after_batch()

    model.fit(values, wanted, batch_size=BATCH, epochs=10**6, verbose=0, callbacks=[Turn()])


def make_tiles(folder):
    """Cut a tile set out of noise, with a class for each tile."""
    import numpy as np
    from osgeo import gdal, osr

    sys.path.insert(0, str(ROOT))
    from geodl_qgis_plugin.engine.jobs import run_job
    from geodl_qgis_plugin.engine.messages import SilentProgress

    gdal.UseExceptions()
    random, side = np.random.default_rng(0), ACROSS * SIZE
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32632)
    for name, bands, kind in (("predictors.tif", BANDS, gdal.GDT_Float32), ("labels.tif", 1, gdal.GDT_Byte)):
        raster = gdal.GetDriverByName("GTiff").Create(str(folder / name), side, side, bands, kind, ["TILED=YES"])
        raster.SetGeoTransform((500000, 30, 0, 5500000, 0, -30))
        raster.SetSpatialRef(reference)
        for row in range(0, side, SIZE):
            if bands == 1:
                codes = np.repeat(random.integers(1, CLASSES + 1, ACROSS), SIZE).astype(np.uint8)
                raster.GetRasterBand(1).WriteArray(np.tile(codes, (SIZE, 1)), 0, row)
            else:
                for band in range(bands):
                    noise = random.normal(100, 10, (SIZE, side)).astype(np.float32)
                    raster.GetRasterBand(band + 1).WriteArray(noise, 0, row)
        raster.FlushCache()
        del raster
    options = {
        "tile_size": SIZE,
        "stride": SIZE,
        "block_size": SIZE * 30.0 * 2,
        "buffer": 0.0,
        "test": 10,
        "validation": 10,
    }
    run_job(
        "extracttiles",
        {
            "predictors": [str(folder / "predictors.tif")],
            "labels": [str(folder / "labels.tif")],
            "output": str(folder / "set"),
            **options,
        },
        SilentProgress(),
    )
    return folder / "set"


class Trainer:
    """One of those that take turns."""

    def __init__(self, python, *arguments):
        self.process = subprocess.Popen(
            [python, __file__, "--as", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args} ended early.")
        return json.loads(line)

    def turn(self, batches):
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        return self.read()

    def end(self):
        self.process.stdin.write("-1\n")
        self.process.stdin.flush()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras", default=os.environ.get("GEODL_KERAS_PYTHON"), help="Python with tensorflow-cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=20, help="timed batches a turn")
    parser.add_argument("--compiled", choices=("auto", "yes", "no"), default="auto", help="Keras' jit_compile")
    parser.add_argument("--as", nargs="+", dest="role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        role, *rest = options.role
        return train_with_keras(*rest) if role == "keras" else train_with_geodl(*rest)
    with tempfile.TemporaryDirectory() as scratch:
        tiles = str(make_tiles(Path(scratch)))
        trainers = {
            "GeoDL, float32": Trainer(sys.executable, "geodl", tiles, "float32"),
            "GeoDL, bfloat16": Trainer(sys.executable, "geodl", tiles, "bfloat16"),
        }
        if options.keras:
            trainers = {"Keras, float32": Trainer(options.keras, "keras", options.compiled), **trainers}
        rates = {name: [] for name in trainers}
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds of {options.batches} batches"
        )
        for trainer in trainers.values():
            trainer.turn(3)
        for number in range(options.rounds):
            names = list(trainers)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                rates[name].append(trainers[name].turn(options.batches))
        for trainer in trainers.values():
            trainer.end()
    first = next(iter(rates))
    for name, found in rates.items():
        rate = [turn["tiles_a_second"] for turn in found]
        ratios = [one / base["tiles_a_second"] for one, base in zip(rate, rates[first])]
        work = [base["work_ms"] / turn["work_ms"] for turn, base in zip(found, rates[first])]
        print(
            f"{name:16} {statistics.median(rate):6.1f} tiles a second ({min(rate):.0f} to {max(rate):.0f}), "
            f"{statistics.median(ratios):.2f} times {first} ({min(ratios):.2f} to {max(ratios):.2f}); "
            f"processor time {statistics.median(turn['work_ms'] for turn in found):.2f} ms a tile, "
            f"{statistics.median(work):.2f} times less"
        )
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
