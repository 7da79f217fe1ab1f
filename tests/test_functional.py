"""The functional forms: what a type checker sees of them is what runs."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import LossCase, cases, is_first

import medloss
from medloss.registry import losses, snake_case

ROOT = Path(__file__).resolve().parent.parent
FIRST = [case for case in cases() if is_first(case)]


@pytest.fixture(scope="module")
def stub() -> object:
    """The script that writes the stub."""
    spec = importlib.util.spec_from_file_location("docs_stub", ROOT / "docs" / "stub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stub_is_up_to_date(stub) -> None:
    assert stub.STUB.read_text(encoding="utf-8") == stub.stub(), "functional.pyi is stale: run `make docs`"


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_a_function_is_its_loss(case: LossCase) -> None:
    function, tensors = getattr(medloss.functional, snake_case(case.name)), case.inputs(2)
    expected = case.make()(*tensors)
    torch.testing.assert_close(function(*tensors, **case.options), expected, equal_nan=True)
    parameters = inspect.signature(function).parameters
    assert set(inspect.signature(getattr(medloss, case.name)).parameters) < set(parameters)
    inspect.signature(function).bind(*tensors, mask=None, **case.options)
    with pytest.raises(TypeError, match="has no option 'reducton'; did you mean reduction"):
        function(*tensors, **case.options, reducton="mean")


def test_every_loss_has_a_function_once_the_package_is_imported() -> None:
    code = f"import medloss; assert all(callable(getattr(medloss.functional, name)) for name in {sorted(losses())})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
