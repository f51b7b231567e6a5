"""The engine: numpy, GDAL, PyTorch and scikit-learn in a process of their own; it never imports qgis."""
