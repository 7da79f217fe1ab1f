"""The questions of the chooser in a terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping

import typer

from medloss.apps.common.errors import UserError
from medloss.apps.losses.chooser import QUESTIONS, TASKS, Question
from medloss.spelling import suggestion


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
        _check(found)
    return found


def _check(answers: Mapping[str, str]) -> None:
    known = {question.name: question.answers for question in questions_of(answers["task"])}
    for name, answer in answers.items():
        if name != "task" and name not in known:
            raise UserError(f"{name} is no question of the task {answers['task']}{suggestion(name, known)}")
        for each in answer.split(",") if name != "task" else ():
            if each not in known[name]:
                raise UserError(f"{name}: no answer is called {each!r}{suggestion(each, known[name])}")


def questions_of(task: str) -> list[Question]:
    """The questions of a task, in order.

    Raises:
        UserError: there is no such task.
    """
    if task not in TASKS:
        raise UserError(f"no task is called {task!r}{suggestion(task, TASKS)}")
    return [question for question in QUESTIONS if question.task == task]


def ask(answers: Mapping[str, str]) -> dict[str, str]:
    """The answers, those that are missing asked for where there is somebody to ask."""
    found = dict(answers)
    if not sys.stdin.isatty():
        if "task" not in found:
            raise UserError(f"say the task: one of {', '.join(TASKS)}")
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
