"""A machine on which Triton could not compile: the path answers with its reason, and the reference serves."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cases import LossCase, cases, is_first
from torch._subclasses.fake_tensor import FakeTensorMode

from medloss.ops import native, triton_path
from medloss.ops.dispatch import listen


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    triton_path.unavailable.cache_clear()
    triton_path._unfit.cache_clear()
    yield
    triton_path.unavailable.cache_clear()
    triton_path._unfit.cache_clear()


def on_gpu(monkeypatch) -> torch.Tensor:
    """A tensor of a GPU that is made up."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    with FakeTensorMode():
        return torch.empty(2, 3, device="cuda")


def installed(monkeypatch, folder: Path, text: str) -> None:
    """A package called triton whose own file is this."""
    file = folder / "__init__.py"
    file.write_text(text)
    spec = importlib.machinery.ModuleSpec("triton", None, origin=str(file))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.delitem(sys.modules, "triton", raising=False)


@pytest.mark.parametrize("version", ["2.3.1", "3.2.0", "3.3.1", "3.4.0", "3.5.1", "3.5.1+git12"])
def test_a_triton_that_cannot_compile_the_kernels_is_a_reason(version: str, monkeypatch, tmp_path) -> None:
    tensor = on_gpu(monkeypatch)
    installed(monkeypatch, tmp_path, f'"""isort:skip_file"""\n__version__ = \'{version}\'\n')
    (reason,) = triton_path.reasons(tensor)
    assert version in reason
    assert "3.6" in reason


@pytest.mark.parametrize("text", ["__version__ = '3.6.0'", "__version__ = '3.10.0'", "__version__ = '4.0.0'", "x = 1"])
def test_one_that_can_is_none(text: str, monkeypatch, tmp_path) -> None:
    """And one that does not say: no number is no reason."""
    installed(monkeypatch, tmp_path, text)
    assert triton_path.unavailable() == ""


def test_the_version_that_is_read_is_the_one_that_is_imported() -> None:
    triton = pytest.importorskip("triton")
    assert triton_path._version(importlib.util.find_spec("triton").origin) == triton.__version__


@pytest.mark.parametrize("case", [case for case in cases() if is_first(case)], ids=str)
def test_the_reference_serves_every_loss(case: LossCase, monkeypatch) -> None:
    monkeypatch.setattr(native, "unavailable", lambda: "not built")
    monkeypatch.setattr(triton_path, "unavailable", lambda: "triton is 3.2.0")
    tensors = case.inputs(max(2, case.row.least))
    with listen() as heard:
        case.make()(*tensors)
    for decision in heard:
        assert decision.backend == "reference"
        assert "triton is 3.2.0" in decision.reasons.get("triton", ["triton is 3.2.0"])


def test_headers_that_are_missing_are_a_reason(monkeypatch, tmp_path) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    for name in ("CC", "CPATH", "C_INCLUDE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(triton_path, "_headers", lambda: str(tmp_path))
    (reason,) = triton_path.reasons(on_gpu(monkeypatch))
    assert "Python.h" in reason
    assert str(tmp_path) in reason
    assert "python3-dev" in reason
    triton_path._unfit.cache_clear()
    (tmp_path / "Python.h").touch()
    assert triton_path.reasons(on_gpu(monkeypatch)) == []


def test_headers_may_lie_where_the_compiler_is_told_to_look(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(triton_path, "_headers", lambda: str(tmp_path / "none"))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("CPATH", f"/somewhere:{tmp_path}")
    assert triton_path._missing_tools() == []


@pytest.mark.parametrize(("named", "told"), [("", "neither gcc nor clang"), ("icx", "'icx'")])
def test_no_compiler_is_a_reason(named: str, told: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(triton_path, "_headers", lambda: str(tmp_path))
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("CC", named)
    (reason,) = triton_path._missing_tools()
    assert told in reason


def test_products_of_an_amd_gpu_are_not_asked_for_tf32(monkeypatch) -> None:
    monkeypatch.setattr(torch.version, "hip", None)
    assert triton_path.precision(torch.float32) == "tf32x3"
    assert triton_path.precision(torch.float64) == "ieee"
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert triton_path.precision(torch.float32) == "ieee"
