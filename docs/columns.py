"""Write ``medloss/ops/region_columns.hpp`` from ``columns.py``: ``python docs/columns.py``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from medloss.ops.region_sums import columns

HEADER = Path(columns.__file__).parents[1] / "region_columns.hpp"
HEAD = "/* What region_sums counts, and the terms that ask for it. Written by docs/columns.py; do not edit. */\n"


def header() -> str:
    """The enumerations of ``columns.py`` for C++, with what is said of each member there."""
    comments = dict(re.findall(r"^    (\w+) = \d+  # (.*)$", inspect.getsource(columns), re.MULTILINE))
    text = ""
    for members, end in (columns.Column, f"    COLUMNS = {columns.COLUMNS},\n"), (columns.Terms, ""):
        lines = [f"    {name} = {int(member)}," for name, member in members.__members__.items() if name != "NONE"]
        names = [line.split()[0] for line in lines]
        told = [f"{line} /* {comments[name]} */" if name in comments else line for name, line in zip(names, lines)]
        text += "enum {\n" + "".join(f"{line}\n" for line in told) + end + "};\n"
    return f"{HEAD}#pragma once\n\nnamespace {{\n\n{text}\n}} // namespace\n"


if __name__ == "__main__":
    HEADER.write_text(header(), encoding="utf-8")
