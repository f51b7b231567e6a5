"""GeoDL: deep learning on Earth-science layers, as QGIS Processing algorithms."""

from typing import Any


def classFactory(iface: Any) -> Any:
    """Return the plugin; QGIS calls this when it loads it."""
    from .plugin import GeoDLPlugin  # noqa: PLC0415 - the engine imports this package without QGIS

    return GeoDLPlugin(iface)
