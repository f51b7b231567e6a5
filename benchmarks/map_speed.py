"""
How fast `classifyraster` maps: beside the naive way, ONNX Runtime on the same windows, and the cores' convolution peak.

    python benchmarks/map_speed.py [rows] [columns] [folder] [--openvino PYTHON] [--without naive]

A U-Net of about 1.9 million weights, untrained, over a tiled GeoTIFF of four float32 bands. Each way runs in a process of its
own; seconds are from its start to the finished files, imports included. But of ONNX Runtime and OpenVINO the model alone is
timed, on one window of GeoDL's size, halo included, and multiplied by their number. OpenVINO may be installed for another
Python, which is then named. CPU seconds say more than the clock's beside other work.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WIDTHS, CLASSES, BANDS = [32, 64, 128, 320], "abcdefgh", 4


def prepare(folder, rows, columns):
    import numpy as np
    from osgeo import gdal

    from geodl_qgis_plugin.engine.bands import Band
    from geodl_qgis_plugin.engine.classification.networks import choose_architecture
    from tests.engine.models import write_classifier
    from tests.engine.planted import reference

    options = ["TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=512"]
    target = gdal.GetDriverByName("GTiff").Create(
        str(folder / "r.tif"), columns, rows, BANDS, gdal.GDT_Float32, options=options
    )
    target.SetProjection(reference(32633).ExportToWkt())
    target.SetGeoTransform((400000, 10, 0, 5400000, 0, -10))
    random = np.random.default_rng(0)
    for row in range(0, rows, 512):
        height = min(512, rows - row)
        y, x = np.mgrid[row : row + height, 0:columns].astype(np.float32)
        for band in range(BANDS):
            wave = np.sin(x / (17 + 9 * band)) * np.cos(y / (23 + 5 * band))
            noise = random.standard_normal((height, columns), dtype=np.float32)
            target.GetRasterBand(band + 1).WriteArray(wave + 0.3 * noise, 0, row)
            target.GetRasterBand(band + 1).SetDescription(f"b{band}")
    del target
    bands = [Band(f"b{band}") for band in range(BANDS)]
    architecture = choose_architecture("unet", "each pixel", bands, len(CLASSES), 128, {"widths": WIDTHS})
    write_classifier(folder / "m.geodl", architecture, bands, list(CLASSES), pixel_m=10.0, crs=32633)


def naive(folder):
    """Map with windows of 512 pixels that overlap by half, blended by Gaussian weights in memory."""
    import numpy as np
    import torch
    from osgeo import gdal

    from geodl_qgis_plugin.engine.classification.networks import Architecture
    from geodl_qgis_plugin.engine.model_file import read_model

    file = read_model(folder / "m.geodl")
    net = Architecture.from_dict(file.part("classifier")["architecture"]).build().eval()
    net.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in file.weights.items()})
    source = gdal.Open(str(folder / "r.tif"))
    rows, columns = source.RasterYSize, source.RasterXSize
    line = np.exp(-0.5 * ((np.arange(512) - 255.5) / 128) ** 2)
    weight = np.outer(line, line).astype(np.float32)
    sums, total = np.zeros((len(CLASSES), rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    starts = [sorted({*range(0, max(side - 511, 1), 256), max(side - 512, 0)}) for side in (rows, columns)]
    with torch.inference_mode():
        for row in starts[0]:
            for column in starts[1]:
                values = torch.from_numpy(source.ReadAsArray(column, row, 512, 512))[None]
                shares = torch.softmax(net(values), dim=1)[0].numpy()
                sums[:, row : row + 512, column : column + 512] += shares * weight
                total[row : row + 512, column : column + 512] += weight
    sums /= total
    for name, values in (("naive", sums.argmax(0).astype(np.uint8) + 1), ("naive_sure", sums.max(0))):
        kind = gdal.GDT_Byte if name == "naive" else gdal.GDT_Float32
        options = ["TILED=YES", "COMPRESS=DEFLATE"]
        out = gdal.GetDriverByName("GTiff").Create(str(folder / f"{name}.tif"), columns, rows, 1, kind, options=options)
        out.WriteArray(values)


def parts(folder):
    """Measure the peak, a window's useful operations, and ONNX Runtime on a window; print them as JSON."""
    import numpy as np
    import torch

    from geodl_qgis_plugin.engine.classification.classification_job import Settings, prepare
    from geodl_qgis_plugin.engine.classification.networks import Architecture
    from geodl_qgis_plugin.engine.environment import tune_memory, tune_threads
    from geodl_qgis_plugin.engine.jobs import run_job
    from geodl_qgis_plugin.engine.messages import SilentProgress
    from geodl_qgis_plugin.engine.model_file import read_model

    tune_threads()
    tune_memory()
    settings = Settings(model=str(folder / "m.geodl"), predictors=[str(folder / "r.tif")], output=str(folder / "x.tif"))
    work = prepare(settings, SilentProgress())
    net = Architecture.from_dict(read_model(folder / "m.geodl").part("classifier")["architecture"]).build().eval()
    operations, weights = [0], sum(p.numel() for p in net.parameters())
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, y: operations.__setitem__(0, operations[0] + 2 * y.numel() * m.weight[0].numel())
            )
    with torch.inference_mode():
        net(torch.zeros(1, BANDS, 64, 64))
        peak = (0.0, 0.0)
        for channels, side in ((64, 256), (128, 128), (256, 64)):
            x = torch.randn(1, channels, side, side).to(memory_format=torch.channels_last)
            convolution = torch.nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
            amount = 2 * 9 * channels**2 * side**2
            clock, cpu = best(lambda: convolution(x), 12)  # noqa: B023
            peak = max(peak[0], amount / clock), max(peak[1], amount / cpu)
    run_job(
        "exportonnx", {"model": settings.model, "output": str(folder / "m.onnx"), "any_size": True}, SilentProgress()
    )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), options, providers=["CPUExecutionProvider"])
    outer = work._reading(work.blocks[len(work.blocks) // 2]).outer
    values = np.random.default_rng(0).normal(0, 1, (1, BANDS, outer.height, outer.width)).astype(np.float32)
    np.save(folder / "window.npy", values)
    clock, cpu = best(lambda: session.run(None, {session.get_inputs()[0].name: values}), 5)
    area = sum((r := work._reading(block).outer).height * r.width for block in work.blocks)
    scale = area / (outer.height * outer.width)
    result = {"operations_px": operations[0] / 64**2, "weights": weights, "windows": len(work.blocks), "scale": scale}
    result |= {"window": values.shape[2:], "read": area / rows_by_columns(folder)}
    print(json.dumps(result | {"peak": peak, "onnxruntime": [clock * scale, cpu * scale]}))


def rows_by_columns(folder):
    from osgeo import gdal

    source = gdal.Open(str(folder / "r.tif"))
    return source.RasterXSize * source.RasterYSize


def openvino(folder):
    """Print seconds by the clock and of the processor for the window, in float32 (the hint keeps bfloat16 away)."""
    import os

    import numpy as np
    from openvino import Core

    values = np.load(folder / "window.npy")
    core = Core()
    model = core.read_model(str(folder / "m.onnx"))
    model.reshape(values.shape)
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", options | {"INFERENCE_NUM_THREADS": os.cpu_count()})
    request = compiled.create_infer_request()
    print(json.dumps(best(lambda: request.infer([values]), 5)))


def best(function, times):
    function()
    found = []
    for _ in range(times):
        clock, cpu = time.perf_counter(), time.process_time()
        function()
        found.append((time.perf_counter() - clock, time.process_time() - cpu))
    return min(one for one, _ in found), min(one for _, one in found)


def timed(command):
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = __import__("os").wait4(process.pid, 0)
        process.returncode = status
    if status:
        raise SystemExit(f"{command} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("rows", nargs="?", type=int, default=4096)
    arguments.add_argument("columns", nargs="?", type=int, default=8192)
    arguments.add_argument("folder", nargs="?", type=Path)
    arguments.add_argument("--openvino", default=sys.executable)
    arguments.add_argument("--without", nargs="*", default=[])
    given = arguments.parse_args()
    rows, columns, folder = given.rows, given.columns, given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    prepare(folder, rows, columns)
    measured = {}
    for name, fast in (("GeoDL", False), ("GeoDL, fast", True)):
        settings = {"model": str(folder / "m.geodl"), "predictors": [str(folder / "r.tif")], "fast": fast}
        outputs = {"output": str(folder / f"c{fast}.tif"), "confidence": str(folder / f"k{fast}.tif")}
        (folder / "s.json").write_text(json.dumps(settings | outputs))
        engine = str(ROOT / "geodl_qgis_plugin" / "run_engine.py")
        measured[name] = timed([sys.executable, "-E", engine, "classifyraster", str(folder / "s.json")])
    if "naive" not in given.without:
        measured["naive"] = timed([sys.executable, __file__, "--naive", str(folder)])
    facts = told([sys.executable, __file__, "--parts", str(folder)])
    pixels, sides = rows * columns, " x ".join(map(str, facts["window"]))
    print(f"{rows} x {columns} pixels, {facts['weights']:,} weights, {facts['operations_px']:,.0f} operations a pixel")
    print(f"{facts['windows']} windows of {sides}: {facts['read']:.3f} pixels computed for each one written")
    for name, (clock, cpu, peak) in measured.items():
        useful = facts["operations_px"] * pixels
        share = useful / clock / facts["peak"][0], useful / cpu / facts["peak"][1]
        print(f"{name}: {clock:.1f} s, {cpu:.1f} CPU s, {peak:.0f} MiB, {share[0]:.2f} / {share[1]:.2f} of the peak")
    print(f"peak: {facts['peak'][0] / 1e9:.0f} and, of a second of the processor, {facts['peak'][1] / 1e9:.0f} GFLOP")
    print(f"ONNX Runtime, net alone: {facts['onnxruntime'][0]:.1f} s, {facts['onnxruntime'][1]:.1f} CPU s")
    try:
        clock, cpu = told([given.openvino, __file__, "--openvino-window", str(folder)])
    except subprocess.CalledProcessError:
        print("OpenVINO is not installed for this Python; name one that has it with --openvino.")
    else:
        print(f"OpenVINO, net alone: {clock * facts['scale']:.1f} s, {cpu * facts['scale']:.1f} CPU s")


def told(command):
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    parts_of = {"--naive": naive, "--parts": parts, "--openvino-window": openvino}
    if sys.argv[1:] and sys.argv[1] in parts_of:
        parts_of[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
