"""The tests of the Triton kernels; ``tests/triton_harness.py`` says how to add one."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from kept_reports import passed, remember
from quick_interpreter import patch_once
from triton_harness import Ahead, Compiled, device

from medloss.ops import triton_path


@pytest.fixture(autouse=True)
def _triton() -> Iterator[None]:
    if triton_path.unavailable():
        pytest.skip(triton_path.unavailable())
    if device() == "cpu" and not triton_path.interpreting():
        pytest.skip("TRITON_INTERPRET is not set, and there is no GPU")
    if triton_path.interpreting():
        patch_once()
    with numpy.errstate(all="ignore"):  # the interpreter's arithmetic is NumPy's, which warns where a GPU would not
        yield


@pytest.fixture(scope="session")
def compile_ahead() -> Iterator[Callable[[str, int], dict[str, list[Compiled]]]]:
    """Compile the ``LAUNCHES`` of a test file for a compute capability, or say what came of them before."""
    ahead = Ahead()
    yield functools.cache(ahead)
    ahead.close()


HERE = Path(__file__).resolve().parent
ONCE = os.environ.get("MEDLOSS_TESTS_ONCE") == "1" and device() == "cpu" and triton_path.interpreting()
_PASSED: dict[Path, set[str]] = defaultdict(set)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what passed before, and would do the same again (see ``tests/kept_reports.py``)."""
    known = functools.cache(passed)
    again = [item for item in items if ONCE and item.path.parent == HERE and item.nodeid in known(item.path)]
    if again:
        config.hook.pytest_deselected(items=again)
        left_out = set(again)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Remember what has passed."""
    report = yield
    if ONCE and report.when == "call" and report.passed:
        _PASSED[item.path].add(item.nodeid)
    return report


def pytest_sessionfinish() -> None:
    """Keep it for the next run; none of this run's processes reads it."""
    for file, names in _PASSED.items():
        remember(file, sorted(names | passed(file)))
