"""Find the Python that runs the engine, and the folder with the packages it needs."""

import importlib.machinery
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication

from geodl_qgis_plugin.engine.errors import GeoDLError

PYTHON_SETTING = "geodl/python"
PYTHON_VARIABLE = "GEODL_PYTHON"


@dataclass(frozen=True)
class Interpreter:
    """
    A Python for the engine.

    ``packages`` is GeoDL's package folder, or none where the user named an interpreter, which has packages of its own.
    """

    program: str
    packages: Path | None
    named_by: str | None = None


class NoInterpreterError(GeoDLError):
    """There is no Python that could run the engine."""


def find_interpreter() -> Interpreter:
    """
    Return the Python named in the environment or in QGIS's settings, else QGIS's own with GeoDL's package folder.

    Raises
    ------
    NoInterpreterError
        If the one that was named does not exist, or QGIS's own is not found.
    """
    for named_by, program in (
        (PYTHON_VARIABLE, os.environ.get(PYTHON_VARIABLE, "")),
        (
            QCoreApplication.translate("GeoDL", "Settings › Options › GeoDL"),
            QgsSettings().value(PYTHON_SETTING, "", type=str),
        ),
    ):
        if program:
            if shutil.which(program) is None:
                text = QCoreApplication.translate(
                    "GeoDL",
                    "{} names {} as the engine's Python, but there is no such program. Correct it or leave it empty.",
                )
                raise NoInterpreterError(text.format(named_by, program))
            return Interpreter(program, None, named_by)
    return Interpreter(qgis_python(), package_folder())


def package_folder() -> Path:
    """Return GeoDL's package folder: in the user's profile, so that an update of the plugin keeps it."""
    version = sys.implementation.cache_tag.replace("cpython-", "cp")
    return Path(QgsApplication.qgisSettingsDirPath(), "geodl", f"packages-{version}")


def qgis_python() -> str:
    """
    Return the path of QGIS's own Python interpreter.

    Inside QGIS ``sys.executable`` may be QGIS itself, which would start a second QGIS: names under Python's own folder
    are tried instead, as the installers for Windows, macOS and Linux lay them out.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if sys.platform == "win32":
        names = [Path(sys.exec_prefix, name) for name in ("python.exe", "python3.exe")]
        names += [Path(QgsApplication.applicationDirPath(), name) for name in ("python3.exe", "python.exe")]
    else:
        folders = [
            Path(sys.prefix, "bin"),
            Path(QgsApplication.applicationDirPath(), "bin"),
            Path(sys.base_prefix, "bin"),
        ]
        names = [folder / name for folder in folders for name in (version, "python3")]
    for name in names:
        if name.is_file() and os.access(name, os.X_OK):
            return str(name)
    text = QCoreApplication.translate(
        "GeoDL", "QGIS's own Python was not found (looked for {}). Name one in Settings › Options › GeoDL."
    )
    raise NoInterpreterError(text.format(names[0]))


def missing_packages(needed: tuple[str, ...]) -> list[str]:
    """
    Name those of `needed` that QGIS's Python would not find for the engine, without importing any.

    An interpreter that the user named is not asked: starting it takes as long as the job's own check.
    """
    interpreter = find_interpreter()
    if interpreter.packages is None:
        return []
    path = [str(interpreter.packages), *sys.path]
    return [name for name in needed if importlib.machinery.PathFinder.find_spec(name, path) is None]
