"""Calibration error: bins one by one, gradients, masks, and numbers by hand."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from medloss.ops import calibration_error


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


def bin_by_bin(p: Tensor, t: Tensor, weight: Tensor, bins: int) -> Tensor:
    """The definition: of each bin the difference of two means."""
    index, gaps, held = (p.detach() * bins).ceil().sub(1).clamp(0, bins - 1), 0, 0
    axes = tuple(range(2, p.ndim))
    for number in range(bins):
        inside = torch.where(weight > 0, weight, 0) * (index == number)
        mass = inside.sum(axes)
        gaps = gaps + ((inside * (p - t)).sum(axes) / torch.where(mass > 0, mass, 1)).abs()
        held = held + (mass > 0)
    return gaps / held.clamp_min(1)


@pytest.mark.parametrize("bins", [1, 7, 20])
@pytest.mark.parametrize("shape", [(1,), (63,), (9, 11, 13), (263, 257)])
def test_bin_by_bin(shape: tuple[int, ...], bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges of bins, what lies beyond them, weights of voxels and of classes, soft memberships, a batch's mask."""
    monkeypatch.setitem(sys.modules["medloss.ops.calibration_error"].CHUNK, "cpu", 6000)
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    each = (torch.rand(2, 3, *shape) > 0.5) * torch.rand(2, 3, *shape)
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        p, t = torch.rand(2, 3, *shape, dtype=dtype) * 1.2 - 0.1, torch.rand(2, 3, *shape, dtype=dtype)
        p[:, 1] = (p[:, 1] * bins).round() / bins
        p.requires_grad_()
        for target, weight in ((t, None), (t > 0.7, mask), (t, each), (t, mask[:1] > 0), (t, 0 * mask)):
            found = calibration_error(p, target, weight, bins=bins)
            expected = bin_by_bin(p, target.to(dtype), (p.new_ones(1, 1) if weight is None else weight).to(dtype), bins)
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
            gradients = [torch.autograd.grad(value.sum(), p)[0] for value in (found, expected)]
            torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def test_a_nan_stays() -> None:
    """Of a prediction or a membership, in its own class alone."""
    for where in (0, 1):
        pair = [torch.rand(1, 2, 700), torch.rand(1, 2, 700)]
        pair[where][0, 1, 5] = torch.nan
        assert calibration_error(*pair, bins=5).isnan().tolist() == [[False, True]]
