"""The tests of the Triton kernels; ``tests/triton_harness.py`` says how to add one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy
import pytest
from triton_harness import Ahead, Compiled, device

from medloss.ops import triton_path


@pytest.fixture(autouse=True)
def _triton() -> Iterator[None]:
    if triton_path.unavailable():
        pytest.skip(triton_path.unavailable())
    if device() == "cpu" and not triton_path.interpreting():
        pytest.skip("TRITON_INTERPRET is not set, and there is no GPU")
    with numpy.errstate(all="ignore"):  # the interpreter's arithmetic is NumPy's, which warns where a GPU would not
        yield


@pytest.fixture(scope="session")
def compile_ahead() -> Iterator[Callable[[str, int], dict[str, list[Compiled]]]]:
    """Compile the ``LAUNCHES`` of a test file for a compute capability, or say what came of them before."""
    ahead = Ahead()
    yield functools.cache(ahead)
    ahead.close()
