"""Reports of kernels that are compiled ahead of time, kept as long as nothing changes that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
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
    yield from sorted((TESTS.parent / "medloss" / "ops").rglob("*.py"))
    yield from (file, TESTS / "triton_harness.py", TESTS / "ops" / "triton" / "conftest.py", Path(__file__))


def digest(file: Path, capability: int) -> str:
    """Of the sources, the versions of Triton and torch, the target, and what the environment asks for."""
    asked = sorted(item for item in os.environ.items() if item[0].startswith(CHOICES) and item[0] != "TRITON_INTERPRET")
    found = hashlib.sha256(repr((version("triton"), version("torch"), capability, asked)).encode())
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
