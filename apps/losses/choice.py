"""What the table of the chooser recommends for some answers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from medloss.apps.common.errors import UserError
from medloss.apps.losses.chooser import ADVICE, QUESTIONS, TASKS, Advice, Question
from medloss.options import suggestion

WIDTH = 100
OF_THE_TERM = ("weight", "schedule")


@dataclass(frozen=True)
class Chosen:
    """One recommended term: its name and options in YAML, the reason, and what else may serve."""

    name: str
    settings: Mapping[str, Any]
    why: str
    others: tuple[str, ...]
    group: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the loss itself, without the weight of the term."""
        return {name: value for name, value in self.settings.items() if name not in OF_THE_TERM}


@dataclass(frozen=True)
class Choice:
    """What is recommended: terms, and what else to know."""

    task: str
    terms: tuple[Chosen, ...]
    notes: tuple[str, ...]

    def mapping(self) -> dict[str, Any]:
        """The configuration under ``loss``; of a registration by what its losses see."""
        if self.task != "register":
            return {term.name: dict(term.settings) for term in self.terms}
        groups: dict[str, Any] = {}
        for term in self.terms:
            groups.setdefault(term.group, {})[term.name] = dict(term.settings)
        return groups


def questions_of(task: str) -> list[Question]:
    """The questions of a task, in order.

    Raises:
        UserError: there is no such task.
    """
    if task not in TASKS:
        raise UserError(f"no task is called {task!r}{suggestion(task, TASKS)}")
    return [question for question in QUESTIONS if question.task == task]


def choose(answers: Mapping[str, str]) -> Choice:
    """What the table recommends.

    Args:
        answers: ``task``, and an answer to each of its questions by name; the first answer stands where none is given.

    Raises:
        UserError: no task, or a question or an answer that there is not.

    >>> [term.name for term in choose({"task": "segment", "structure": "tubes"}).terms]
    ['dice_ce', 'skeleton_recall']
    """
    if "task" not in answers:
        raise UserError(f"say the task: one of {', '.join(TASKS)}")
    task = answers["task"]
    full = _checked(task, answers)
    rows = [row for row in ADVICE if row.task == task and _holds(row, full)]
    firsts = [row for row in rows if row.role == "first"]
    terms = [_term(row) for row in [firsts[0], *(row for row in rows if row.role == "add")]]
    settings = [row for row in rows if row.role == "set"]
    for row in settings:
        terms = [_with(term, row) for term in terms]
    notes = [row.why for row in [*settings, *(row for row in rows if row.role == "note")]]
    return Choice(task, tuple(terms), tuple(notes))


def _checked(task: str, answers: Mapping[str, str]) -> dict[str, str]:
    questions = {question.name: question for question in questions_of(task)}
    for name, answer in answers.items():
        if name == "task":
            continue
        if name not in questions:
            raise UserError(f"{name} is no question of the task {task}{suggestion(name, questions)}")
        if answer not in questions[name].answers:
            raise UserError(f"{name}: no answer is called {answer!r}{suggestion(answer, questions[name].answers)}")
    return {name: answers.get(name, next(iter(question.answers))) for name, question in questions.items()}


def _holds(row: Advice, answers: Mapping[str, str]) -> bool:
    wanted = all(answers[name] in values for name, values in row.when.items())
    return wanted and not any(answers[name] in values for name, values in row.unless.items())


def _term(row: Advice) -> Chosen:
    return Chosen(row.loss, dict(row.options), row.why, row.others, row.group)


def _with(term: Chosen, row: Advice) -> Chosen:
    """The term with the options of a row that its loss has."""
    from medloss.config import loss_names
    from medloss.options import options

    known = options(loss_names()[term.name])
    return replace(term, settings={**term.settings, **{k: v for k, v in row.options.items() if k in known}})


def yaml_of(choice: Choice) -> str:
    """The choice as YAML, one line for each term."""
    lines = ["loss:"]
    for label, entry in choice.mapping().items():
        if choice.task != "register":
            lines.append(f"  {label}: {flow(entry)}")
            continue
        lines.append(f"  {label}:")
        lines += [f"    {name}: {flow(settings)}" for name, settings in entry.items()]
    return "\n".join(lines) + "\n"


def flow(value: Any) -> str:
    """A value in YAML's flow style.

    >>> flow({"softmax": True, "schedule": {"from": 0.0, "to": 0.1}, "scales": [1, 2]})
    '{softmax: true, schedule: {from: 0.0, to: 0.1}, scales: [1, 2]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def told(choice: Choice) -> Iterator[str]:
    """The choice in lines for a terminal: reasons, what else may serve, and the YAML."""
    for number, term in enumerate(choice.terms):
        yield f"{'start from' if not number else 'add'} {term.name}"
        yield from textwrap.wrap(term.why, WIDTH, initial_indent="    ", subsequent_indent="    ")
        if term.others:
            yield f"    or try: {', '.join(term.others)}"
    for note in choice.notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="      ")
    yield ""
    yield yaml_of(choice).rstrip("\n")
