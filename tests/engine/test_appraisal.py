"""The first sentence of a report: who is the better one, and whether either is of use."""

import numpy as np
import pytest

from geodl_qgis_plugin.engine.classes import LandClass
from geodl_qgis_plugin.engine.classification.appraisal import Appraisal
from geodl_qgis_plugin.engine.classification.calibration import Calibration
from geodl_qgis_plugin.engine.classification.metrics import Accuracy

CLASSES = [LandClass(1, "granite", "#aa0000"), LandClass(2, "schist", "#00aa00")]


def scored(right, wrong, other=40):
    """Return the accuracy of a map of 100 granite pixels, ``right`` of them named so, and 60 of schist, ``other`` named so."""
    return Accuracy.from_confusion(np.array([[right, wrong], [60 - other, other]]), CLASSES)


@pytest.mark.parametrize(
    ("net", "forest", "said", "useless"),
    [
        (scored(90, 10), scored(70, 30), "the U-Net is the better of the two.", False),
        (scored(70, 30), scored(90, 10), "map with it (ARCHITECTURE forest)", False),
        (scored(80, 20), scored(80, 20), "they are as good as each other.", False),
        (scored(40, 60), scored(40, 60), "they are as good as each other.", True),
        (scored(40, 60), scored(50, 50), "the forest is the better of the two", True),
        (scored(50, 50), scored(40, 60), "the U-Net is the better of the two.", True),
    ],
)
def test_the_first_sentence(net, forest, said, useless):
    """It names the better one, and says so where naming the most frequent class would do as well."""
    calibration = Calibration(1.0, 0, 0.0, 0.0)
    one = Appraisal("test", net, 0.0, forest, None, calibration, {}, name="U-Net")
    assert said in one.finding
    assert ("neither is of use" in one.finding) == useless
    assert "62.5\N{NO-BREAK SPACE}%" in one.finding or not useless
