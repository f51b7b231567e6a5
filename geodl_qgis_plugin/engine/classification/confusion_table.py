"""Write a confusion matrix as a table: CSV, or any other format that GDAL writes without geometry."""

from __future__ import annotations

from pathlib import Path

from ..tables import write_table
from .metrics import Accuracy


def write_confusion(path: str | Path, accuracy: Accuracy) -> None:
    """
    Write one row a reference class: its name, a count for each mapped class, and the class's scores.

    Raises
    ------
    OutputError
        If the format is unknown or the file cannot be written.
    """
    scores = {"precision": accuracy.precision, "recall": accuracy.recall, "f1": accuracy.f1, "iou": accuracy.iou}
    fields: list[tuple[str, type]] = [("reference", str)]
    fields += [(f"mapped {one.name}", int) for one in accuracy.classes]
    fields += [(name, float) for name in scores]
    rows = [
        [one.name, *(int(count) for count in accuracy.confusion[i]), *(values[i] for values in scores.values())]
        for i, one in enumerate(accuracy.classes)
    ]
    write_table(path, "confusion", fields, rows)
