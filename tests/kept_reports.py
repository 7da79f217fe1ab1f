"""What is kept of tests of Triton kernels between runs, as long as nothing changes that they depend on.

Reports of kernels that are compiled ahead of time are kept always. Which tests of interpreted kernels have passed is
kept for ``make test`` and ``make quick``, which set ``MEDLOSS_TESTS_ONCE``: they leave those out, ``pytest`` runs them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
KEPT = TESTS.parent / "build" / "aot"
"""Cleared by ``make clean``. A report takes a kilobyte or two; those of a file's earlier states are removed."""
CHOICES = ("MEDLOSS_BACKEND", "TRITON_", "TRITONBENCH_", "PTXAS", "LLVM_")
"""Beginnings of the environment variables that say how kernels are compiled."""


def sources(file: Path) -> Iterator[Path]:
    """What a test file's launches, their kernels and the report are made by."""
    package = TESTS.parent / "medloss"
    whole = re.search(r"^import medloss$", file.read_text(encoding="utf-8"), re.MULTILINE)  # it tests losses, too
    yield from sorted((package if whole else package / "ops").rglob("*.py"))
    yield from (file, *(TESTS / name for name in ("triton_harness.py", "machine_code.py", "kept_reports.py")))


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
