"""
Model files (`.geodl`): one ZIP, without compression, that describes a model, carries its weights, and can execute nothing.

Members are `item.json` (a STAC item with the Machine Learning Model extension), `weights.safetensors`, `report.html` and
optionally `model.onnx`. The architecture is a name and numbers. Each member is read in memory, within a size limit, and checked
against the SHA-256 that the item holds of it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ModelFileError
from .files import check_source, whole_file

FORMAT_VERSION = 1
ITEM, WEIGHTS, REPORT, ONNX = "item.json", "weights.safetensors", "report.html", "model.onnx"
STAC_EXTENSIONS = [
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
]
TRAINING_POINTS = "applicability."  # begins the names of arrays that are no weights but training points
_LIMITS_BYTES = {ITEM: 64 * 2**20, WEIGHTS: 8 * 2**30, REPORT: 256 * 2**20, ONNX: 2 * 2**30}
_MEDIA_TYPES = {
    WEIGHTS: "application/octet-stream; application=safetensors",
    REPORT: "text/html",
    ONNX: "application/octet-stream; application=onnx",
}
_ROLES = {WEIGHTS: ["mlm:model", "mlm:weights"], REPORT: ["metadata"], ONNX: ["mlm:model"]}
_MULTIHASH_SHA256 = "1220"
# zipfile raises the last two for flags that were altered: a member then seems encrypted, or to end early
_SIGNS_OF_DAMAGE = (
    zipfile.BadZipFile,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OSError,
    RuntimeError,
    EOFError,
)


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds; ``sha256`` is that of the whole file."""

    path: Path
    item: dict[str, Any]
    weights: dict[str, npt.NDArray[Any]]
    report: str
    onnx: bytes | None
    sha256: str

    @property
    def kind(self) -> str:
        """Return ``classifier`` or ``forecaster``."""
        return str(self.item["properties"]["geodl:kind"])

    def part(self, kind: str) -> dict[str, Any]:
        """
        Return GeoDL's own description of a model of that kind.

        Raises
        ------
        ModelFileError
            If the model is of another kind.
        """
        if self.kind != kind:
            raise ModelFileError(
                f"{self.path.name} is a {self.kind}, but a {kind} is needed. Choose another model file."
            )
        return dict(self.item["properties"][f"geodl:{kind}"])


def write_model(
    path: str | Path,
    item: Mapping[str, Any],
    weights: Mapping[str, npt.NDArray[Any]],
    report: str | None = None,
    onnx: bytes | None = None,
) -> None:
    """
    Write a model file, whole or not at all; the same contents give the same bytes.

    Parameters
    ----------
    item : mapping
        A STAC item; its ``properties`` hold ``geodl:kind`` and ``geodl:<kind>``. Assets with checksums are added here.
    weights : mapping
        Arrays by name.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - only where models are written

    members = {WEIGHTS: save({name: np.ascontiguousarray(array) for name, array in sorted(weights.items())})}
    if report is not None:
        members[REPORT] = report.encode()
    if onnx is not None:
        members[ONNX] = onnx
    assets = {name.partition(".")[0]: _asset(name, data) for name, data in members.items()}
    whole_item = {**item, "assets": assets, "geodl:format_version": FORMAT_VERSION}
    members = {ITEM: json.dumps(whole_item, ensure_ascii=False, indent=1).encode(), **members}
    with whole_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def read_model(path: str | Path) -> ModelFile:
    """
    Read and check a model file.

    Raises
    ------
    ModelFileError
        If the file is no GeoDL model, was cut short or altered, or was written by a later version.
    """
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    path = check_source(path, "The model file")
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise ModelFileError(
            f"{path.name} is no GeoDL model, or was cut short while it was copied. Copy it again, or choose a .geodl file."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename: _member(archive, info) for info in archive.infolist() if info.filename in _LIMITS_BYTES
            }
        item = json.loads(members[ITEM])
        version = item["geodl:format_version"]
        if version > FORMAT_VERSION:
            raise ModelFileError(f"{path.name} was written by a later version of GeoDL. Update the plugin to read it.")
        checksums = {asset["href"].removeprefix("./"): asset["file:checksum"] for asset in item["assets"].values()}
        for name in {*members, *checksums} - {ITEM}:  # a member without a checksum is as bad as a checksum without one
            if _checksum(members[name]) != checksums[name]:
                raise ModelFileError(
                    f"{name} in {path.name} was altered after training. Get the file again from its maker."
                )
        kind = item["properties"]["geodl:kind"]
        if not isinstance(item["properties"][f"geodl:{kind}"], dict):
            raise KeyError(kind)
        weights = load(members[WEIGHTS])
    except (*_SIGNS_OF_DAMAGE, SafetensorError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{path.name} is damaged or no GeoDL model ({type(error).__name__}: {error}). Get the file again from its maker."
        ) from error
    report = members.get(REPORT, b"").decode("utf-8", "replace")
    return ModelFile(path, item, weights, report, members.get(ONNX), hashlib.sha256(path.read_bytes()).hexdigest())


def stac_item(name: str, footprint: Mapping[str, Any] | None, properties: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a STAC item for a model.

    Parameters
    ----------
    footprint : mapping, optional
        GeoJSON polygon of the training area, longitude and latitude.
    """
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": STAC_EXTENSIONS,
        "id": name,
        "geometry": footprint,
        "properties": dict(properties),
        "links": [],
    }
    if footprint is not None:
        ring = np.asarray(footprint["coordinates"][0], dtype=float)
        item["bbox"] = [*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()]
    return item


def _asset(name: str, data: bytes) -> dict[str, Any]:
    return {
        "href": f"./{name}",
        "type": _MEDIA_TYPES[name],
        "roles": _ROLES[name],
        "file:size": len(data),
        "file:checksum": _checksum(data),
    }


def _checksum(data: bytes) -> str:
    return _MULTIHASH_SHA256 + hashlib.sha256(data).hexdigest()


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    limit = _LIMITS_BYTES[info.filename]
    if info.file_size > limit or info.compress_type != zipfile.ZIP_STORED:
        raise ModelFileError(
            f"{info.filename} in the model file is larger than {limit:,} bytes or compressed; it is refused."
        )
    return archive.read(info)
