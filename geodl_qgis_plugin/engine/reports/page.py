"""
Report pages: one HTML file that needs nothing beside it, reads without scripts, in light and dark, on a screen and on paper.

A page is a list of blocks that are put into `page.html.j2`. All text is escaped; charts come in as SVG whose text can be
searched and whose ink follows the page's.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib import image as png
from matplotlib.figure import Figure

from ..environment import versions
from ..files import check_output, whole_file
from .svg import figure_to_svg

MISSING = "–"
_WIDE = 9  # columns, from which on a table is set smaller
_NUMBER = re.compile(r"[-−+]?[\d,]*\.?\d+(e[-+]?\d+)?([ \u00a0]?%)?")
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Swatch:
    """A table cell with a small square of colour (``#rrggbb``) before its text."""

    colour: str
    text: str


@dataclass(frozen=True)
class _Cell:
    text: str
    align: str
    colour: str = ""


@dataclass
class _Block:
    kind: str
    content: Any
    caption: str = ""
    number: int = 0
    half: bool = False
    blocks: list[_Block] = field(default_factory=list)


class Page:
    """
    A report that is written from top to bottom: lead, key figures, sections with texts, tables and pictures, settings.

    Parameters
    ----------
    title : str
        What the page reports on.
    subtitle : str, optional
        Data, model or date, in one line.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title, self.subtitle = title, subtitle
        self.refresh_s = 0  # a page that is written anew while somebody looks at it
        self._lead = ""
        self._figures: list[tuple[str, str, str]] = []
        self._blocks: list[_Block] = []
        self._settings: list[tuple[str, str]] = []
        self._numbers = {"figure": 0, "table": 0}
        self._drawings = 0

    def lead(self, text: str) -> None:
        """Set the first sentence: the finding."""
        self._lead = text

    def figures(self, figures: Iterable[tuple[str, Any, str]]) -> None:
        """Add key figures, each a label, a value and a note; they stand in a row below the lead."""
        self._figures += [(label, format_value(value), note) for label, value, note in figures]

    def section(self, title: str) -> None:
        """Start a section."""
        self._blocks.append(_Block("section", title))

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs."""
        self._blocks += [_Block("text", paragraph) for paragraph in paragraphs]

    def warning(self, text: str) -> None:
        """Add a paragraph that the reader must not miss."""
        self._blocks.append(_Block("warning", text))

    def table(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[Any]],
        caption: str = "",
        align: str = "",
        highlight: Collection[int] = (),
    ) -> None:
        """
        Add a table.

        Parameters
        ----------
        header : sequence of str
            Column titles, with units.
        rows : iterable of sequences
            Texts stand as they are, whole numbers get thousands' separators, other numbers three decimals; None and NaN
            become a dash; a `Swatch` shows a colour.
        align : str
            One letter a column, ``l``, ``c`` or ``r``; by default columns are right-aligned that hold a number in any row, or
            nothing but None and texts that are numbers, such as 12.3 %.
        highlight : collection of int
            Rows, from 0, that are set in bold.
        """
        rows = [list(row) for row in rows]
        align = align or "".join("r" if _is_number_column(rows, i) else "l" for i in range(len(header)))
        cells = [[_cell(value, side) for value, side in zip(row, align)] for row in rows]
        heads = [_Cell(title, side) for title, side in zip(header, align)]
        is_wide = len(header) > _WIDE
        content = {"header": heads, "rows": cells, "highlight": frozenset(highlight), "is_wide": is_wide}
        self._blocks.append(_Block("table", content, caption, self._number("table")))

    def svg(self, figure: Figure, caption: str = "", *, half: bool = False) -> None:
        """Add a chart; ``half`` ones stand side by side where the screen is wide enough."""
        self._drawings += 1
        drawing = figure_to_svg(figure, prefix=f"d{self._drawings}-", label=caption)
        self._blocks.append(_Block("svg", Markup(drawing), caption, self._number("figure"), half))  # noqa: S704 - ours

    def image(self, rgb: npt.NDArray[Any], caption: str = "", *, half: bool = False) -> None:
        """Add a picture: (row, column, 3 or 4) in 0 to 255, or in 0 to 1 where it is of floats."""
        rgb = np.asarray(rgb)
        if rgb.dtype.kind == "f":
            rgb = (np.clip(np.nan_to_num(rgb), 0, 1) * 255).round()
        file = io.BytesIO()
        png.imsave(file, np.ascontiguousarray(rgb.astype(np.uint8)), format="png")
        address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        # a small picture is enlarged: its pixels are to be seen as they are
        content = {"address": address, "pixelated": rgb.shape[1] < 600, "height": rgb.shape[0], "width": rgb.shape[1]}
        self._blocks.append(_Block("image", content, caption, self._number("figure"), half))

    def settings(self, settings: Mapping[str, Any]) -> None:
        """Add settings to the page's foot, where they stand beside the versions."""
        self._settings += [(name, _setting(value)) for name, value in settings.items()]

    def html(self) -> str:
        """Return the page."""
        text: str = _TEMPLATES.get_template("page.html.j2").render(
            title=self.title,
            subtitle=self.subtitle,
            refresh_s=self.refresh_s,
            lead=self._lead,
            figures=self._figures,
            blocks=_paired(self._blocks),
            sections=[block.content for block in self._blocks if block.kind == "section"],
            settings=self._settings,
            versions=versions(),
            css=Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        )
        return text

    def save(self, path: str | Path) -> None:
        """Write the page, whole or not at all."""
        check_output(path)
        with whole_file(path) as part:
            part.write_text(self.html(), encoding="utf-8")

    def _number(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]


def format_value(value: Any) -> str:
    """Return a value as it stands in a table: 12,345, 0.571, a dash for None and NaN, texts unchanged."""
    if value is None:
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}"
    if isinstance(value, (float, np.floating)):
        return MISSING if not np.isfinite(value) else f"{float(value):.3f}".replace("-", "−")
    return str(value)


def _cell(value: Any, align: str) -> _Cell:
    if isinstance(value, Swatch):
        return _Cell(value.text, align, value.colour if re.fullmatch(r"#[0-9a-fA-F]{6}", value.colour) else "")
    return _Cell(format_value(value), align)


def _is_number_column(rows: Sequence[Sequence[Any]], column: int) -> bool:
    values = [row[column] for row in rows if column < len(row)]
    if any(isinstance(value, (int, float, np.number)) for value in values):
        return True
    texts = [value for value in values if value is not None]
    return all(isinstance(text, str) and _NUMBER.fullmatch(text) for text in texts)


def _setting(value: Any) -> str:
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int, float)) for one in value):
        return ", ".join(map(str, value)) or MISSING
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return MISSING if value in (None, "") else str(value)


def _paired(blocks: Iterable[_Block]) -> list[_Block]:
    """Gather pictures of half width that follow each other into rows."""
    gathered: list[_Block] = []
    for block in blocks:
        if not block.half:
            gathered.append(block)
        elif gathered and gathered[-1].kind == "row":
            gathered[-1].blocks.append(block)
        else:
            gathered.append(_Block("row", None, blocks=[block]))
    return gathered
