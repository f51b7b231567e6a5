"""Where the plugin's own files lie, in a checkout and installed."""

import configparser
from pathlib import Path

import geodl_qgis_plugin


def icon_path(name: str = "geodl.svg") -> str:
    """Return the path of one of the plugin's icons."""
    return str(Path(geodl_qgis_plugin.__path__[0], "icons", name))


def plugin_version() -> str:
    """Return the version that metadata.txt states; it lies in the installed plugin's folder, in a checkout above it."""
    folder = Path(geodl_qgis_plugin.__path__[0])
    metadata = configparser.ConfigParser()
    metadata.read([folder.parent / "metadata.txt", folder / "metadata.txt"], encoding="utf-8")
    return metadata["general"]["version"]
