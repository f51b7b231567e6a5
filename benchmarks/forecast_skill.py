"""
Score GeoDL's forecaster under the protocol that lies beside the checkout, on the origins and the metrics that it fixes.

    python benchmarks/forecast_skill.py uk_tmean ie_wind uk_rain

Needs pandas (for the protocol) and ../shared; says so and ends where they are not there. With ``--neuralforecast`` and
``--autoets`` those packages' models are scored and timed at the same origins, where they are installed.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("GEODL_SHARED", ROOT.parent / "shared"))
sys.path.insert(0, str(ROOT))


def score_geodl(protocol, task, seed, model):
    from geodl_qgis_plugin.engine.forecasting.frequency import Frequency
    from geodl_qgis_plugin.engine.forecasting.seasons import Calendar

    frequency = Frequency("month", 1) if task.freq == "MS" else Frequency("second", 86400)
    calendar = Calendar(frequency, int(frequency.number(np.array([task.ds[0].to_datetime64()]))[0]))
    before = task.raw[:, : task.i0]
    started, worked = time.perf_counter(), time.process_time()
    method, note = model(before, calendar, task, seed)
    answers = [method(task.raw[:, :cut]) for cut in task.cuts]
    seconds = time.perf_counter() - started
    print(f"  {seconds:.1f} s, {time.process_time() - worked:.1f} s of processor time")
    quantiles = np.stack([answer[0] for answer in answers], 1)
    print(f"  {note}")
    rows = [protocol.score(task, quantiles[..., 3], quantiles, f"GeoDL {model.__name__}, seed {seed}", seconds)]
    for name in answers[0][1]:
        rows.append(protocol.score(task, np.stack([answer[1][name] for answer in answers], 1), None, name))
    return rows


def anomaly(before, calendar, task, seed):
    from geodl_qgis_plugin.engine.forecasting.core import Side
    from geodl_qgis_plugin.engine.forecasting.forecaster import fit_forecaster, predict
    from geodl_qgis_plugin.engine.forecasting.input_length import default_input_length
    from geodl_qgis_plugin.engine.forecasting.transforms import choose_transform
    from geodl_qgis_plugin.engine.forecasting.windows import Shape

    places = task.static[["lon", "lat"]].to_numpy(float)
    side = Side.of_training(len(before), places)
    shape = Shape(default_input_length(calendar.frequency, task.h), task.h)
    transform = choose_transform(before, "auto", task.target == "rain_mm")
    fitted = fit_forecaster(before, side, calendar, shape, transform, seed=seed)

    def method(history):
        answer = predict(fitted, history, side, calendar)
        return answer.quantiles, answer.parts

    return method, f"trend {fitted.trend}, transform {transform}, {fitted.gate.sentence}"


def neuralforecast_lstm(task, steps=1000):
    """Return the answers of neuralforecast's default LSTM at the same origins, and the seconds that training and they took."""
    import logging

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    frame = task.long()
    started = time.perf_counter()
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False, "enable_model_summary": False}
    model = LSTM(h=task.h, max_steps=steps, random_seed=0, **quiet)
    library = NeuralForecast(models=[model], freq=task.freq)
    library.fit(frame[frame.ds < task.ds[task.i0]])
    found = [
        library.predict(frame[frame.ds < task.ds[cut]])["LSTM"].to_numpy().reshape(-1, task.h) for cut in task.cuts
    ]
    return np.stack(found, 1), time.perf_counter() - started


def autoets(task):
    """Return AutoETS at every origin, fitted anew at each."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    frame = task.long()
    found = []
    started = time.perf_counter()
    for cut in task.cuts:
        library = StatsForecast(models=[AutoETS(season_length=task.m)], freq=task.freq, n_jobs=1)
        answer = library.forecast(df=frame[frame.ds < task.ds[cut]], h=task.h)
        found.append(answer["AutoETS"].to_numpy().reshape(-1, task.h))
    return np.stack(found, 1), time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["uk_tmean", "ie_wind", "uk_rain"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--neuralforecast", action="store_true")
    parser.add_argument("--autoets", action="store_true")
    options = parser.parse_args()
    if not (SHARED / "benchmarks" / "forecast_protocol.py").exists():
        print("The shared protocol and data are not beside this checkout: nothing was measured.")
        return
    os.environ["GEODL_FC_DATA"] = str(SHARED / "data")
    sys.path.insert(0, str(SHARED / "benchmarks"))
    import forecast_protocol as protocol

    os.chdir(tempfile.mkdtemp())  # the protocol keeps its predictions in the working folder
    print(f"Load of the machine: {os.getloadavg()[0]:.1f}")
    for name in options.sets:
        task = protocol.Task(name)
        print(f"{name}: {len(task.ids)} stations, {len(task.cuts)} origins")
        rows = score_geodl(protocol, task, options.seed, anomaly)
        for wanted, run in (("neuralforecast", neuralforecast_lstm), ("autoets", autoets)):
            if getattr(options, wanted):
                worked = time.process_time()
                points, seconds = run(task)
                print(f"  {wanted}: {seconds:.1f} s, {time.process_time() - worked:.1f} s of processor time")
                rows.append(protocol.score(task, points, None, wanted, seconds))
        protocol.save(rows, Path("scores.json"))


if __name__ == "__main__":
    main()
