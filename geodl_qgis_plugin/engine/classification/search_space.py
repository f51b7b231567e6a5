"""
What `tuneclassifier` tries: settings that matter for maps from few training areas, in ranges that make sense there.

Rates are tried as multiples of what suits the architecture, so that what is learnt about one helps with the others.
"""

from __future__ import annotations

from typing import Any

from .fitting import LEARNING_RATES
from .losses import LOSSES
from .networks import EACH_PIXEL
from .tuning_settings import Settings

BATCH_SIZES = {EACH_PIXEL: (8, 16, 32)}
TILE_BATCH_SIZES = (16, 32, 64)
# Channels at full resolution, where time goes, and after each halving.
WIDTHS = {
    "slim": [8, 16, 24, 32],
    "standard": [16, 24, 32, 48],
    "wide": [24, 40, 64, 96],
    "deep": [16, 24, 32, 48, 64],
}


def suggested(trial: Any, settings: Settings, architectures: list[str], tile_size_px: int) -> dict[str, Any]:
    """
    Return the settings of `trainclassifier` that a trial is to be made with.

    Parameters
    ----------
    trial : optuna.Trial or FixedTrial
    architectures : list of str
        Those to choose from.
    """
    whole = settings.task == EACH_PIXEL
    name = trial.suggest_categorical("architecture", architectures)
    rate = trial.suggest_float("rate factor", 0.1, 4.0, log=True)
    chosen: dict[str, Any] = {
        "architecture": name,
        "learning_rate": min(LEARNING_RATES[name] * rate, 1.0),
        "weight_decay": trial.suggest_float("weight decay", 1e-4, 0.3, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "class_weight": trial.suggest_float("class weight", 0.0, 0.6),
        "batch_size": trial.suggest_categorical("batch size", list(BATCH_SIZES.get(settings.task, TILE_BATCH_SIZES))),
        "augment": trial.suggest_categorical("augment", [True, False]),
    }
    chosen["loss"] = trial.suggest_categorical("loss", list(LOSSES))
    chosen["label_smoothing"] = trial.suggest_float("label smoothing", 0.0, 0.2)
    chosen["noise"] = trial.suggest_float("noise", 0.0, 0.3)
    if name == "unet" and whole:
        # A tile has to hold a few pixels of the deepest level.
        fitting = [key for key, widths in WIDTHS.items() if tile_size_px >= 2 ** (len(widths) + 1)] or ["standard"]
        chosen["widths"] = WIDTHS[trial.suggest_categorical("widths", fitting)]
    return chosen
