"""What all tests share: the plugin's import names in a checkout, and a home of their own."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import geodl_qgis_plugin

geodl_qgis_plugin.__path__.append(str(ROOT))  # processing_algorithms, which packaging copies into the plugin's folder
