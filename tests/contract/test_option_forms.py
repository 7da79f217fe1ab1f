"""Point 9: options and sizes as people have them, in arrays and tensors, give what the same numbers in a list give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from cases import LossCase, cases, full_mask
from monai.data import MetaTensor

import medloss

ALONE: dict[str, Callable[[Any], Any]] = {
    "NumPy scalar": lambda number: np.array([number])[0],
    "0-d array": np.array,
    "0-d tensor": lambda number: torch.from_numpy(np.array(number)),
}
"""Forms of one number."""
SEVERAL: dict[str, Callable[[Any], Any]] = {
    "array": np.array,
    "tensor": lambda numbers: torch.from_numpy(np.array(numbers)),
    "MetaTensor": lambda numbers: MetaTensor(torch.from_numpy(np.array(numbers))),
    "tuple": tuple,
    "list of scalars": lambda numbers: [torch.from_numpy(np.array(number)) for number in numbers],
}
"""Forms of some numbers."""


def numbers_of(case: LossCase) -> Iterator[tuple[str, Any]]:
    """The options that are numbers, by their defaults and those of the case."""
    for name in (name for name in type(case.make()).__init__.__annotations__ if name != "return"):
        value = getattr(case.make(), name, None)
        if isinstance(value, (int, float)) or (
            isinstance(value, (list, tuple)) and np.array(value).dtype.kind in "biuf"
        ):
            yield name, value


def forms(value: Any) -> Iterator[tuple[str, Any]]:
    """A number, or some, in every form."""
    for name, made in (SEVERAL if isinstance(value, (list, tuple)) else ALONE).items():
        yield name, made(value)


def rounded(text: str) -> str:
    """With one kind of brackets."""
    return text.replace("[", "(").replace("]", ")").replace(",)", ")")


@pytest.mark.parametrize("case", cases(cell="option forms"), ids=str)
def test_options_in_every_form(case: LossCase) -> None:
    expected = rounded(repr(case.make()))
    for name, value in numbers_of(case):
        for form, given in forms(value):
            loss = case.make(**{name: given})
            held = getattr(loss, name)
            held = held.tolist() if isinstance(held, torch.Tensor) else held
            assert np.array_equal(held, np.array(value)), f"{name} as {form}"
            if not isinstance(getattr(loss, name), torch.Tensor):
                assert rounded(repr(loss)) == expected


@pytest.mark.parametrize("case", cases(cell="option forms", when=lambda case: case.accepts("spacing")), ids=str)
def test_sizes_in_every_form(case: LossCase) -> None:
    """As an option, and as an argument of the call, where the loss takes one."""
    rank = max(2, case.row.least)
    tensors = case.inputs(rank)
    for value in (2.0, [1.0, 2.5, 1.5][:rank]):
        case = case.with_options(spacing=value)
        if case.options.get("normalize"):
            continue
        expected = case.make()(*tensors)
        for form, given in forms(value):
            assert torch.equal(case.make(spacing=given)(*tensors), expected), form
            try:
                found = case.with_options(spacing=1.0).make()(*tensors, spacing=given)
            except TypeError as fault:
                assert "spacing" in str(fault)  # it takes none
                continue
            assert torch.equal(found, expected), form


@pytest.mark.parametrize("case", cases(cell="option forms", when=lambda case: case.accepts("window_size")), ids=str)
@pytest.mark.parametrize("name", ["sigma", "window_size"])
def test_windows_in_every_form(case: LossCase, name: str) -> None:
    tensors = case.inputs(2)
    value = [1.0, 2.5] if name == "sigma" else [3, 5]
    expected = case.make(**{name: value})(*tensors)
    for form, given in forms(value):
        assert torch.equal(case.make(**{name: given})(*tensors), expected), form


@pytest.mark.parametrize("case", cases(cell="whole-number mask"), ids=str)
def test_a_mask_of_whole_numbers_holds_weights(case: LossCase) -> None:
    tensors = case.inputs(max(2, case.row.least))
    mask = torch.randint(0, 4, full_mask(case, tensors[0]).shape)
    for dtypes, backend in (((torch.uint8, torch.uint16), None), ((torch.int64,), "reference")):
        with medloss.backend(backend):
            expected = case.make()(*tensors, mask=mask.float())
            for dtype in dtypes:
                assert torch.equal(case.make()(*tensors, mask=mask.to(dtype)), expected)


@pytest.mark.parametrize("kinds", [(torch.float32, torch.float64), (torch.float64, torch.float32)])
@pytest.mark.parametrize("half", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", cases("points", cell="option forms"), ids=str)
def test_points_of_two_types(case: LossCase, kinds: tuple[torch.dtype, torch.dtype], half: torch.dtype | None) -> None:
    one, other = (tensor.to(half or tensor.dtype) for tensor in case.inputs(2))
    expected = case.make()(one.double(), other.double())
    torch.testing.assert_close(case.make()(one.to(kinds[0]), other.to(kinds[1])), expected, check_dtype=False)
    if half is not None:
        torch.testing.assert_close(case.make()(one, other.float()), expected, check_dtype=False, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [medloss.LandmarkLoss, medloss.ChamferLoss])
def test_points_and_a_field_of_two_types(kind: type[medloss.PointLoss]) -> None:
    points, field = torch.rand(2, 1, 5, 2) * 3, torch.randn(1, 2, 6, 6)
    expected = kind()(*points.double(), field=field.double())
    torch.testing.assert_close(kind()(*points, field=field.double()), expected)
    torch.testing.assert_close(kind()(*points.double(), field=field), expected, check_dtype=False)
