"""The page of the chooser: its questions, and its whole table with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medloss.apps.losses.choice import flow, questions_of
from medloss.apps.losses.chooser import ADVICE, TASKS, Advice

HEAD = """# Which loss?

Answer the questions of your task. Start from the first row of *start* that fits, take every row of *add* that fits, and
set what *set* says. A question may have several answers. The terminal answers from the same table:

```console
medloss losses choose
medloss losses choose task=segment structure=tubes metric=topology
```
"""


def page() -> str:
    """The page in Markdown."""
    parts = [HEAD]
    for task, told in TASKS.items():
        asked = [
            [question.asks, "; ".join(f"**{name}**: {words}" for name, words in question.answers.items())]
            for question in questions_of(task)
        ]
        rows = [
            [{"first": "start"}.get(row.role, row.role), conditions(row), named(row), row.why]
            for row in ADVICE
            if row.task == task
        ]
        parts += [f"## {task}: {told}\n", table(["question", "answers"], asked)]
        parts.append(table(["", "if", "loss and settings", "why"], rows))
    return "\n".join(parts).rstrip() + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def conditions(row: Advice) -> str:
    """When a row holds, in words."""
    wanted = [f"{name}: {' or '.join(values)}" for name, values in row.when.items()]
    barred = [f"not {name}: {' or '.join(values)}" for name, values in row.unless.items()]
    return "; ".join(wanted + barred) or "always"


def named(row: Advice) -> str:
    """The loss with its settings, and what else may serve."""
    found = " ".join(f"`{each}`" for each in (row.loss, flow(row.options) if row.options else "") if each)
    return found + (f"; or {', '.join(f'`{other}`' for other in row.others)}" if row.others else "")
