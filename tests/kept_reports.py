"""What is kept of tests of Triton kernels between runs, as long as nothing changes that they depend on.

Reports of kernels that are compiled ahead of time are kept always. Which tests of interpreted kernels have passed is
kept for ``make test`` and ``make quick``, which set ``MEDLOSS_TESTS_ONCE``: they leave those out, ``pytest`` runs them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "medloss"
FACADES = (PACKAGE / "__init__.py", PACKAGE / "ops" / "__init__.py")
"""Packages that do nothing but name what others define."""
KEPT = TESTS.parent / "build" / "aot"
"""Cleared by ``make clean``. A report takes a kilobyte or two; those of a file's earlier states are removed."""
PARTS = ("triton_harness.py", "kept_reports.py", "quick_interpreter.py")
"""What every report is made by, beside its test file."""
CHOICES = ("MEDLOSS_BACKEND", "TRITON_", "TRITONBENCH_", "PTXAS", "LLVM_")
"""Beginnings of the environment variables that say how kernels are compiled."""


def sources(file: Path) -> Iterator[Path]:
    """What a test file's launches, their kernels and the report are made by: the files that its imports lead to."""
    yield from sorted(reached(file) | {TESTS / name for name in PARTS})


def reached(file: Path) -> set[Path]:
    """A file, and those of the package and of the tests that it imports anywhere, and that these import, and so on.

    A package's names are followed to where they come from, and the package's other names are not: ``medloss.ops``
    names all operators. ``import medloss`` alone may use any name.
    """
    found, open_files = set(), [file]
    while open_files:
        path = open_files.pop()
        if path not in found:
            found.add(path)
            open_files += _imported(path)
    return found


@functools.cache
def _imported(file: Path) -> list[Path]:
    found: list[Path] = []
    if file in FACADES:
        return found
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            for name in (alias.name for alias in node.names):
                found += sorted(PACKAGE.rglob("*.py")) if name == "medloss" else _files(name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += _files(node.module)
            for alias in node.names:
                found += _files(f"{node.module}.{alias.name}") or _origin(node.module, alias.name)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("medloss."):  # as a key of sys.modules
            found += _files(str(node.value))
    return found


def _files(module: str) -> list[Path]:
    """A module's file and those of the packages above it; empty for what is no module of ours."""
    parts, found = module.split("."), []
    if parts[0] != "medloss":
        return [TESTS / f"{module}.py"] if (TESTS / f"{module}.py").is_file() else []
    for end in range(1, len(parts) + 1):
        place = PACKAGE.parent.joinpath(*parts[:end])
        here = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not here.is_file():
            return []
        found.append(here)
    return found


def _origin(module: str, name: str) -> list[Path]:
    """The files of the module that a package takes a name from; the whole package where that is not seen."""
    facade = PACKAGE.parent.joinpath(*module.split("."), "__init__.py")
    if facade not in FACADES:
        return []  # its own file is followed
    for node in ast.walk(ast.parse(facade.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and name in [a.asname or a.name for a in node.names]:
            return _files(node.module)
    return sorted(facade.parent.rglob("*.py"))


def digest(file: Path, capability: int) -> str:
    """Of the sources, what runs them, the target (0: the interpreter), and what the environment asks for."""
    asked = sorted(item for item in os.environ.items() if item[0].startswith(CHOICES) and item[0] != "TRITON_INTERPRET")
    versions = [version(name) for name in ("triton", "torch", "numpy")] + [sys.version]
    found = hashlib.sha256(repr((versions, capability, asked)).encode())
    for path in sources(file):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:32]


def kept(file: Path, capability: int, make: Callable[[], Any], folder: Path = KEPT) -> Any:
    """The report of an earlier run where nothing has changed since, else what ``make`` gives, for the next run.

    A report is kept of whatever was compiled, good or bad: the test looks at it every time.
    """
    report = folder / f"{file.stem}-{capability}-{digest(file, capability)}.json"
    if report.is_file():
        return json.loads(report.read_text(encoding="utf-8"))
    found = make()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{file.stem}-{capability}-*.json"):
        old.unlink(missing_ok=True)
    partial = report.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found), encoding="utf-8")
    os.replace(partial, report)
    return found


def passed(file: Path, folder: Path = KEPT) -> set[str]:
    """The tests of a file that passed before under the interpreter, where nothing has changed since."""
    return {
        name
        for each in (folder / "passed").glob(f"{file.stem}-{digest(file, 0)}-*")
        for name in each.read_text(encoding="utf-8").splitlines()
    }


def remember(file: Path, names: Iterable[str], folder: Path = KEPT) -> None:
    """Keep which tests of a file have passed; what was kept of its earlier states is removed."""
    state = f"{file.stem}-{digest(file, 0)}"
    (folder / "passed").mkdir(parents=True, exist_ok=True)
    for old in (folder / "passed").glob(f"{file.stem}-*"):
        if not old.name.startswith(state):
            old.unlink(missing_ok=True)
    (folder / "passed" / f"{state}-{uuid.uuid4().hex}").write_text("\n".join(names), encoding="utf-8")
