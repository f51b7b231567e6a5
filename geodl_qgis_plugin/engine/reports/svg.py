"""Turn a matplotlib figure into SVG that can stand inside a page beside others."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

# ink that follows the page: what charts draw in these colours takes the page's, also in the dark
INK, MUTED, RULE, PAPER = "#1f2a34", "#5b6874", "#d3dae0", "#fffffe"
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--paper)"}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_PX_PER_PT = 96 / 72


def figure_to_svg(figure: Figure, prefix: str = "", label: str = "") -> str:
    """
    Return a figure as an SVG element.

    Parameters
    ----------
    prefix : str
        Put before every id, so that drawings do not borrow each other's clip paths.
    label : str
        What a screen reader says.
    """
    file = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "geodl", "svg.image_inline": True}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(file.getvalue())  # noqa: S314 - matplotlib's own
    _drop_globals(root)
    _rename(root, prefix)
    width = float(root.get("width", "0").removesuffix("pt")) * _PX_PER_PT
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("style", f"width: {width:.0f}px")
    root.set("role", "img")
    if label:
        root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def _drop_globals(root: ElementTree.Element) -> None:
    """Take out the metadata and the style sheet, whose selector would reach the whole page."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Give ids the prefix, drop those that nothing refers to, and let ink follow the page."""
    used = set()
    for element in root.iter():
        for value in element.attrib.values():
            used.update(re.findall(r"url\(#([^)]+)\)", value))
        target = element.get(f"{{{_XLINK}}}href", "")
        if target.startswith("#"):
            used.add(target[1:])
    for element in root.iter():
        identity = element.attrib.pop("id", "")
        if identity in used:
            element.set("id", prefix + identity)
        for name, value in list(element.attrib.items()):
            if name == f"{{{_XLINK}}}href" and value.startswith("#"):
                element.set(name, "#" + prefix + value[1:])
            elif "url(#" in value:
                element.set(name, value.replace("url(#", f"url(#{prefix}"))
        style = element.get("style")
        if style:
            for colour, variable in _VARIABLES.items():
                style = style.replace(colour, variable)
            element.set("style", style)
