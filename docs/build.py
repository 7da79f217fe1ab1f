"""Write the generated pages of the documentation: ``python docs/build.py``.

``losses.md`` lists every loss from its docstring; ``contract.md`` prints the matrix of the contract from the table that
the tests run; ``known_differences.md`` has the rows in which a drop-in differs from its peer, ``configuration.md`` the
keys of the applications, and ``choosing.md`` the table of the loss chooser.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "tests"), str(DOCS / "tables")]

import choosing_page  # noqa: E402
from cases import KINDS, TABLE, applies  # noqa: E402
from peer_differences import AUTHORS_DIFFERENCES, KNOWN_DIFFERENCES  # noqa: E402
from row import CELLS  # noqa: E402

from medloss.apps.common.config_text import Key, keys_of  # noqa: E402
from medloss.apps.losses import describe  # noqa: E402
from medloss.apps.losses.find import TITLES  # noqa: E402
from medloss.apps.registration.config import PairConfig, RegistrationConfig  # noqa: E402
from medloss.apps.segmentation.config import Config  # noqa: E402
from medloss.registry import losses, short_names, snake_case  # noqa: E402

POINTS = {
    1: "mask", 2: "ignore", 3: "targets", 4: "background", 5: "precision", 6: "degenerate", 7: "batch", 8: "reduction",
    9: "forms", 10: "state", 11: "gradients", 12: "memory", 13: "errors",
}  # fmt: skip
NOTE = "<!-- written by docs/build.py; do not edit -->\n"
LOSSES = """# Losses

Each loss is a class of `medloss`. Its docstring (`help(medloss.DiceLoss)`) has the formula, shapes, range, limits,
errors and an example. The second column is its name in YAML; some have a short name as well.
[Losses by family](families.md) groups them, and [Which loss?](choosing.md) (in the terminal: `medloss losses choose`)
suggests losses for a task.
"""
CONTRACT = """# The contract, loss by loss

`tests/contract` tests every cell of these tables; this page is printed from the table of the tests. ✓: the loss passes
the tests of the column. A number: the note names a test that does not apply, and the reason. –: the column does not
concern this kind of loss.
"""
DIFFERENCES = """# Known differences

The replacements `medloss.compat.monai`, `.kornia` and `.gdl` give the same numbers as the original packages, except for
the rows below. Each row has a test that shows both.
"""
CONFIGURATION = """# Configuration, key by key

These are the keys of a YAML file. On the command line you can set a single key: `train.optimizer.lr=1e-3`. An unknown
key is an error, whose message names the most similar known key. A key that your file leaves out has the default of this
page. The plan of `medloss segment train FOLDER` sets other values, chosen from the data
([what is planned](segmentation.md)); `medloss segment plan DATA -o plan.yaml` writes that plan as a whole file.
`--print-config` prints what a command would use. [The table of losses](losses.md) lists the names for `loss`.
"""
HEAD = "| key | values | default | meaning |\n|---|---|---|---|"
SCHEMAS = {
    "medloss segment train": Config,
    "medloss register train": RegistrationConfig,
    "medloss register pair": PairConfig,
}
AUTHORS = """
## Beside the authors' own code

What a user of the public code of a loss's authors meets here: the native losses (`medloss.*`) give its number by
default or with the options of the fifth column. Each row is a test, by hand-made values or by the formula written
again.

