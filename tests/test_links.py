"""Links of the documentation and the tutorials lead to files that are there, and to headings that these have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tutorials/*.ipynb"), *ROOT.glob("tutorials/*.md")]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    """A page, or the cells of a notebook that are text; without what stands in fences of code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings: small letters, no punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ +(.+?) *$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert not broken(page)


def test_a_link_to_a_heading_that_is_gone_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Sums, and `more`\n```\n# no heading\n```\n")
    (tmp_path / "page.md").write_text(
        "[a](other.md#sums-and-more) [b](other.md#no-heading) [c](gone.md) [d](https://example.org/gone.md)"
    )
    assert broken(tmp_path / "page.md") == ["other.md#no-heading", "gone.md"]
