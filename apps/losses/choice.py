"""What the table of the chooser recommends for some answers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medloss.apps.common.errors import UserError
from medloss.apps.losses.chooser import ADVICE, QUESTIONS, TASKS, Advice, Question
from medloss.spelling import suggestion

WIDTH = 100
Answers = Mapping[str, tuple[str, ...]]
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
    """What is recommended: terms, what else to know, and the answers that were assumed."""

    task: str
    terms: tuple[Chosen, ...]
    notes: tuple[str, ...]
    assumed: tuple[str, ...] = field(default=(), compare=False)

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
        answers: ``task``, and an answer to each of its questions by name, or several with commas between them
            (``foreground=small,absent``); the first answer stands where none is given.

    Raises:
        UserError: no task, or a question or an answer that there is not.

    >>> [term.name for term in choose({"task": "segment", "structure": "tubes"}).terms]
    ['dice_ce', 'skeleton_recall']
    """
    full = checked(answers)
    task = answers["task"]
    rows = [row for row in ADVICE if row.task == task and _holds(row, full)]
    passed = [row for row in rows if row.role == "first"][1:]
    rows = [row for row in rows if row not in passed]
    terms = [_term(row) for row in rows if row.role in ("first", "add")]
    settings = [row for row in rows if row.role == "set"]
    for row in settings:
        terms = [_with(term, row) for term in terms]
    notes = [row.why for row in [*settings, *(row for row in rows if row.role == "note")]]
    given = {name: full[name] for name in answers if name != "task"}
    assumed = [f"{name}={','.join(each)}" for name, each in full.items() if name not in answers]
    return Choice(task, tuple(terms), (*notes, *_without_effect(task, given, rows, passed)), tuple(assumed))


def checked(answers: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The answers to every question of the task, the first one where none is given.

    Raises:
        UserError: no task, or a question or an answer that there is not.
    """
    if "task" not in answers:
        raise UserError(f"say the task: one of {', '.join(TASKS)}")
    task = answers["task"]
    questions = {question.name: question for question in questions_of(task)}
    found: dict[str, tuple[str, ...]] = {name: (next(iter(question.answers)),) for name, question in questions.items()}
    for name, given in answers.items():
        if name == "task":
            continue
        if name not in questions:
            raise UserError(f"{name} is no question of the task {task}{suggestion(name, questions)}")
        known = questions[name].answers
        for answer in given.split(","):
            if answer not in known:
                raise UserError(f"{name}: no answer is called {answer!r}{suggestion(answer, known)}")
        found[name] = tuple(given.split(","))
    return found


def _holds(row: Advice, answers: Answers) -> bool:
    wanted = all(_meet(answers[name], values) for name, values in row.when.items())
    return wanted and not any(_meet(answers[name], values) for name, values in row.unless.items())


def _meet(given: Sequence[str], values: Sequence[str]) -> bool:
    return not set(given).isdisjoint(values)


def _without_effect(task: str, given: Answers, used: Sequence[Advice], passed: Sequence[Advice]) -> Iterator[str]:
    """A sentence for each given answer that no row names that was used; the first answer of a question needs none.

    Where another answer has given the term that this one asks for, the sentence names it.
    """
    chosen = {row.loss for row in used}
    for question in questions_of(task):
        for answer in given.get(question.name, ()):
            mine = [row for row in ADVICE if row.task == task and answer in row.when.get(question.name, ())]
            if answer == next(iter(question.answers)) or any(row in used for row in mine):
                continue
            there = [name for row in mine if row.role == "add" for name in (row.loss, *row.others) if name in chosen]
            if there:
                yield f"{question.name}={answer}: {there[0]}, which is added already, is meant for this as well."
                continue
            alone = [row.loss for row in passed if answer in row.when.get(question.name, ())]
            instead = f" Without the other answers the start would be {alone[0]}." if alone else ""
            yield f"{question.name}={answer} changes nothing here: other answers come first.{instead}"


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
    """The choice in lines for a terminal: reasons, what else may serve, the YAML, and how to use it."""
    if choice.assumed:
        yield from textwrap.wrap(f"assumed: {' '.join(choice.assumed)} (--questions lists all)", WIDTH)
        yield ""
    for number, term in enumerate(choice.terms):
        yield f"{'start from' if not number else 'add'} {term.name}"
        yield from textwrap.wrap(term.why, WIDTH, initial_indent="    ", subsequent_indent="    ")
        if term.others:
            yield f"    or try: {', '.join(term.others)}"
    for note in choice.notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="      ")
    yield ""
    yield yaml_of(choice).rstrip("\n")
    yield ""
    yield from usage(choice)


def usage(choice: Choice) -> Iterator[str]:
    """How to use the choice: a command where an application takes it, and the lines of Python."""
    mapping = choice.mapping()
    if choice.task == "segment":
        yield f"In the application: medloss segment train FOLDER 'loss={flow(mapping)}'"
    if "points" in mapping:  # which only a training takes
        yield f"In the application: medloss register train CONFIG data.points=lps 'loss={flow(mapping)}'"
    elif choice.task == "register":
        yield f"In the application: medloss register pair FIXED MOVING -o RESULT 'loss={flow(mapping)}'"
    entry = mapping if choice.task != "register" else next(iter(mapping.values()))
    yield "In Python:"
    yield "    from medloss.config import build_loss"
    yield f"    loss = build_loss({entry!r})"
