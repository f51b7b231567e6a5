"""GeoDL: deep learning on Earth-science layers, as QGIS Processing algorithms."""


def classFactory(iface):
    """Return the plugin; QGIS calls this when it loads it."""
    from .plugin import GeoDLPlugin  # noqa: PLC0415 - the engine imports this package without QGIS

    return GeoDLPlugin(iface)
