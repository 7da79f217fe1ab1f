"""What the docstring of a loss says, in parts: formula, sections, and every option in words, inherited ones too."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any, NamedTuple

from medloss.apps.losses.formula_text import plain_formula
from medloss.options import REQUIRED, options

EVERYWHERE = {"Loss": "every loss", "LabelLoss": "every label loss", "FieldLoss": "every field loss"}
SEE = re.compile(r"(?:,\s*|;\s*)?[Ss]ee :class:`~?(?:medloss\.)?(\w+)`[.;,]?\s*")


class OptionText(NamedTuple):
    """One option: its default as Python writes it, what it does, and the class whose docstring says so."""

    name: str
    default: str
    words: str
    source: str


def text_of(cls: type) -> str:
    """The docstring without its indentation; empty where there is none of its own."""
    return inspect.cleandoc(vars(cls).get("__doc__") or "")


def section(text: str, name: str) -> str:
    """A section of a docstring, or nothing: the paragraph after ``Shape:``, the indented lines under ``Args:``."""
    found = re.search(rf"^{re.escape(name)}:(?: (.*?)(?=\n\s*\n|\Z)|\s*\n(.*?)(?=^\S|\Z))", text, re.M | re.S)
    return inspect.cleandoc(found.group(1) or "\n" + found.group(2)) if found else ""


def summary(text: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(text.split("\n\n")[0].split())


def formulas(text: str) -> list[str]:
    """The LaTeX of every displayed formula."""
    found = re.findall(r"^\.\. math::[ ]*(.*?)(?=^\S|\Z)", text, re.M | re.S)
    return [inspect.cleandoc(each) if not each.startswith(" ") else each.strip() for each in found]


def example(text: str) -> str:
    """The runnable example: lines after ``>>>``, with what they give."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(">>>")), len(lines))
    return "\n".join(lines[first:]).rstrip()


def plain(text: str) -> str:
    r"""Text of a docstring without the marks of reStructuredText and of LaTeX.

    >>> plain("see :class:`~medloss.DiceLoss` at ``alpha`` of :math:`\\sum_i x_i^2`")
    'see DiceLoss at alpha of sum_i x_i^2'
    """
    text = re.sub(r":(?:class|func|meth|data|mod):`~?(?:[\w]+\.)*(\w+)`", r"\1", text)
    return re.sub(r":math:`([^`]*)`", lambda found: plain_formula(found.group(1)), text).replace("``", "")


@cache
def own_words(cls: type) -> dict[str, str]:
    """What the ``Args`` of a class say of each option."""
    found = {}
    for entry in re.split(r"\n(?=\S)", section(text_of(cls), "Args")):
        names, _, words = entry.partition(":")
        for name in names.split(","):
            found[name.strip()] = " ".join(words.split())
    return found


def words_of(cls: type, name: str) -> tuple[str, str]:
    """What an option does, and the class that says so; ``see X`` is replaced by what X says."""
    import medloss

    for base in cls.__mro__:
        words = own_words(base).get(name)
        if words is None:
            continue
        seen = SEE.search(words)
        other = getattr(medloss, seen.group(1), None) if seen else None
        if seen is None or other is None or other is cls or name not in options(other):
            return words, base.__name__
        there, source = words_of(other, name)
        rest = SEE.sub(" ", words, count=1).strip(" ,;")
        return f"{there} {rest[:1].upper()}{rest[1:]}".strip(), source
    return "", ""


def options_in_words(cls: type) -> list[OptionText]:
    """Every option of a loss; those of its own class first, then what it has from others.

    >>> import medloss
    >>> next(option for option in options_in_words(medloss.DiceCELoss) if option.name == "jaccard").source
    'DiceLoss'
    """
    found = []
    for name, option in options(cls).items():
        words, source = words_of(cls, name)
        found.append(OptionText(name, default_of(option.default), words, source))
    return sorted(found, key=lambda option: option.source != cls.__name__)


def default_of(value: Any) -> str:
    """A default as Python writes it; ``required`` where there is none."""
    return "required" if value is REQUIRED else repr(value)


def from_where(option: OptionText, cls: type) -> str:
    """Whose option it is, in words."""
    return "" if option.source == cls.__name__ else EVERYWHERE.get(option.source, option.source)
