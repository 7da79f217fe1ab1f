"""Value and gradient beside MONAI's clDice and kornia's erosion Hausdorff, and where they go wrong."""

from __future__ import annotations

from collections.abc import Callable

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import medloss
from medloss.ops import erosion_hausdorff

BOOL = st.booleans()


def compare(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *tensors: Tensor, rtol: float = 1e-7) -> None:
    """Value and gradient of the first tensor, an entry measured by the largest one."""
    results = []
    for loss in (ours, theirs):
        first = tensors[0].clone().requires_grad_()
        value = loss(first, *tensors[1:])
        results.append((value.detach(), torch.autograd.grad(value, first)[0]))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * max(1e-12, expected.abs().max().item()))


def segmentation(shape: tuple[int, ...], seed: int, indexed: bool) -> tuple[Tensor, Tensor]:
    """Logits of three classes that mistake some blocks, and a target."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (2, 1, *(size // 3 + 1 for size in shape)), generator=generator)
    for axis, size in enumerate(shape, start=2):
        labels = labels.repeat_interleave(3, axis).narrow(axis, 0, size)
    one_hot = torch.nn.functional.one_hot(labels[:, 0], 3).movedim(-1, 1).double()
    logits = 3 * torch.randn(one_hot.shape, generator=generator, dtype=torch.float64)
    logits = logits + 8 * one_hot.roll(2, -1)
    return logits, labels if indexed else one_hot


@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from([(9, 10), (6, 7, 8)]), seed=st.integers(0, 99), indexed=BOOL, background=BOOL, softmax=BOOL,
    iterations=st.integers(0, 3), nr=st.sampled_from([1.0, 0.1]), dr=st.sampled_from([1.0, 0.1]),
    smooth=st.sampled_from([1e-4, 1e-2]), reduction=st.sampled_from(["mean", "sum"]), alpha=st.sampled_from([-1, 0.3]),
)  # fmt: skip
def test_cldice(shape, seed, indexed, background, softmax, iterations, nr, dr, smooth, reduction, alpha) -> None:
    shared = {
        "iter_": iterations, "smooth_nr": nr, "smooth_dr": dr, "smooth": smooth, "include_background": background,
        "to_onehot_y": indexed, "softmax": softmax, "sigmoid": not softmax, "reduction": reduction,
    }  # fmt: skip
    name = "SoftclDiceLoss" if alpha < 0 else "SoftDiceclDiceLoss"
    shared |= {} if alpha < 0 else {"alpha": alpha}
    ours, theirs = getattr(medloss, name)(**shared), getattr(monai.losses, name)(**shared)
    compare(ours, theirs, *segmentation(shape, seed, indexed))


def test_a_constant_map_has_no_skeleton_monai_8239() -> None:
    """A softmax of one channel is 1 everywhere, and clDice of that is 0 whatever the target: issue 8239 of MONAI.

    Today MONAI warns and takes the logits for probabilities; here it is an error that names the sigmoid.
    """
    logits, target = torch.randn(1, 1, 12, 12), (torch.rand(1, 1, 12, 12) > 0.5).float()
    one = torch.softmax(logits, 1)
    assert monai.losses.SoftclDiceLoss()(one, target) < 1e-4  # the peer's fault, and the definition's
    with pytest.warns(UserWarning, match="single channel"):
        theirs = monai.losses.SoftclDiceLoss(softmax=True)(logits, target)
    torch.testing.assert_close(theirs, monai.losses.SoftclDiceLoss()(logits, target))  # the peer's fault
    with pytest.raises(ValueError, match="makes no sense with one channel: use sigmoid=True"):
        medloss.SoftclDiceLoss(softmax=True)(logits, target)
    assert medloss.SoftclDiceLoss(sigmoid=True)(logits, target) > 0.2
    # what is left of it: without smoothing in the numerator a map without a skeleton costs 1, and Dice sees it anyway
    assert medloss.SoftclDiceLoss(smooth_nr=0)(one, target) == 1
    assert medloss.SoftDiceclDiceLoss()(one, target) > 0.1


@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from([(12, 13), (8, 9, 7)]), seed=st.integers(0, 99), alpha=st.floats(0.5, 3), k=st.integers(1, 6),
    reduction=st.sampled_from(["mean", "sum"]),
)  # fmt: skip
def test_hausdorff(shape, seed, alpha, k, reduction) -> None:
    kornia = pytest.importorskip("kornia", reason="kornia needs Python 3.11")
    logits, target = segmentation(shape, seed, True)
    peer = kornia.losses.HausdorffERLoss if len(shape) == 2 else kornia.losses.HausdorffERLoss3D
    theirs, theirs_map = (peer(alpha, k, reduction=r) for r in (reduction, "none"))
    ours = medloss.HausdorffERLoss(softmax=True, to_onehot_y=True, alpha=alpha, k=k, reduction=reduction)
    voxels = logits[0, 0].numel() if reduction == "sum" else 1  # kornia's sum is over the voxels too
    tolerance = {"rtol": 1e-5}  # kornia's fifths and sevenths are those of float32
    compare(lambda x: voxels * ours(x, target), lambda x: theirs(x.softmax(1), target), logits, **tolerance)

    one_hot = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1)
    weights = torch.linspace(0, 1, logits[0, 0].numel(), dtype=torch.float64).view(shape)
    compare(
        lambda x: (weights * erosion_hausdorff(x, one_hot, alpha=alpha, k=k)).sum(),
        lambda x: (weights * theirs_map(x, target).squeeze(2).movedim(0, 1)).sum(),
        logits.softmax(1),
        **tolerance,
    )
    assert theirs_map(logits.softmax(1), target).any(), "an example in which something outlives an erosion"
