"""Point 9: devices. Nothing is made on torch's default device, and tensors on meta have shapes alone."""

from __future__ import annotations

import pytest
import torch
from cases import LossCase, cases, full_mask, is_first, value_and_gradient
from turns import numbered

import medloss


@pytest.mark.parametrize("case", cases(cell="default device"), ids=str)
def test_a_default_device_is_nobody_s_business(case: LossCase) -> None:
    """A scratch tensor that is made without a device would lie on meta, and meet those of the CPU."""
    rank = max(2, case.row.least)
    tensors = case.inputs(rank)
    mask = full_mask(case, tensors[0])
    mask.view(mask.shape[0], -1)[:, ::5] = 0
    for given, backend in ((None, None), (mask, "reference")) if is_first(case) else ((mask, None),):
        expected = value_and_gradient(case.make(), tensors, given)
        with torch.device("meta"), medloss.backend(backend):
            loss, first = case.make(), tensors[0].clone().requires_grad_()
            value = loss(first, *tensors[1:], **({} if given is None else {"mask": given}))
            (gradient,) = torch.autograd.grad(value, first)
        torch.testing.assert_close((value.detach(), gradient), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case,number", numbered(cases(cell="meta")), ids=str)
def test_tensors_on_meta(case: LossCase, number: int) -> None:
    """A scalar there, with a gradient, in training and out of it; class weights go where the input is."""
    tensors = [tensor.to("meta") for tensor in case.inputs(max(2, case.row.least))]
    first = tensors[0].requires_grad_()
    masks = [None, full_mask(case, first).to("meta")]
    for mask in masks if number == 0 else masks[number % 2 :][:1]:
        value = case.make()(first, *tensors[1:], **({} if mask is None else {"mask": mask}))
        assert value.is_meta
        assert value.shape == ()
        (gradient,) = torch.autograd.grad(value, first)
        assert gradient.is_meta
        assert gradient.shape == first.shape
    with torch.no_grad():
        assert case.make()(first, *tensors[1:]).is_meta


@pytest.mark.parametrize("case", cases(cell="default device"), ids=str)
def test_a_loss_built_on_meta_keeps_its_numbers(case: LossCase) -> None:
    """So is a large model built before its weights are read: with to_empty, which makes new memory for all it finds."""
    tensors = case.inputs(max(2, case.row.least))
    with torch.device("meta"):
        model = torch.nn.Sequential(case.make())
    expected = case.make()(*tensors)
    assert torch.equal(model[0](*tensors), expected)
    assert torch.equal(model.to_empty(device="cpu")[0](*tensors), expected)
