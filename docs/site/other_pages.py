"""The pages that are written from the code and are not of one loss, and the table of contents."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from loss_pages import heading, table

import medloss
from medloss.config import loss_names
from medloss.registry import losses, snake_case

DOCS = Path(__file__).resolve().parents[1]
MODULES = {
    "library": ("medloss", "Around the losses", "What finds, joins, checks and explains losses."),
    "functional": ("medloss.functional", "Losses as functions", ""),
    "transforms": ("medloss.transforms", "Transforms", ""),
    "operators": ("medloss.ops", "Operators", ""),
    "compat_monai": ("medloss.compat.monai", "In place of monai.losses", ""),
    "compat_kornia": ("medloss.compat.kornia", "In place of kornia.losses", ""),
    "compat_gdl": ("medloss.compat.gdl", "In place of geo-deep-learning's losses", ""),
}
LISTED = ("functional", "compat_monai", "compat_kornia", "compat_gdl")
"""Modules whose names are listed with a line each: the page of the loss has the rest."""
ORDER = {
    "Start": ["choosing", "tutorials/overview", "cookbook/overview", "conventions"],
    "Losses": ["families", "losses", "contract", "known_differences", "performance", "gpu"],
    "Applications": ["applications", "commands", "configuration", "segmentation", "registration"],
    "Library": ["library", "functional", "transforms", "operators", "compat_"],
    "Project": ["inside", "changelog"],
}
PARENTS = {"losses.md": "losses/", "tutorials/overview.md": "tutorials/", "cookbook/overview.md": "cookbook/"}
"""Pages that list a folder of others, which the table of contents shows below them."""
HOUSE = """
![The house: applications on transforms, losses on the contract, the contract on operators](images/house.svg)
"""


def pages() -> dict[str, str]:
    """Name and text of each."""
    found = {"commands.md": commands(), "cookbook/overview.md": cookbook()}
    return found | {f"{name}.rst": module(name) for name in MODULES}


def dressed(page: str, text: str) -> str:
    """A copied page with what the site adds: links to the pages of losses, and the drawing of the house."""
    if page == "losses.md":
        return re.sub(r"^\| `(\w+)` \| `(\w+)`", r"| [`\1`](losses/\2.rst) | `\2`", text, flags=re.M)
    if page == "choosing.md":
        return re.sub(r"`(\w+)`", linked, text)
    if page == "inside.md":
        return text.replace("# Contributing\n", "# How it works inside, and how to contribute\n" + HOUSE, 1)
    return text


def linked(found: re.Match[str]) -> str:
    """The name of a loss with a link to its page; any other word as it is."""
    cls = loss_names().get(found.group(1))
    return found.group() if cls is None else f"[{found.group()}](losses/{snake_case(cls.__name__)}.rst)"


def contents(names: list[str]) -> str:
    """The table of contents, with every page once; what no heading names comes last."""
    nested = {name for parent in PARENTS for name in children(parent, names)}
    left, parts = sorted({name.rsplit(".", 1)[0] for name in names} - nested - {"index"}), []
    for caption, wanted in {**ORDER, "More": [""]}.items():
        found = [name for start in wanted for name in left if fits(name, start)]
        left = [name for name in left if name not in found]
        if found:
            lines = "\n".join(found)
            parts.append(f"\n```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{lines}\n```\n")
    return "".join(parts)


def children(parent: str, names: list[str]) -> list[str]:
    """The pages below a page."""
    return sorted(name.rsplit(".", 1)[0] for name in names if name.startswith(PARENTS[parent]) and name != parent)


def below(parent: str, names: list[str]) -> str:
    """The table of contents of a page's own folder; it is seen beside the page, not in it."""
    lines = "\n".join(f"/{name}" for name in children(parent, names))
    return f"\n```{{toctree}}\n:hidden:\n\n{lines}\n```\n"


def cookbook() -> str:
    """A line for each page of the cookbook."""
    lines = ["# Cookbook", "", "medloss in other people's frameworks. The code of each page is executed by a test.", ""]
    for path in sorted((DOCS / "cookbook").glob("*.md")):
        title = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
        lines.append(f"* [{title}]({path.name})")
    return "\n".join([*lines, ""])


def fits(name: str, start: str) -> bool:
    """Whether a page belongs to an entry of ``ORDER``: it is that page, or lies in that folder."""
    return name.startswith(start) if start.endswith(("/", "_")) or not start else name == start


def commands() -> str:
    """Every command with its arguments, by typer."""
    import typer
    from typer.cli import get_docs_for_click

    from medloss.apps.commands import app

    command = typer.main.get_command(app)
    said_in_full(command)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="medloss", title="Commands")
    return re.sub(r"`[^`\n]*`|<(?=[A-Za-z])", lambda found: "&lt;" if found.group() == "<" else found.group(), text)


def said_in_full(command: Any) -> None:
    """Let lists of commands have the whole first paragraph of each, where click would cut it after 45 letters."""
    command.short_help = " ".join((command.help or "").split("\n\n")[0].split())
    for each in getattr(command, "commands", {}).values():
        said_in_full(each)


def module(name: str) -> str:
    """The public names of a module."""
    path, title, told = MODULES[name]
    thing = importlib.import_module(path)
    parts = [heading(title, "="), told or inspect.getdoc(thing) or "", ""]
    if name in LISTED:
        rows = [[f"``{path}.{each}``", first_line(getattr(thing, each))] for each in public(path)]
        return "\n".join([*parts, table(["name", "what it is"], rows)])
    shown = [each for each in public(path) if (is_no_loss(each) if path == "medloss" else not hasattr(medloss, each))]
    for each in shown:
        kind = "class" if inspect.isclass(getattr(thing, each)) else "function"
        if not callable(getattr(thing, each)):
            kind = "data"
        parts.append(f".. auto{kind}:: {path}.{each}\n")
    return "\n".join(parts)


def public(path: str) -> list[str]:
    """The public names of a module."""
    thing = importlib.import_module(path)
    return [each for each in getattr(thing, "__all__", dir(thing)) if not each.startswith("_")]


def is_no_loss(name: str) -> bool:
    """Whether a name of ``medloss`` has no page of its own."""
    return getattr(medloss, name) not in losses().values()


def first_line(thing: object) -> str:
    """What a docstring begins with, on one line."""
    text = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return " ".join(text.split()).replace("*", "\\*")
