"""One page for each loss: text, picture, options in words, contract, cost beside the peers, YAML."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from medloss.apps.losses.choice import flow
from medloss.apps.losses.describe import from_where, options_in_words
from medloss.apps.losses.phantom import kind_of, made
from medloss.base import Loss
from medloss.config import NOT_IN_YAML
from medloss.options import options
from medloss.registry import losses, snake_case

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
CAPTION = {
    "label": "The standard phantom has an organ, a vessel and two lesions. In the prediction the organ is shifted, the "
    "vessel has a gap, one lesion is missed, and one is predicted where there is none.",
    "image": "The input is the target, shifted by 4 voxels.",
    "field": "The field folds in its middle.",
    "points": "The target is points on a circle; the input is these points, enlarged and shifted.",
}
COLOURS = " Blue: a step of gradient descent raises the value of the input here. Red: it lowers the value."
MOVED = " The curve shows the loss of the shifted target against the target."


def module_of(path: Path, name: str) -> ModuleType:
    """A script of the checkout as a module, under another name than that of its file."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@cache
def benchmark_rows() -> dict[str, list[str]]:
    """The rows of the benchmark by the class of the loss that they measure."""
    sys.path.append(str(ROOT / "benchmarks"))
    found: dict[str, list[str]] = {}
    for row in module_of(ROOT / "benchmarks" / "rows.py", "benchmark_rows").ROWS:
        found.setdefault(type(row.ours()).__name__, []).append(row.name)
    return found


def pages(out: Path, pictures: bool) -> dict[str, str]:
    """The page of each loss, and the list of all."""
    found = {}
    for name, cls in sorted(losses().items()):
        picture = Path("losses") / f"{name}.png"
        if pictures:
            draw(cls, out / picture)
        found[f"losses/{name}.rst"] = page(cls, (out / picture).is_file())
    return found


def draw(cls: type[Loss], path: Path) -> None:
    """The picture of a loss, unless there is one that is younger than the code that it shows."""
    from medloss.apps.losses import phantom, picture

    parts = [Path(module.__file__ or "") for module in (phantom, picture, sys.modules[cls.__module__])]
    if path.is_file() and path.stat().st_mtime > max(part.stat().st_mtime for part in parts):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.draw(cls, path)


def page(cls: type[Loss], picture: bool) -> str:
    """reStructuredText, as the docstrings are."""
    name, kind = cls.__name__, kind_of(cls)
    parts = [heading(name, "="), f".. autoclass:: medloss.{name}\n"]
    if picture:
        parts.append(heading("What it sees", "-"))
        parts.append(f".. image:: {snake_case(name)}.png\n   :alt: value and gradient of {name} on the phantom\n")
        parts.append(CAPTION[kind] + ("" if kind == "points" else COLOURS) + (MOVED if kind != "field" else "") + "\n")
    parts += [heading("Options", "-"), options_table(cls), heading("In YAML", "-"), yaml(cls)]
    shown = tutorials_with(cls)
    if shown:
        links = "\n".join(f"* :doc:`{title} </tutorials/{stem}>`" for stem, title in shown.items())
        parts += [heading("In the tutorials", "-"), links + "\n"]
    parts += [heading("What it costs", "-"), cost(cls), heading("What the tests hold it to", "-"), contract(cls, kind)]
    return "\n".join(parts)


@cache
def tutorials() -> dict[str, tuple[str, str]]:
    """Title and code of each notebook, by the name of its file."""
    found = {}
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found[path.stem] = ("".join(cells[0]["source"]).split("\n", 1)[0].removeprefix("# "), code)
    return found


def tutorials_with(cls: type[Loss]) -> dict[str, str]:
    """The notebooks whose code has a loss, by its class or as an entry of a configuration: file to title."""
    used = re.compile(rf"\bmedloss\.{cls.__name__}\b|\b{snake_case(cls.__name__)}\"?: \{{")
    return {stem: title for stem, (title, code) in tutorials().items() if used.search(code)}


def heading(text: str, line: str) -> str:
    """A title."""
    return f"{text}\n{line * len(text)}\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of reStructuredText, cell by cell."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [head, *rows]:
        for number, cell in enumerate(row):
            lines.append(f"   {'* -' if not number else '  -'} {cell}".rstrip())
    return "\n".join(lines) + "\n"


def options_table(cls: type[Loss]) -> str:
    """Every option in words, those that it has from others too."""
    rows = []
    for option in options_in_words(cls):
        source = from_where(option, cls)
        rows.append([f"``{option.name}``", f"``{option.default}``", option.words, source])
    return table(["option", "default", "what it does", "of"], rows)


def yaml(cls: type[Loss]) -> str:
    """The entry of a configuration with what must be said."""
    given = {
        name: value for name, value in made(cls)._given.items() if name in options(cls) and name not in NOT_IN_YAML
    }
    entry = flow(given)
    return f".. code-block:: yaml\n\n   loss:\n     {snake_case(cls.__name__)}: {entry}\n"


def cost(cls: type[Loss]) -> str:
    """Milliseconds and memory from the committed benchmark."""
    speed, memory = (json.loads((RESULTS / f"{what}.json").read_text()) for what in ("speed", "memory"))
    rows = []
    for name in benchmark_rows().get(cls.__name__, []):
        times, peaks = speed["rows"].get(name, {}), memory["rows"].get(name, {})
        for who in (who for who in times if who != "floor"):
            took = times[who]["median_ms"]
            rows.append([name, who, f"{took:.1f}", f"{took / times['medloss']['median_ms']:.1f}",
                         f"{peaks[who]:.2f}" if who in peaks else "–"])  # fmt: skip
    if not rows:
        return (
            f"The committed benchmark has no row of it. ``medloss losses time {snake_case(cls.__name__)}`` measures.\n"
        )
    about = speed["machine"]
    told = (
        f"{about['processor']}, {about['threads']} threads, {speed['dtype']}, forward and backward. Memory: the peak "
        "beyond the inputs, in units of the first tensor. :doc:`/performance` says how it was measured, and "
        f"``medloss losses time {snake_case(cls.__name__)}`` measures here.\n"
    )
    return told + "\n" + table(["row", "package", "ms", "times ours", "memory"], rows)


def contract(cls: type[Loss], kind: str) -> str:
    """Its row of the contract, with the reason where a point does not apply."""
    build = module_of(ROOT / "docs" / "build.py", "docs_build")
    kind = {"field_pair": "field"}.get(kind, kind)
    rows = []
    for point, title in build.POINTS.items():
        notes: dict[str, int] = {}
        mark = build.cell_text(cls.__name__, kind, point, notes)
        rows.append([f"{point} {title}", mark[0], "; ".join(notes)])
    return ":doc:`/contract` says what each point is.\n\n" + table(["point", "held", "but"], rows)
