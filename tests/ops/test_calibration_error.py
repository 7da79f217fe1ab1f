"""Calibration error: opcheck, gradients, masks, and numbers by hand."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import calibration_error


def test_opcheck() -> None:
    p, t = torch.rand(2, 3, 5, 4, dtype=torch.float64, requires_grad=True), torch.rand(2, 3, 5, 4) > 0.5
    for mask in (None, torch.rand(2, 1, 5, 4)):
        torch.library.opcheck(torch.ops.medloss.calibration_error.default, (p, t, mask, 4))


def test_by_hand() -> None:
    """Bins (0, 1/2] and (1/2, 1]: .25 and .5 of one member in weight 3 and 1, and .75 of none."""
    p, t = torch.tensor([[[0.25, 0.5, 0.75]]]), torch.tensor([[[1, 0, 0]]])
    assert calibration_error(p, t, bins=2).item() == pytest.approx(((0.5 - 0.375) + 0.75) / 2)
    mask = torch.tensor([[[3.0, 1.0, 0.0]]])
    assert calibration_error(p, t, mask, bins=2).item() == pytest.approx(0.75 - (3 * 0.25 + 0.5) / 4)
    assert calibration_error(p, t, 0 * mask, bins=2) == 0


@pytest.mark.parametrize("masked", [False, True])
def test_gradients(masked: bool) -> None:
    p = torch.rand(2, 2, 9, dtype=torch.float64, requires_grad=True)
    t, mask = torch.rand(2, 2, 9) > 0.5, torch.rand(2, 1, 9, dtype=torch.float64) if masked else None
    torch.autograd.gradcheck(lambda x: calibration_error(x, t, mask, bins=3), p)
    torch.autograd.gradgradcheck(lambda x: calibration_error(x * x, t, mask, bins=3), p)


def test_nothing_under_a_mask_is_looked_at() -> None:
    p, t, mask = torch.rand(1, 2, 30), torch.rand(1, 2, 30), torch.rand(1, 1, 30) > 0.4
    expected = calibration_error(p[..., mask[0, 0]], t[..., mask[0, 0]], bins=5)
    dirty = [torch.where(mask, tensor, torch.nan) for tensor in (p, t)]
    dirty[0].requires_grad_()
    found = calibration_error(*dirty, mask, bins=5)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), dirty[0])
    assert not torch.where(mask, torch.zeros_like(gradient), gradient).any()
