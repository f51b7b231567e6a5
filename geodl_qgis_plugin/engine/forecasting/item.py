"""What a model file says of a forecaster: a STAC item with footprint, period, scores and the machine learning extension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from osgeo import osr

from ..model_file import stac_item
from .evaluation import MODEL, Evaluation
from .model import ForecastModel
from .seasons import Array
from .series import StationSeries
from .transforms import some_values


def forecaster_item(
    model: ForecastModel,
    series: StationSeries,
    judged: Mapping[str, Evaluation],
    block: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the item of a trained forecaster."""
    names = ", ".join(model.fitted)
    scores = {}
    for name, one in judged.items():
        best, spread = one.scores(), one.spread_scores(MODEL)
        scores[name] = {
            "mase": best[MODEL].mase,
            "mae": best[MODEL].mae,
            "crps": float(spread["crps"]),
            "mae_by_lead": best[MODEL].by_lead.mae.tolist(),
            "coverage_80": float(spread["coverage_80"]),
            "coverage_90": float(spread["coverage_90"]),
            "baselines": {method: score.mase for method, score in best.items() if method != MODEL},
            "origins": len(one.origins),
        }
    usual = {name: _usual(series.values[name]) for name in model.fitted}
    own = {
        **block,
        "scores": scores,
        "usual_values": usual,
        "places": np.round(series.coordinates, 6).tolist() if len(series.stations) <= 20_000 else [],
        "crs": series.crs,
        "trained_from": str(series.start(0)),
        "trained_until": str(series.start(series.length)),
        "settings": dict(settings),
    }
    properties = {
        "start_datetime": f"{series.start(0)}Z",
        "end_datetime": f"{series.start(series.length)}Z",
        "title": f"Forecaster of {names}",
        "mlm:name": f"GeoDL forecaster of {names}",
        "mlm:architecture": "LSTM",
        "mlm:tasks": ["regression"],
        "mlm:framework": "pytorch",
        "mlm:input": [],
        "mlm:output": [],
        "geodl:kind": "forecaster",
        "geodl:forecaster": own,
    }
    return stac_item(f"forecaster-{'-'.join(model.fitted)}", _footprint(series), properties)


def _usual(values: Array) -> list[float]:
    """Return the 1st, 50th and 99th percentile."""
    return [float(value) for value in np.quantile(some_values(values), [0.01, 0.5, 0.99])]


def _footprint(series: StationSeries) -> dict[str, Any] | None:
    """Return the rectangle around the stations in longitude and latitude, none where the CRS is unknown."""
    if not series.crs:
        return None
    source, target = osr.SpatialReference(), osr.SpatialReference()
    source.ImportFromWkt(series.crs)
    target.ImportFromEPSG(4326)
    for reference in (source, target):
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    change = osr.CoordinateTransformation(source, target)
    places = np.array([change.TransformPoint(float(x), float(y))[:2] for x, y in series.coordinates])
    (west, south), (east, north) = places.min(axis=0), places.max(axis=0)
    pad = 1e-3 if east - west < 1e-3 or north - south < 1e-3 else 0.0
    west, south, east, north = west - pad, south - pad, east + pad, north + pad
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [[[float(x), float(y)] for x, y in ring]]}
