"""The Processing algorithms of GeoDL: what QGIS lists, one algorithm a file."""
