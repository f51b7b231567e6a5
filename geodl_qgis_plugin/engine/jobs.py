"""The jobs that the engine knows: a name, the module that does the work, and nothing imported before it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from .errors import SettingsError
from .messages import Progress
from .ranks import launched
from .settings import read_settings

# name of the job, as of the algorithm → module with a dataclass `Settings` and a function `run(settings, progress)`
JOBS = {
    "terrainpredictors": "rasters.terrain",
    "magneticpredictors": "rasters.magnetics",
    "gridpoints": "rasters.gridding",
    "extracttiles": "training_data.extraction",
    "exporttiles": "training_data.export",
    "trainclassifier": "classification.training_job",
    "tuneclassifier": "classification.tuning_job",
    "classifyraster": "classification.classification_job",
    "classifyrasters": "classification.many_rasters_job",
    "assessclassification": "classification.assessment",
    "trainforecaster": "forecasting.training_job",
    "forecastseries": "forecasting.forecast_job",
    "describemodel": "classification.description",
    "exportonnx": "classification.interchange.export_job",
    "importonnx": "classification.interchange.import_job",
    "setup": "setup",
}

RANKED: tuple[str, ...] = (
    "trainclassifier",
    "trainforecaster",
)  # jobs that several processes under torchrun do together


def run_job(name: str, values: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """
    Run the job ``name`` with plain settings and return its outputs by name.

    Raises
    ------
    SettingsError
        If there is no such job or its settings do not fit; before any work is done.
    """
    if name not in JOBS:
        raise SettingsError(f"There is no job {name!r}. The engine knows {', '.join(JOBS)}.")
    ranks = launched()
    if ranks is not None and ranks.size > 1 and name not in RANKED:
        raise SettingsError(
            f"The job {name} is done by one process, but torchrun started {ranks.size}. Start it without torchrun."
        )
    module = importlib.import_module(f"{__package__}.{JOBS[name]}")
    settings = read_settings(module.Settings, values)
    result: dict[str, Any] = module.run(settings, progress)
    return result
