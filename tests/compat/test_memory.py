"""Sums of two losses have one gradient of the input, natives and drop-ins alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import medloss
import medloss.compat.monai as monai

MULTICLASS = {"softmax": True, "to_onehot_y": True}
SUMS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"medloss.{name}": lambda name=name: getattr(medloss, name)(**MULTICLASS)
        for name in ("DiceCELoss", "DiceFocalLoss", "GeneralizedDiceFocalLoss", "TverskyCELoss", "TverskyFocalLoss")
    },
    **{
        f"monai.{name}": lambda name=name: getattr(monai, name)(**MULTICLASS)
        for name in ("DiceCELoss", "DiceFocalLoss", "GeneralizedDiceFocalLoss")
    },
    "monai.DiceFocalLoss, no background": lambda: monai.DiceFocalLoss(**MULTICLASS, include_background=False),
    "monai.DiceFocalLoss, sigmoid": lambda: monai.DiceFocalLoss(sigmoid=True, to_onehot_y=True),
}


def peak(call: Callable[[], object]) -> int:
    """The most bytes that a call has of torch's memory at one time."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_has_one_gradient(name: str) -> None:
    """1 is the gradient itself; what comes beside it are slabs, and labels of the classes that count."""
    logits = torch.randn(1, 5, 64, 48, 48, requires_grad=True)
    target, loss = torch.randint(0, 5, (1, 1, 64, 48, 48), dtype=torch.uint8), SUMS[name]()
    loss(logits, target)  # what is made once
    value = loss(logits, target)
    ratio = peak(value.backward) / (logits.numel() * logits.element_size())
    assert 0.9 < ratio < 1.5, f"backward takes {ratio:.2f} times the input"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", ["DiceFocalLoss", "GeneralizedDiceFocalLoss"])
def test_a_gradient_in_slabs_is_the_gradient(name: str, activation: str, background: bool, dtype: torch.dtype) -> None:
    """Beside the sum of both terms, each by itself; a volume of several slabs, the last one shorter."""
    logits = torch.randn(2, 4, 19, 40, 50, dtype=dtype)
    target = torch.randint(0, 4, (2, 1, 19, 40, 50))
    options = {activation: True, "to_onehot_y": True, "include_background": background}
    loss = getattr(monai, name)(**options)
    dice, focal = (getattr(loss, "dice", None) or loss.generalized_dice), loss.focal
    dice.to_onehot_y = focal.to_onehot_y = True

    def gradient(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        leaf = logits.clone().requires_grad_()
        value = function(leaf)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    found = gradient(lambda leaf: loss(leaf, target))
    expected = gradient(lambda leaf: dice(leaf, target) + focal(leaf, target))
    tolerance = {"rtol": 1e-2, "atol": 1e-6} if dtype == torch.float16 else {"rtol": 1e-5, "atol": 1e-10}
    torch.testing.assert_close(found, expected, **tolerance)


def test_a_second_derivative_and_functional_transforms_pass() -> None:
    loss = monai.DiceFocalLoss(softmax=True, to_onehot_y=True)
    logits, target = torch.randn(1, 3, 3, 4, dtype=torch.float64, requires_grad=True), torch.randint(0, 3, (1, 1, 3, 4))
    torch.autograd.gradcheck(lambda leaf: loss(leaf, target), logits)
    torch.autograd.gradgradcheck(lambda leaf: loss(leaf, target), logits)
    (gradient,) = torch.autograd.grad(loss(logits, target), logits)
    torch.testing.assert_close(torch.func.grad(lambda leaf: loss(leaf, target))(logits.detach()), gradient)
