"""Point 6: where there is no sample, no voxel or no point, a loss is 0 with an empty gradient."""

from __future__ import annotations

import pytest
import torch
from cases import POINTS, LossCase, cases, full_mask
from turns import by_turns, numbered

import medloss


def emptied(case: LossCase, how: str) -> list[torch.Tensor]:
    """The tensors of a case, without samples, or without extent along one axis (for points: without points)."""
    tensors = case.inputs(max(2, case.row.least))
    if how == "batch":
        return [tensor[:0] for tensor in tensors]
    axis = {"first axis": 2, "last axis": -1}[how]
    return [tensor[:, :0] if case.kind == "points" else tensor.narrow(axis, 0, 0) for tensor in tensors]


WAYS = (("batch", "mean", False), ("first axis", "sum", True), ("last axis", "mean", True))


@pytest.mark.parametrize("case,number", numbered(cases(cell="nothing")), ids=str)
def test_nothing_costs_nothing(case: LossCase, number: int) -> None:
    for how, reduction, masked in WAYS if number == 0 else (WAYS[0], WAYS[1 + number % 2]):
        tensors = emptied(case, how)
        first = tensors[0].clone().requires_grad_()
        mask = {"mask": full_mask(case, first)} if masked else {}
        value = case.make(reduction=reduction)(first, *tensors[1:], **mask)
        (gradient,) = torch.autograd.grad(value, first)
        assert value.shape == ()
        assert value == 0
        assert gradient.shape == first.shape


@pytest.mark.parametrize(
    "case,how", by_turns(cases(cell="nothing", when=lambda case: bool(case.none)), ["batch"], ["last axis"])
)
def test_none_of_nothing_has_the_shape_of_the_statistic(case: LossCase, how: str) -> None:
    tensors = emptied(case, how)
    batch, channels, *spatial = tensors[0].shape
    found = case.make(reduction="none")(*tensors)
    counted = channels - (not case.options.get("include_background", True))
    expected = {
        "region": (1 if case.options.get("batch") else batch, counted),
        "sample": (batch,),
        "voxel": (batch, *spatial),
        "element": (batch, counted, *spatial),
        "points": (batch, channels),
    }
    if case.none == "interior":
        assert found.shape[0] == batch
        assert found.numel() == 0
    else:
        assert found.shape == expected[case.none]
    assert not found.any()


def test_two_sets_of_points_of_which_one_is_empty() -> None:
    """Nothing is near to nothing: there is no distance to take the mean of."""
    assert medloss.ChamferLoss()(torch.zeros(1, 0, 2), torch.zeros(1, POINTS, 2)) == 0
    assert medloss.ChamferLoss()(torch.zeros(1, POINTS, 2), torch.zeros(1, 0, 2)) == 0
