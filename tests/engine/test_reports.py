"""Reports: self-contained pages whose text is escaped, and charts that live with any classes."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from osgeo import osr

from geodl_qgis_plugin.engine.classes import classes_from_names
from geodl_qgis_plugin.engine.classification.metrics import Accuracy
from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.reports import charts, maps
from geodl_qgis_plugin.engine.reports.page import Page, Swatch
from geodl_qgis_plugin.engine.reports.svg import figure_to_svg


def _accuracy(count, names=None):
    generator = np.random.default_rng(count)
    matrix = generator.integers(0, 50, (count, count)) + np.diag(generator.integers(100, 90_000, count))
    return Accuracy.from_confusion(matrix, classes_from_names(names or [f"class {i}" for i in range(count)]))


class _Ids(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.references, self.outside = [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href") and value.startswith("#"):
                self.references.append(value[1:])
            elif name in ("href", "src", "xlink:href") and not value.startswith("data:"):
                self.outside.append(value)
            self.references += re.findall(r"url\(#([^)]+)\)", value or "")


def test_a_page_needs_nothing_beside_it():
    """No script, no address outside the page; every id is unique and every reference finds its id."""
    page = Page("Title")
    for _ in range(2):
        page.section("Section")
        page.svg(charts.confusion_matrix(_accuracy(4)), "Matrix")
        page.svg(maps.class_map(np.arange(16).reshape(4, 4) % 5, classes_from_names("abcd")), "Map", half=True)
    page.image(np.zeros((4, 6, 3), np.uint8))
    html = page.html()
    found = _Ids()
    found.feed(html)
    assert "<script" not in html
    assert found.outside == []
    assert len(found.ids) == len(set(found.ids))
    assert found.references
    assert set(found.references) <= set(found.ids)


def test_text_from_layers_is_escaped():
    """Names from a layer cannot become markup, in tables, captions, key figures, settings or charts."""
    evil = '<img src=x onerror="alert(1)">&'
    page = Page(evil, evil)
    page.lead(evil)
    page.figures([(evil, evil, evil)])
    page.section(evil)
    page.text(evil)
    page.warning(evil)
    page.table([evil], [[evil], [Swatch(evil, evil)]], evil)
    page.svg(charts.per_class_bars(_accuracy(3, [evil, "a$b$", "\\frac"])), evil)
    page.settings({evil: [evil]})
    html = page.html()
    assert "<img src=x" not in html
    assert "a$b$" in html


def test_numbers_in_tables():
    """Missing values become a dash, whole numbers get separators, and number columns are right-aligned."""
    page = Page("Title")
    page.table(
        ["Class", "F1", "Pixels"], [["a", 0.51234, 12345], ["b", None, 7], ["c", float("nan"), 1]], highlight=[1]
    )
    html = page.html()
    assert '<td class="l">a</td><td class="r">0.512</td><td class="r">12,345</td>' in html
    assert '<tr class="highlight"><td class="l">b</td><td class="r">–</td>' in html
    assert '<td class="l">c</td><td class="r">–</td>' in html


def test_texts_that_are_numbers_stand_as_numbers():
    """A column of percentages is right-aligned, one of names that hold digits is not; lists and empty settings read as text."""
    page = Page("Title")
    page.table(["Share", "Name", "Deviation"], [["52.3 %", "1", "1.2e+04"], [None, "2nd", "-0.5"]])
    page.settings({"predictors": ["dem.tif", "mag.tif"], "class_field": "", "minutes": 0})
    html = page.html()
    assert '<td class="r">52.3 %</td><td class="l">1</td><td class="r">1.2e+04</td>' in html
    assert "<td>predictors</td><td>dem.tif, mag.tif</td>" in html
    assert "<td>class_field</td><td>–</td>" in html
    assert "<td>minutes</td><td>0</td>" in html


@pytest.mark.parametrize("count", [1, 2, 10, 11, 30])
def test_confusion_matrices_of_any_number_of_classes(count):
    """Every class is named twice, with its support; long names are cut and dollar signs are no formula."""
    accuracy = _accuracy(count, [f"Unit {i} $x_{i}" for i in range(count)])
    svg = figure_to_svg(charts.confusion_matrix(accuracy))
    for i in range(count):
        assert svg.count(f">Unit {i} $x_{i}<") == 2
    assert figure_to_svg(charts.per_class_bars(accuracy, {"forest": accuracy}))


@pytest.mark.filterwarnings("error")
def test_charts_live_with_missing_values():
    """Empty classes, one epoch, NaN losses, empty bins: a chart comes out and no warning is raised."""
    nothing = Accuracy.from_confusion(np.zeros((3, 3)), classes_from_names("abc"))
    figures = [
        charts.confusion_matrix(nothing),
        charts.per_class_bars(nothing),
        charts.learning_curves([{"epoch": 1, "training_loss": float("nan"), "validation_kappa": 0.2}], 1),
        charts.learning_curves([{"training_loss": 1.0}, {"training_loss": 0.5, "validation_loss": 0.7}]),
        charts.reliability_diagram([0.2, np.nan], [0.1, np.nan], [10, 0]),
        charts.score_over_distance([0, 3000, 9000], {"U-Net": [0.8, np.nan]}, [10, 0]),
        charts.band_histograms(["a"], [[0, 0]], [[0, 1, 2]]),
    ]
    for figure in figures:
        assert figure_to_svg(figure).startswith("<svg")


def test_the_same_chart_is_the_same_text():
    """Reports can be compared: neither a date nor a random id gets in."""
    first, second = (figure_to_svg(charts.confusion_matrix(_accuracy(5)), "d1-") for _ in range(2))
    assert first == second


@pytest.mark.parametrize("transform", [(700_000, 90, 0, 4_060_000, 0, -90), (700_000, 90, 0, 4_060_000, 0, 90)])
def test_maps_lie_where_they_are(transform):
    """The first row of a north-up raster is drawn at the top, that of a south-up one at the bottom."""
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32616)
    grid = Grid(crs.ExportToWkt(), transform, 100, 50)
    codes = np.ones((50, 100), int)
    axes = maps.class_map(codes, classes_from_names("a"), grid).axes[0]
    west, south, east, north = grid.bounds
    assert axes.get_xlim() == (west, east)
    assert axes.get_ylim() == (south, north)
    left, _, _, top = axes.images[0].get_extent()
    assert (left, top) == (700_000, 4_060_000)
    svg = figure_to_svg(maps.split_map(codes, grid, [np.array([[west, south], [east, north]])]))
    assert "Easting (km)" in svg
    assert "2 km" in svg or "1 km" in svg


def test_a_large_map_is_thinned():
    """A raster of 36 million pixels becomes a report of less than a megabyte."""
    codes = np.tile(np.arange(1, 4, dtype=np.uint8), (6000, 2000))
    assert len(figure_to_svg(maps.class_map(codes, classes_from_names("abc")))) < 1_000_000
