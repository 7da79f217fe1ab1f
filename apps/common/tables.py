"""Tables that people write: CSV from Excel, LibreOffice, R and pandas."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import NamedTuple

from medloss.apps.common.errors import UserError
from medloss.apps.common.notes import note

DELIMITERS = ",;\t"
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How .xlsx and .ods, and the older .xls, begin."""


class Row(NamedTuple):
    """One row: the line of the file that it ends on, and its cells by column name (small letters)."""

    line: int
    cells: dict[str, str]


def read_table(path: Path, needed: tuple[str, ...]) -> list[Row]:
    """Read a CSV with a header: UTF-8 with or without its mark, UTF-16 or Windows' Latin-1; ``,``, ``;`` or tabs.

    Blanks around cells and capitals in column names do not matter. Empty lines, and lines that begin with ``#``, are
    left out.

    Raises:
        UserError: no file, no text, a column of ``needed`` is absent, or a row with more cells than the header.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a CSV with the columns {' and '.join(needed)}")
    text = _decode(path)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if _counts(line)]
    if not lines:
        raise UserError(f"{path} holds no rows; expected a CSV with the columns {' and '.join(needed)}")
    delimiter = max(DELIMITERS, key=lines[0][1].count)
    try:
        read = list(csv.reader(io.StringIO("\n".join(line for _, line in lines)), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as a CSV: {error}") from error
    columns = [cell.strip().lower() for cell in read[0]]
    absent = [name for name in needed if name not in columns]
    if absent or len(set(columns)) < len(columns):
        told = "each once, " if not absent else ""
        got = ", ".join(read[0])[:200] or "none"
        raise UserError(
            f"{path} needs the columns {' and '.join(needed)}, {told}got {got}; the first line must name the columns"
        )
    return [_row(path, columns, number, cells) for (number, _), cells in zip(lines[1:], read[1:])]


def path_from(folder: Path, cell: str) -> Path:
    """The path in a cell: a relative one begins at the table's folder, and ``~`` is the user's home."""
    return folder / Path(cell).expanduser()


def _counts(line: str) -> bool:
    return bool(line.strip(" \t,;")) and not line.lstrip().startswith("#")


def _row(path: Path, columns: list[str], line: int, cells: list[str]) -> Row:
    cells = [cell.strip() for cell in cells]
    if any(cells[len(columns) :]):
        raise UserError(
            f"{path}, line {line}: {len(cells)} cells under {len(columns)} columns; put a path with a comma in quotes"
        )
    return Row(line, dict(zip(columns, cells + [""] * (len(columns) - len(cells)))))


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith(WORKBOOKS):
        raise UserError(f"{path} is a workbook of Excel or LibreOffice, not text; save it as CSV UTF-8")
    encoding = next((name for mark, name in MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8" or b"\0" in raw:
            raise UserError(f"{path} is no text in {encoding}; save it as CSV UTF-8") from None
        note(f"{path} is not UTF-8 and is read as Latin-1 (Windows-1252); save it as CSV UTF-8 to be sure")
        text = raw.decode("cp1252", errors="replace")
    if "\0" in text:
        raise UserError(f"{path} is no text; save it as CSV UTF-8")
    return text
