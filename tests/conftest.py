"""What all tests share: few threads, and compiled kernels that may not read what they did not write."""

from __future__ import annotations

import gc
import locale
import os
from collections.abc import Iterator
from pathlib import Path

# Threads of several processes that wait for each other keep both processors busy: a process of pytest-xdist has one. It
# inherits the variables of the process that starts it, in which this file has set two.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# For a graph of any shape torch keeps each step in a cache, which takes longer than the step: a third of a compilation.
os.environ.setdefault("TORCH_FAKE_TENSOR_DISPATCH_CACHE", "0")
# Four tests build the library: objects are kept, as by make, so that each source is compiled once.
os.environ.setdefault("MEDLOSS_OBJECTS", str(Path(__file__).resolve().parents[1] / "build" / "objects"))

import pytest
import torch
from brief_reports import BriefReports
from hypothesis import settings

settings.register_profile("same examples in every run", derandomize=True)
settings.load_profile("same examples in every run")

# Triton reads this once, when it is first imported, be it by torch.compile in another test: where there is no GPU its
# kernels are interpreted. Compiled CPU code does not care.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """A file's content does not belong in the name of a test: a compressed one may contain the time, and then the two
    processes of pytest-xdist collect different tests."""
    return f"{len(val)} bytes" if isinstance(val, bytes | bytearray) else None


def pytest_collection_finish() -> None:
    """What is there by now, all tests among it, stays to the end: the collector of garbage leaves it out."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


LOCALE = locale.setlocale(locale.LC_ALL)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        config.pluginmanager.register(BriefReports())


@pytest.fixture(autouse=True)
def _same_locale() -> Iterator[None]:
    """A library that a test loads may set the C locale, in which files and processes are read as ASCII ever after."""
    yield
    locale.setlocale(locale.LC_ALL, LOCALE)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    if torch.cuda.is_available():
        torch.manual_seed(0)
    else:  # it would write down where it was called from, for each kind of device that is not there: a millisecond
        torch.default_generator.manual_seed(0)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory full of NaN: a kernel that leaves an entry unwritten fails at once."""

    def poison(function):
        def made(*args, **kwargs):
            tensor = function(*args, **kwargs)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

        return made

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poison(getattr(torch, name)))
