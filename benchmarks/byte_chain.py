"""
The whole chain over a raster of bytes, polygons included, beside ONNX Runtime alone for the same net.

    python benchmarks/byte_chain.py [side] [folder]

Five layers of 16 channels that see 47 pixels, untrained, brought in with `importonnx` and mapped by `classifyraster` to classes
and polygons, over three bands of bytes in patches. The chain runs in a process of its own, imports included; ONNX Runtime is
timed alone, on windows of 512 pixels side by side, without a halo and with the file already in memory.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from osgeo import gdal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.map_speed import timed
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress

gdal.UseExceptions()
CLASSES, WINDOW_PX = "water, forest, rock, ice", 512
DILATIONS = (1, 2, 4, 8, 8)  # 3 × 3 each: 23 pixels to every side


def write_raster(path, side):
    """Write three bands of bytes: patches of some 60 pixels, and noise."""
    random = np.random.default_rng(0)
    options = ["TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=512"]
    raster = gdal.GetDriverByName("GTiff").Create(str(path), side, side, 3, gdal.GDT_Byte, options=options)
    raster.SetGeoTransform((400000, 10, 0, 5400000, 0, -10))
    reference = gdal.osr.SpatialReference()
    reference.ImportFromEPSG(32633)
    raster.SetSpatialRef(reference)
    for band in range(3):
        patches = random.integers(40, 200, (side // 64 + 1, side // 64 + 1)).astype(np.float32)
        for row in range(0, side, 512):
            rows, columns = np.arange(row, min(row + 512, side)) // 64, np.arange(side) // 64
            values = patches[rows][:, columns] + random.normal(0, 8, (len(rows), side)).astype(np.float32)
            raster.GetRasterBand(band + 1).WriteArray(np.clip(values, 0, 255).astype(np.uint8), 0, row)
            raster.GetRasterBand(band + 1).SetDescription(("red", "green", "blue")[band])


def write_net(path):
    """Write the net as ONNX: bands first, any size, logits."""
    torch.manual_seed(0)
    layers, inputs = [], 3
    for place, dilation in enumerate(DILATIONS):
        outputs = 4 if place + 1 == len(DILATIONS) else 16
        layers.append(torch.nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation))
        layers.append(torch.nn.ReLU() if outputs == 16 else torch.nn.Identity())
        inputs = outputs
    axes = {name: {0: "n", 2: "r", 3: "c"} for name in ("x", "y")}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    net = torch.nn.Sequential(*layers).eval()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.onnx.export(net, (torch.zeros(1, 3, 64, 64),), str(path), dynamo=False, opset_version=17, **names)


def onnxruntime_alone(path, raster):
    """Return the seconds that the net alone takes over all windows, values in memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    values = gdal.Open(str(raster)).ReadAsArray()
    side, seconds, cpu = values.shape[1], 0.0, 0.0
    for row in range(0, side, WINDOW_PX):
        for column in range(0, side, WINDOW_PX):
            window = values[None, :, row : row + WINDOW_PX, column : column + WINDOW_PX].astype(np.float32) / 255
            started = time.perf_counter(), time.process_time()
            session.run(None, {"x": window})
            seconds += time.perf_counter() - started[0]
            cpu += time.process_time() - started[1]
    return seconds, cpu


def main():
    """Print what each took."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("side", nargs="?", type=int, default=8192)
    arguments.add_argument("folder", nargs="?", type=Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = given.folder or Path(own)
        write_raster(folder / "r.tif", given.side)
        write_net(folder / "m.onnx")
        scaling = {"offset": "0", "scale": "255"}
        names = {"classes": CLASSES, "bands": "red, green, blue", "pixel_size": 10.0, **scaling}
        output = {"onnx": str(folder / "m.onnx"), "output": str(folder / "m.geodl")}
        print(run_job("importonnx", {**output, **names}, SilentProgress()))
        settings = {"model": str(folder / "m.geodl"), "predictors": [str(folder / "r.tif")]}
        settings |= {"output": str(folder / "map.tif"), "polygons": str(folder / "map.gpkg")}
        (folder / "s.json").write_text(json.dumps(settings))
        run = str(ROOT / "geodl_qgis_plugin" / "run_engine.py")
        chain = timed([sys.executable, "-E", run, "classifyraster", str(folder / "s.json")])
        alone = onnxruntime_alone(folder / "m.onnx", folder / "r.tif")
        print(
            f"load {Path('/proc/loadavg').read_text().split()[0]}, {torch.get_num_threads()} threads, {given.side} pixels"
        )
        print(f"GeoDL, classes and polygons: {chain[0]:.1f} s, {chain[1]:.1f} CPU s, {chain[2]:.0f} MiB")
        print(
            f"ONNX Runtime, net alone: {alone[0]:.1f} s, {alone[1]:.1f} CPU s; GeoDL takes {chain[0] / alone[0]:.2f} times that"
        )


if __name__ == "__main__":
    main()
