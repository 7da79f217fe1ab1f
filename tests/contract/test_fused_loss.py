"""Losses by one operator: what the kernel makes of a formula is what the formula gives on the sums."""

from __future__ import annotations

import pytest
import torch
from cases import LossCase, cases, full_mask, value_and_gradient

import medloss
from medloss import base
from medloss.labels import view_labels
from medloss.segmentation import compound


def served(case: LossCase) -> bool:
    """Whether the loss has a formula that ``region_loss`` knows."""
    loss = case.make()
    parts = list(loss._parts.values()) if isinstance(loss, compound.CompoundLoss) else [loss]
    return all(isinstance(part, base.LabelLoss) and part.closed_form(3) is not None for part in parts)


CASES = [case for case in cases("label") if served(case)]


def test_the_common_losses_are_served() -> None:
    """The losses that most networks are trained with must not lose their fast way unseen."""
    names = {case.name for case in CASES}
    assert {"DiceLoss", "DiceCELoss", "DiceFocalLoss", "JaccardLoss", "TverskyLoss", "TverskyCELoss"} <= names
    assert {"CrossEntropyLoss", "FocalLoss"} <= names


@pytest.mark.parametrize("case", CASES, ids=str)
def test_at_once_is_step_by_step(case: LossCase, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = case.inputs(dtype=torch.float64)
    mask = full_mask(case, tensors[0]) * (torch.rand(tensors[0][:, :1].shape) > 0.4)
    for reduction in ("mean", "sum"):
        for arguments in ((tensors,), (tensors, mask)):
            loss = case.make(reduction=reduction)
            found = value_and_gradient(loss, *arguments)
            with monkeypatch.context() as patch:
                for module in (base, compound):
                    patch.setattr(module, "fused_loss", lambda view, parts: None)
                expected = value_and_gradient(loss, *arguments)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_a_target_with_a_gradient_gets_it() -> None:
    x, t = torch.rand(1, 2, 5), torch.rand(1, 2, 5, requires_grad=True)
    medloss.DiceLoss()(x, t).backward()
    assert t.grad.abs().sum() > 0
    assert base.fused_loss(view_labels(x, t), [(1.0, medloss.DiceLoss())]) is None
