"""The questions of the chooser in a terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping

import typer

from medloss.apps.common.errors import UserError
from medloss.apps.losses.choice import checked, questions_of
from medloss.apps.losses.chooser import TASKS


def given(arguments: list[str]) -> dict[str, str]:
    """The answers of the command line.

    Raises:
        UserError: an argument that is no ``question=answer``, or a word that the table has not.

    >>> given(["task=segment", "metric=surface"])
    {'task': 'segment', 'metric': 'surface'}
    """
    wrong = [each for each in arguments if "=" not in each]
    if wrong:
        raise UserError(f"expected question=answer, such as task=segment, not {wrong[0]!r}; see --questions")
    found = dict(each.split("=", 1) for each in arguments)
    if "task" in found:
        checked(found)
    return found


def ask(answers: Mapping[str, str]) -> dict[str, str]:
    """The answers, those that are missing asked for where there is somebody to ask."""
    found = dict(answers)
    if not sys.stdin.isatty():
        return found
    if "task" not in found:
        found["task"] = _asked("What is the task?", TASKS)
    for question in questions_of(found["task"]):
        if question.name not in found:
            found[question.name] = _asked(question.asks, question.answers)
    return found


def _asked(text: str, answers: Mapping[str, str]) -> str:
    """One answer, by its number or name; the first one where nothing is typed."""
    names = list(answers)
    typer.echo(text)
    for number, (name, told) in enumerate(answers.items(), 1):
        typer.echo(f"  {number} {name}: {told}")
    while True:
        typed = str(typer.prompt("number or name", default="1")).strip()
        if typed.isdigit() and 1 <= int(typed) <= len(names):
            return names[int(typed) - 1]
        if typed in names:
            return typed
        typer.echo(f"please type a number from 1 to {len(names)}, or one of the names")


def questions_told() -> Iterator[str]:
    """Every question with its answers; the first one stands where none is given."""
    for task, told in TASKS.items():
        yield f"task={task}: {told}"
        for question in questions_of(task):
            yield f"  {question.name}: {question.asks}"
            for name, words in question.answers.items():
                yield from textwrap.wrap(f"{question.name}={name}: {words}", 100, initial_indent="    ",
                                         subsequent_indent="        ")  # fmt: skip
