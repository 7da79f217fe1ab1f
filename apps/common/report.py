"""One self-contained HTML page for people: pictures first, tables with units under them, and links to the files.

``Page`` says what is on it, ``write_page`` writes it by the template ``report.html.jinja``. The page needs no script
and no other file: pictures are inside it, until they are so large that they are linked beside it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from medloss._version import __version__
from medloss.apps.common.output import write_text
from medloss.apps.common.report_files import Link, href, opening
from medloss.apps.common.report_numbers import cell, heading, number

NOTICE = "Research software, not a medical device: nothing here may guide the care of a patient."
EMBEDDED_BYTES = 20e6
"""Pictures beyond these bytes are linked, not put into the page: a browser opens a larger one slowly."""
OPEN_CASES = 8
"""The first cases are shown; the others are folded up, each under its name and numbers."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A PNG with a line under it."""

    file: Path
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of a page.

    Args:
        id: its name, once per page.
        row: its line in the table of all cases: column name to value.
        figures: pictures, the most telling first.
        tables: heading to rows, below the pictures.
        files: files of the case, linked, with a line on how to open them.
        note: what a reader has to know about this case: "spleen is missed".
        lead: what was done, in a paragraph before the pictures.
    """

    id: str
    row: Row = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    files: Sequence[Link] = ()
    note: str = ""
    lead: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows, from top to bottom.

    Args:
        title: heading of the page.
        lead: short paragraphs of plain text: what was done, and what the numbers do not say.
        facts: name to value, a short list: data, device, time.
        figures: pictures of the whole, before all tables.
        tables: heading to rows. Column names become words with units: ``hd95_mm`` is shown as "HD95 (mm)".
        cases: the cases in the order in which they are shown; see :func:`worst_first`.
        parts: what the cases are called together.
        order: in what order they stand: "the lowest mean Dice first".
        files: files of the whole, linked.
        notes: name to text, at the end: definitions, limits.
    """

    title: str
    lead: Sequence[str] = ()
    facts: Row = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    cases: Sequence[Case] = ()
    parts: str = "Cases"
    order: str = ""
    files: Sequence[Link] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


def worst_first(cases: Sequence[Case], column: str, high_is_good: bool = True) -> list[Case]:
    """The cases by a column of their rows, the worst first; infinite counts, and what is not known comes last."""

    def badness(case: Case) -> tuple[bool, float]:
        value = number(case.row.get(column))
        return value != value, -value if not high_is_good else value

    return sorted(cases, key=badness)


def write_page(path: str | Path, page: Page) -> Path:
    """Write the page as one HTML file, atomically, and return its path.

    Raises:
        ValueError: two cases of one id.
    """
    path, ids = Path(path), [case.id for case in page.cases]
    if len(set(ids)) < len(ids):
        raise ValueError(f"each case needs an id of its own, but the page has {ids}")
    pictures = _Pictures(path.parent)
    made = f"Written by medloss {__version__} on {time.strftime('%Y-%m-%d %H:%M')}."
    text = _template().render(
        page=page,
        rows=[{"case": case.id, **case.row} for case in page.cases if case.row],
        anchors={name: place for place, name in enumerate(ids, start=1)},
        source=pictures.source,
        href=lambda file: href(file, path.parent),
        opening=lambda files: opening(files, path.parent),
        made=made,
        notice=NOTICE,
        open_cases=OPEN_CASES,
    )
    write_text(path, text + "\n")
    return path


class _Pictures:
    """Where the pictures of one page come from: its own text, or a file beside it once the page is large."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left = EMBEDDED_BYTES

    def source(self, file: Path) -> str:
        data = Path(file).read_bytes()
        self.left -= len(data)
        if self.left < 0:
            return href(file, self.folder)
        return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(heading=heading, cell=cell, columns=_columns, words=_words)
    return environment.get_template("report.html.jinja")


def _columns(rows: Sequence[Row]) -> list[str]:
    """All the keys met, in order of appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _words(rows: Sequence[Row]) -> set[str]:
    """The columns that hold words, which stand on the left."""
    return {column for column in _columns(rows) if any(isinstance(row.get(column), str) for row in rows)}
