"""T-Loss: values by hand, its limits, and what it does with a mask that is all wrong."""

from __future__ import annotations

import math

import pytest
import torch
from voxelwise import one_hot, value_and_gradient, volume

import medloss

P = torch.tensor([[[0.5, 0.0, 1.0]]], dtype=torch.float64)
T = torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64)
# three voxels, E = 0.25 + 1


def test_by_hand() -> None:
    """At nu = 1 and D = 3: log Gamma(1/2) - log Gamma(2) + 3/2 log pi + 2 log(1 + E) = 2 log pi + 2 log 2.25."""
    whole = 2 * math.log(math.pi) + 2 * math.log(2.25)
    assert medloss.TLoss(per_voxel=False)(P, T).item() == pytest.approx(whole)
    assert medloss.TLoss()(P, T).item() == pytest.approx(whole / 3)
    # at nu = 3: log Gamma(3/2) - log Gamma(3) + 3/2 log(3 pi) + 3 log(1 + E / 3), with Gamma(3/2) = sqrt(pi) / 2
    three = math.log(math.sqrt(math.pi) / 4) + 1.5 * math.log(3 * math.pi) + 3 * math.log(1 + 1.25 / 3)
    assert medloss.TLoss(nu=3, per_voxel=False)(P, T).item() == pytest.approx(three)


def test_weights_are_relative_and_zeros_are_no_voxels() -> None:
    """Weights 1, 0 and 3 have the mean 2 over two voxels: E = 0.5 * 0.25 + 1.5 * 1, at nu = D = 2."""
    mask = torch.tensor([[[1.0, 0.0, 3.0]]])
    expected = math.log(2 * math.pi) + 2 * math.log(1 + 1.625 / 2)
    for factor in (1.0, 5.0):
        found = medloss.TLoss(nu=2, per_voxel=False)(P, T, factor * mask)
        assert found.item() == pytest.approx(expected)


def test_limits() -> None:
    logits, target = volume()
    options = {"softmax": True, "to_onehot_y": True}
    gaussian = ((logits.softmax(1) - one_hot(target)) ** 2).mean() / 2 + math.log(2 * math.pi) / 2
    found = medloss.TLoss(nu=1e7, **options)(logits, target)
    torch.testing.assert_close(found, gaussian, rtol=1e-5, atol=0)
    error = torch.tensor([[[0.3]]], dtype=torch.float64)
    cauchy = math.log(math.pi) + math.log(1 + 0.3**2)
    assert medloss.TLoss()(error, torch.zeros_like(error)).item() == pytest.approx(cauchy)


def test_a_sample_that_is_far_off_pulls_little() -> None:
    """The gradient at a voxel is (nu + D) / D (p - t) / (nu + E): of a wrong mask 1 / E, of a squared error 1."""
    target = torch.zeros(1, 1, 1000, dtype=torch.float64)
    pull = []
    for wrong in (1, 1000):
        input = target.clone()
        input[..., :wrong] = 1
        pull.append(value_and_gradient(medloss.TLoss(), input, target)[1][0, 0, 0].item())
    assert pull[0] == pytest.approx(1001 / 1000 / (1 + 1))
    assert pull[1] == pytest.approx(1001 / 1000 / (1 + 1000))


def test_nu_can_be_learned() -> None:
    """The one loss with a parameter, and only if asked: its gradient is that of a difference quotient."""
    loss = medloss.TLoss(nu=2.0, learn=True).double()
    assert list(loss.state_dict()) == ["log_nu"]
    assert not medloss.TLoss().state_dict()
    assert not list(medloss.TLoss().parameters())
    loss(P, T).backward()
    nu, step = 2.0, 1e-5
    up, down = (medloss.TLoss(nu=nu * math.exp(sign * step))(P, T).item() for sign in (1, -1))
    assert loss.log_nu.grad.item() == pytest.approx((up - down) / (2 * step), rel=1e-6)
    torch.optim.SGD(loss.parameters(), lr=0.1).step()
    assert loss(P, T) < medloss.TLoss(nu=2.0)(P, T)
    whole = medloss.WeightedSum({"t": loss, "dice": medloss.DiceLoss()})
    assert [name for name, _ in whole.named_parameters()] == ["_losses.t.log_nu"]


@pytest.mark.parametrize("nu", [0, -1, math.nan, math.inf])
def test_faults(nu: float) -> None:
    with pytest.raises(ValueError, match=r"nu=.* must be above 0"):
        medloss.TLoss(nu=nu)
