"""Losses by words: in their names, their text, what they see, and what the chooser says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from medloss.apps.losses.chooser import ADVICE, QUESTIONS
from medloss.apps.losses.describe import plain, text_of
from medloss.config import loss_names
from medloss.registry import losses, short_names

TITLES = {
    "label": "Segmentations",
    "image": "Images",
    "field": "Fields",
    "points": "Points",
}
"""What a loss sees, and how the family of these losses is called."""


def found(kind: str | None, words: Sequence[str]) -> dict[str, list[str]]:
    """The names of the losses that have every word, by what they see; families without one are left out."""
    wanted = [word.lower() for word in words]
    kinds = TITLES if kind is None else (kind,)
    listed = {each: [n for n in sorted(losses(each)) if all(w in searched(each, n) for w in wanted)] for each in kinds}
    return {each: names for each, names in listed.items() if names}


@cache
def searched(kind: str, name: str) -> str:
    """All that a word is looked for in, in small letters."""
    cls = losses(kind)[name]
    prose = plain(text_of(cls).split(">>>")[0])
    parts = [kind, TITLES[kind], name, cls.__name__, *short_names(name)]
    return " ".join([*parts, " ".join(prose.split()), *_advice(cls)]).lower()


def _advice(cls: type) -> Iterator[str]:
    """What the chooser says where it names this loss: the reason, and the answers that lead to it."""
    for row in ADVICE:
        if row.loss and loss_names()[row.loss] is cls:
            yield row.why
            for question in QUESTIONS:
                if question.task == row.task:
                    yield from (f"{each} {question.answers[each]}" for each in row.when.get(question.name, ()))
