"""One self-contained report.html for people: what was done, tables with units, pictures inside the file."""

from __future__ import annotations

import base64
import html
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.apps.common.output import write_text

# Endings of column names that hold a unit, as the metrics files spell them.
UNITS = {"_mm": "mm", "_percent": "%", "_gib": "GiB", "_mib": "MiB", "_seconds": "s", "_mm3": "mm³"}
ACRONYMS = {
    "dice": "Dice",
    "hd95": "HD95",
    "asd": "ASD",
    "tre": "TRE",
    "sdlogj": "SDlogJ",
    "sdlogj_l2r": "SDlogJ (L2R, J+3)",
    "seconds": "time (s)",
    "csf": "CSF",
    "gm": "GM",
    "wm": "WM",
    "n": "n",
    "l2r": "L2R",
    "id": "ID",
}
NOTICE = "Research software, not a medical device: nothing here may guide the care of a patient."

STYLE = """
:root { color-scheme: light; --ink: #1d2125; --muted: #626b73; --line: #e1e4e7; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: #fff; margin: 0 auto; max-width: 1080px; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; letter-spacing: -0.01em; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 0.6rem; }
p { max-width: 46rem; margin: 0.5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.95rem; min-width: 24rem; }
th { text-align: right; font-weight: 600; color: var(--muted); padding: 0.35rem 0.9rem;
  border-bottom: 1.5px solid var(--ink); }
td { text-align: right; border-bottom: 1px solid var(--line); padding: 0.35rem 0.9rem; }
th:first-child, td:first-child, td.word, th.word { text-align: left; }
tr:hover td { background: #f5f8fa; }
.scroll { overflow-x: auto; }
figure { margin: 1rem 0 0; }
figure img { max-width: 100%; height: auto; border-radius: 4px; border: 1px solid var(--line); display: block; }
footer { margin-top: 3rem; padding-top: 0.8rem; border-top: 1px solid var(--line); color: var(--muted);
  font-size: 0.85rem; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } h2, figure, table { break-inside: avoid; } }
"""


def write_report(
    path: str | Path,
    title: str,
    paragraphs: Sequence[str] = (),
    tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    images: Mapping[str, str | Path] | None = None,
) -> Path:
    """Write one HTML file that needs no other: text, tables, pictures, and when and with what it was made.

    Args:
        path: the HTML file to write, atomically.
        title: heading of the page.
        paragraphs: plain text, one string per paragraph.
        tables: heading to rows, each row a mapping of column name to value as `write_csv` takes it. Column names become
            words with units: ``hd95_mm`` is shown as "HD95 (mm)", ``folding_percent`` as "folding (%)".
        images: heading to PNG file, put into the page itself.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(text)}</p>" for text in paragraphs)]
    for heading, rows in (tables or {}).items():
        parts += [f"<h2>{html.escape(heading)}</h2>", table(rows)]
    for heading, picture in (images or {}).items():
        parts += [f"<h2>{html.escape(heading)}</h2>", figure(picture, heading)]
    made = f"Written by medloss {__version__} on {time.strftime('%Y-%m-%d %H:%M')}."
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<footer>{made} {NOTICE}</footer>\n</body>\n</html>\n"
    )
    write_text(path, page)
    return Path(path)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as an HTML table; the columns are all the keys met, in order of appearance."""
    if not rows:
        return "<p>Nothing to show.</p>"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    words = {c for c in columns if any(isinstance(row.get(c), str) for row in rows)}
    head = "".join(f"<th{_kind(c in words)}>{html.escape(heading(c))}</th>" for c in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td{_kind(c in words)}>{html.escape(cell(row.get(c)))}</td>" for c in columns) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def heading(name: str) -> str:
    """A column's name in words with its unit: ``tre_before_mm`` to "TRE before (mm)"."""
    if name in ACRONYMS:
        return ACRONYMS[name]
    unit = next((ending for ending in UNITS if name.endswith(ending)), "")
    words = name.removesuffix(unit).split("_") if name.islower() else [name.removesuffix(unit)]
    text = " ".join(ACRONYMS.get(word, word) for word in words)
    return f"{text} ({UNITS[unit]})" if unit else text


def cell(value: Any) -> str:
    """A value as text: counts whole, other numbers with three significant digits or more, nothing known as a dash."""
    value = value.item() if hasattr(value, "item") else value  # of NumPy or torch
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or not isinstance(value, float):
        return str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3f}" if 0.0995 <= abs(value) < 1 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.2g}"


def figure(path: str | Path, caption: str) -> str:
    """A PNG inside the page."""
    data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    return f'<figure><img alt="{html.escape(caption, quote=True)}" src="data:image/png;base64,{data}"></figure>'


def _kind(word: bool) -> str:
    return ' class="word"' if word else ""