| loss | code | theirs | ours, by default | equal with | why |
|---|---|---|---|---|---|
"""


def sentence(text: str) -> str:
    """The first sentence, on one line."""
    first = re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0]
    return plain(first).rstrip(".")


def plain(text: str) -> str:
    """Markdown of one line of a docstring."""
    text = re.sub(r":(?:class|func|meth|data):`~?(?:\w+\.)*(\w+)`", r"`\1`", text)
    return re.sub(r":math:`([^`]*)`", r"$\1$", text).replace("``", "`").replace("|", "\\|")


def section(text: str, name: str) -> str:
    """A section of a docstring (``Shape:``, ``References:``), on one line."""
    return plain(" ".join(describe.section(text, name).split()))


def loss_page() -> str:
    """Every loss by what it sees: name, what it measures, range, source."""
    parts = [NOTE, LOSSES]
    for kind in KINDS:
        parts += [
            f"## {TITLES[kind]}\n",
            "| class | in YAML | what it measures | range | source |",
            "|---|---|---|---|---|",
        ]
        for cls in sorted(losses(kind).values(), key=lambda cls: cls.__name__):
            doc = inspect.cleandoc(cls.__doc__)
            cells = [f"`{cls.__name__}`", yaml_names(cls), sentence(doc), section(doc, "Range")]
            parts.append(f"| {' | '.join(cells)} | {section(doc, 'References')} |")
        parts.append("")
    return "\n".join(parts)


def yaml_names(cls: type) -> str:
    """The name of a loss in YAML, and the short one behind it where it has one."""
    name = snake_case(cls.__name__)
    return ", ".join(f"`{each}`" for each in [name, *short_names(name)])


def contract_page() -> str:
    """The matrix: one line for each loss, one column for each point, a note where a cell does not apply."""
    parts = [NOTE, CONTRACT, "| column | tests |", "|---|---|"]
    for point, title in POINTS.items():
        held = "; ".join(f"*{cell}*: {text}" for cell, (number, text) in CELLS.items() if number == point)
        parts.append(f"| {point} {title} | {held} |")
    notes: dict[str, int] = {}
    for kind in KINDS:
        head = " | ".join(f"{point} {title}" for point, title in POINTS.items())
        parts += ["", f"## {TITLES[kind]}\n", f"| loss | {head} |", "|---|" + "---|" * len(POINTS)]
        for cls in sorted(losses(kind).values(), key=lambda cls: cls.__name__):
            cells = [cell_text(cls.__name__, kind, point, notes) for point in POINTS]
            parts.append(f"| `{cls.__name__}` | {' | '.join(cells)} |")
    parts += ["", "## Notes\n"] + [f"{number}. {text}" for text, number in notes.items()]
    return "\n".join(parts) + "\n"


def cell_text(name: str, kind: str, point: int, notes: dict[str, int]) -> str:
    """A tick, the numbers of the notes, or a dash."""
    found = {cell: applies(name, kind, cell) for cell, (number, _) in CELLS.items() if number == point}
    marks = []
    for cell, why in found.items():
        if why:
            marks.append(f"<sup>{notes.setdefault(f'{cell}: {why}', len(notes) + 1)}</sup>")
    row = TABLE.get(name)
    if point == 9 and row is not None and row.least > 1:
        text = f"ranks: {row.least}D and up"
        marks.append(f"<sup>{notes.setdefault(text, len(notes) + 1)}</sup>")
    held = any(why is None for why in found.values())
    return ("✓" if held else "–") + "".join(marks)


def differences_page() -> str:
    """Where a drop-in differs from its peer, and a loss from its authors' code."""
    parts = [NOTE, DIFFERENCES, "| peer | name | when | theirs | ours | why |", "|---|---|---|---|---|---|"]
    for row in KNOWN_DIFFERENCES:
        cells = [row.peer, f"`{row.name}`", row.when, row.theirs, row.ours, row.why]
        parts.append("| " + " | ".join(plain(" ".join(cell.split())) for cell in cells) + " |")
    parts.append(AUTHORS.rstrip("\n"))
    for row in AUTHORS_DIFFERENCES:
        cells = [f"`{row.name}`", row.code, row.theirs, row.ours, row.equal, row.why]
        parts.append("| " + " | ".join(plain(" ".join(cell.split())) for cell in cells) + " |")
    return "\n".join(parts) + "\n"


def configuration_page() -> str:
    """Every key of every configuration, from the schemas that check them."""
    parts = [NOTE, CONFIGURATION]
    for command, schema in SCHEMAS.items():
        parts += [f"## `{command}`\n", HEAD]
        for key in keys_of(schema):
            if key.kind == "section":
                parts += ["", f"### `{key.path}` ({command.split()[1]})\n", f"{plain(key.told)}\n", HEAD]
            else:
                parts.append(key_row(key))
        parts.append("")
    return "\n".join(part for part in parts).rstrip() + "\n"


def key_row(key: Key) -> str:
    """One line of a table."""
    return f"| `{key.path}` | {plain(key.kind)} | `{key.default}` | {plain(key.told)} |"


PAGES = {
    "losses.md": loss_page,
    "contract.md": contract_page,
    "known_differences.md": differences_page,
    "configuration.md": configuration_page,
    "choosing.md": lambda: f"{NOTE}\n{choosing_page.page()}",
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
