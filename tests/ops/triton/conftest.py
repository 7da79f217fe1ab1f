"""The tests of the Triton kernels; ``tests/triton_harness.py`` says how to add one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

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
def compile_ahead(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, int], dict[str, list[Compiled]]]]:
    """Compile the ``LAUNCHES`` of a test file for a compute capability."""
    cache = getattr(request.config, "cache", None)  # there is none with -p no:cacheprovider
    ahead = Ahead(Path(cache.mkdir("triton")) if cache else tmp_path_factory.mktemp("triton"))
    yield functools.cache(ahead)
    ahead.close()
