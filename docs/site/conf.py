"""Sphinx's configuration of the documentation site; ``make site`` builds it, and ``generate.py`` writes its pages.

No page asks another server for anything: formulas are MathML, made here; fonts are the system's; the search is
Sphinx's own and works from a folder.
"""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import medloss
from medloss._version import __version__

LOGGER = logging.getLogger(__name__)
project = "medloss"
author = "the medloss developers"
release = version = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
html_theme = "furo"
html_title = "medloss"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tutorials are committed with their outputs, and run by tests
nb_mime_priority_overrides = [("html", "image/png", 0)]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
maximum_signature_line_length = 88
exclude_patterns = ["**/.ipynb_checkpoints"]
MACROS = {
    r"\textstyle": "",
    r"\displaystyle": "",
    r"\dots": r"\ldots",
    r"\bigl": "",
    r"\bigr": "",
    r"\big": "",
    r"\Bigl": "",
    r"\Bigr": "",
    r"\tfrac": r"\frac",
}
LABELS = re.compile(r"^(Shape|Range|Limits|Authors' code|Keyword of the class): ")


def mathml(latex: str, block: bool) -> str:
    """A formula for the browser, made by docutils."""
    for name, stands_for in MACROS.items():
        latex = re.sub(re.escape(name) + r"(?![a-zA-Z])", lambda _, word=stands_for: word, latex)
    try:
        return str(tex2mathml(latex, as_block=block))
    except MathError as fault:  # a warning, which ends a strict build
        LOGGER.warning("no MathML of %s: %s", latex, fault)
        return f"<code>{html.escape(latex)}</code>"


def visit_math(self: Any, node: nodes.math) -> None:
    """An inline formula."""
    self.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def visit_math_block(self: Any, node: nodes.math_block) -> None:
    """A displayed formula; it scrolls by itself where the screen is narrow."""
    self.body.append(f'<div class="math-block">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Labels of paragraphs in bold; the options of a loss leave its text, as a table with all of them follows."""
    is_loss = isinstance(thing, type) and hasattr(thing, "_options") and name.removeprefix("medloss.") in vars(medloss)
    kept, inside = [], False
    for line in lines:
        if is_loss and line == "Args:":
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        if not inside:
            kept.append(LABELS.sub(r"**\1:** ", line))
    lines[:] = references(kept)


def references(lines: list[str]) -> list[str]:
    """The section ``References:`` as a list with one entry for each number."""
    text = "\n".join(lines)
    found = re.search(r"^References:[ \n]+(.*?)(?=^\S|\Z)", text, re.M | re.S)
    if found is None:
        return lines
    entries = re.split(r"(?=\[\d+\])", " ".join(found.group(1).split()))
    listed = "".join(f"* {entry.strip()}\n" for entry in entries if entry.strip())
    return f"{text[: found.start()]}**References**\n\n{listed}\n{text[found.end() :]}".splitlines()


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon
