"""Write the sources of the site: ``python docs/site/generate.py FOLDER``. Sphinx makes pages of them.

What stands in a file of the checkout is copied, with its links turned into links between pages; the page of a loss, of
the commands and of each module is written from the code. ``--without-pictures`` is the quick way.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(DOCS / "site")]

import loss_pages  # noqa: E402
import other_pages  # noqa: E402

COPIED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "inside.md",
    "CHANGELOG.md": "changelog.md",
    "tutorials/README.md": "tutorials/overview.md",
}
"""Files outside docs/ and tutorials/ that are pages, and their names there."""
LINK = re.compile(r"(?<!\\)(!?\[[^\]]*\])\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def page_of(path: str) -> str | None:
    """The page that a file of the checkout becomes, or None where it is none.

    >>> page_of("docs/losses.md"), page_of("README.md"), page_of("setup.cfg")
    ('losses.md', 'index.md', None)
    """
    if path in COPIED:
        return COPIED[path]
    if path.startswith("docs/") and (path.endswith(".md") or path.startswith("docs/images/")):
        return path.removeprefix("docs/")
    return path if path.startswith("tutorials/") and path.endswith(".ipynb") else None


def relinked(text: str, source: str, target: str) -> str:
    """Links between files as links between pages; a file that is no page is named without a link."""

    def link(found: re.Match[str]) -> str:
        label, path, anchor = found.group(1), found.group(2), found.group(3) or ""
        file = (ROOT / source).parent.joinpath(path).resolve()
        page = page_of(str(file.relative_to(ROOT))) if file.is_relative_to(ROOT) else None
        if page is None:
            return label.strip("![]")
        return f"{label}({'../' * target.count('/')}{page}{anchor})"

    return LINK.sub(link, text)


def copied(out: Path) -> list[str]:
    """Copy what is written by hand; the names of the pages."""
    found = []
    files = [
        *COPIED,
        *(f"docs/{path.relative_to(DOCS)}" for path in sorted(DOCS.rglob("*.md")) if "site" not in path.parts),
    ]
    for name in files:
        page = page_of(name)
        assert page is not None
        text = relinked((ROOT / name).read_text(encoding="utf-8"), name, page)
        write(out / page, other_pages.dressed(page, text))
        found.append(page)
    for folder, pattern in (("docs/images", "*"), ("tutorials", "*.ipynb")):
        place = out / folder.removeprefix("docs/")
        place.mkdir(parents=True, exist_ok=True)
        for path in sorted((ROOT / folder).glob(pattern)):
            if path.suffix == ".ipynb":
                found.append(f"tutorials/{path.name}")
                write(place / path.name, relinked_notebook(path))
            else:
                shutil.copy(path, place / path.name)
    return found


def relinked_notebook(path: Path) -> str:
    """A notebook whose texts link to pages."""
    content = json.loads(path.read_text(encoding="utf-8"))
    name = f"tutorials/{path.name}"
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = relinked("".join(cell["source"]), name, name)
    return json.dumps(content, ensure_ascii=False, indent=1)


def write(path: Path, text: str) -> None:
    """Write a page where it changed: Sphinx reads no other again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def generate(out: Path, pictures: bool = True) -> list[str]:
    """Every page of the site; their names."""
    pages = copied(out)
    written = {**loss_pages.pages(out, pictures), **other_pages.pages()}
    for name, text in written.items():
        write(out / name, text)
    pages += [name for name in written if name not in pages]
    for parent in other_pages.PARENTS:
        write(out / parent, (out / parent).read_text(encoding="utf-8") + other_pages.below(parent, pages))
    write(out / "index.md", (out / "index.md").read_text(encoding="utf-8") + other_pages.contents(pages))
    for stale in {path for path in out.rglob("*") if path.suffix in (".md", ".rst", ".ipynb")}:
        if str(stale.relative_to(out)) not in pages:
            stale.unlink()
    return pages


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without-pictures", action="store_true")
    given = parser.parse_args()
    print(f"{len(generate(given.folder, not given.without_pictures))} pages in {given.folder}")


if __name__ == "__main__":
    main()
