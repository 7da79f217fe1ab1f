"""Value and gradient beside the peers' where they are right; where they are wrong, their number, ours, and why."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import medloss

BOOL = st.booleans()
SHAPES = st.sampled_from([(9,), (5, 6), (4, 5, 6)])
SMOOTH = st.sampled_from([1e-5, 0.1, 1.0])
REDUCTION = st.sampled_from(["mean", "sum"])
SEED = st.integers(0, 99)
Loss = Callable[..., torch.Tensor]


def compare(ours: Loss, theirs: Loss, logits: torch.Tensor, target: torch.Tensor) -> None:
    """Value and gradient, the latter by its largest entry."""
    results = []
    for loss in (ours, theirs):
        leaf = logits.clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = loss(leaf, target)
        results.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * max(1.0, expected.abs().max().item()))


def segmentation(shape: tuple[int, ...], seed: int, indexed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of four classes in double, and a target."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 4, *shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 1, *shape), generator=generator)
    return logits, labels if indexed else F.one_hot(labels[:, 0], 4).movedim(-1, 1).double()


def for_monai(weight: tuple[float, ...] | None, background: bool) -> Any:
    """MONAI wants no weight of a background that does not count."""
    return None if weight is None else torch.tensor(weight if background else weight[1:])


@settings(max_examples=20, deadline=None)
@given(
    shape=SHAPES, seed=SEED, indexed=BOOL, background=BOOL, softmax=BOOL, batch=BOOL, soft=BOOL, reduction=REDUCTION,
    nr=SMOOTH, dr=SMOOTH, kind=st.sampled_from(["square", "simple", "uniform"]), absent=BOOL,
)  # fmt: skip
def test_generalized_dice(
    shape, seed, indexed, background, softmax, batch, soft, reduction, nr, dr, kind, absent
) -> None:
    shared = {
        "include_background": background, "to_onehot_y": indexed, "softmax": softmax, "sigmoid": not softmax,
        "w_type": kind, "batch": batch, "reduction": reduction, "smooth_nr": nr, "smooth_dr": dr, "soft_label": soft,
    }  # fmt: skip
    logits, target = segmentation(shape, seed, indexed)
    if absent:  # one sample lacks its last class
        target[0] = target[0].clamp_max(2) if indexed else torch.cat([target[0, :3], 0 * target[0, 3:]])
    ours, theirs = medloss.GeneralizedDiceLoss(**shared, normalize=False), monai.losses.GeneralizedDiceLoss(**shared)
    compare(ours, theirs, logits, target)


@settings(max_examples=15, deadline=None)
@given(shape=SHAPES, seed=SEED, mode=st.sampled_from(["default", "GDL"]), reduction=REDUCTION, nr=SMOOTH, dr=SMOOTH)
def test_generalized_wasserstein_dice(shape, seed, mode, reduction, nr, dr) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(4, 4, generator=generator) * (1 - torch.eye(4))
    shared = {"weighting_mode": mode, "reduction": reduction, "smooth_nr": nr, "smooth_dr": dr}
    ours = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=matrix, **shared)
    theirs = monai.losses.GeneralizedWassersteinDiceLoss(matrix.numpy(), **shared)
    logits, target = segmentation(shape, seed, True)
    compare(ours, theirs, logits, target)
    flat = logits.softmax(1).flatten(2), target.flatten(1)
    torch.testing.assert_close(ours.wasserstein_distance_map(*flat), theirs.wasserstein_distance_map(*flat))


@settings(max_examples=15, deadline=None)
@given(
    shape=SHAPES, seed=SEED, indexed=BOOL, background=BOOL, softmax=BOOL, batch=BOOL, reduction=REDUCTION,
    dr=SMOOTH,
)  # fmt: skip
def test_mcc(shape, seed, indexed, background, softmax, batch, reduction, dr) -> None:
    shared = {
        "include_background": background, "to_onehot_y": indexed, "softmax": softmax, "sigmoid": not softmax,
        "batch": batch, "reduction": reduction, "smooth_dr": dr,
    }  # fmt: skip
    compare(medloss.MCCLoss(**shared), monai.losses.MCCLoss(**shared), *segmentation(shape, seed, indexed))


@settings(max_examples=20, deadline=None)
@given(
    shape=SHAPES, seed=SEED, indexed=BOOL, background=BOOL, batch=BOOL, gamma=st.sampled_from([0.0, 1.0, 2.5]),
    alpha=st.sampled_from([None, 0.25]), weight=st.sampled_from([None, (1.0, 2.0, 0.5, 3.0)]), form=st.floats(0, 2),
    focal=st.floats(0, 2), squared=BOOL,
)  # fmt: skip
def test_dice_focal(shape, seed, indexed, background, batch, gamma, alpha, weight, form, focal, squared) -> None:
    shared = {
        "include_background": background, "to_onehot_y": indexed, "sigmoid": True, "batch": batch, "gamma": gamma,
        "lambda_focal": focal,
    }  # fmt: skip
    dice = {"squared_pred": squared, "lambda_dice": form, "alpha": alpha}
    tensors = segmentation(shape, seed, indexed)
    ours = medloss.DiceFocalLoss(**shared, **dice, weight=weight)
    compare(ours, monai.losses.DiceFocalLoss(**shared, **dice, weight=for_monai(weight, background)), *tensors)
    shared |= {"lambda_gdl": form, "w_type": "simple"}
    compare(
        medloss.GeneralizedDiceFocalLoss(**shared, normalize=False),
        monai.losses.GeneralizedDiceFocalLoss(**shared),
        *tensors,
    )


@settings(max_examples=15, deadline=None)
@given(
    shape=st.sampled_from([(5, 6), (4, 5, 6)]), seed=SEED, gamma=st.sampled_from([0.0, 0.3, 0.5]),
    delta=st.floats(0.1, 0.9), share=st.floats(0, 1), binary=BOOL,
)  # fmt: skip
def test_asymmetric_unified_focal(shape, seed, gamma, delta, share, binary) -> None:
    """MONAI takes probabilities of two classes, or of the one that the other leaves over, and smooths with 1e-7."""
    logits, target = segmentation(shape, seed, True)
    logits, target = logits[:, : 1 if binary else 2], target.clamp_max(1)
    smooth = {"smooth_nr": 1e-7, "smooth_dr": 1e-7}
    activation = {"sigmoid": True} if binary else {"to_onehot_y": True}
    ours = medloss.AsymmetricUnifiedFocalLoss(gamma=gamma, delta=delta, lambda_focal=share, **smooth, **activation)
    monais = monai.losses.AsymmetricUnifiedFocalLoss(to_onehot_y=not binary, gamma=gamma, delta=delta, weight=share)

    def theirs(input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return monais(input.sigmoid() if binary else input.softmax(1), target)

    compare(ours, theirs, logits, target)


@settings(max_examples=15, deadline=None)
@given(seed=SEED, alpha=st.floats(0.1, 1), beta=st.floats(0.1, 1), lacking=BOOL)
def test_kornia(seed, alpha, beta, lacking) -> None:
    """kornia leaves absent classes out, and can join the classes of a sample. One sample, as its means differ."""
    kornia = pytest.importorskip("kornia")
    logits, target = (tensor[:1] for tensor in segmentation((5, 6), seed, True))
    target = target.clamp_max(2) if lacking else target
    shared = {"softmax": True, "to_onehot_y": True, "empty": "skip", "smooth_nr": 0.0, "smooth_dr": 1e-8}
    labels = target[:, 0]
    compare(
        medloss.TverskyLoss(alpha=alpha, beta=beta, **shared),
        lambda input, _: kornia.losses.tversky_loss(input, labels, alpha, beta), logits, target,
    )  # fmt: skip
    compare(
        medloss.DiceLoss(**shared), lambda input, _: kornia.losses.dice_loss(input, labels, average="macro"),
        logits, target,
    )  # fmt: skip
    dense = F.one_hot(labels, 4).movedim(-1, 1)
    micro = medloss.DiceLoss(smooth_nr=0, smooth_dr=1e-8)
    compare(
        lambda input, _: micro(input.softmax(1).reshape(1, 1, -1), dense.reshape(1, 1, -1)),
        lambda input, _: kornia.losses.dice_loss(input, labels, average="micro"), logits, target,
    )  # fmt: skip


def test_d8_monai_looks_at_two_classes_and_no_more() -> None:
    """A third class changes nothing there: here it has a value of its own and takes part in the mean."""
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
    monais = monai.losses.AsymmetricUnifiedFocalLoss(num_classes=3)
    p, t = logits.softmax(1), F.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    theirs = monais(p, t)
    assert theirs == monais(p[:, :2], t[:, :2])  # the peer's fault
    smooth = {"smooth_nr": 1e-7, "smooth_dr": 1e-7, "to_onehot_y": True, "delta": 0.7}
    none = medloss.AsymmetricUnifiedFocalLoss(reduction="none", **smooth)(logits, target)
    torch.testing.assert_close(none[:, :2].mean(), theirs)
    ours = medloss.AsymmetricUnifiedFocalLoss(**smooth)(logits, target)
    torch.testing.assert_close(ours, none.mean())
    # the third class stands by the same formula as the second
    swapped = medloss.AsymmetricUnifiedFocalLoss(reduction="none", **smooth)(
        logits[:, [0, 2, 1]], torch.tensor([0, 2, 1])[target]
    )
    torch.testing.assert_close(swapped, none[:, [0, 2, 1]])


def test_d9_monai_cannot_take_the_softmax_in_a_focal_compound() -> None:
    logits, target = torch.randn(2, 4, 8, 8), torch.randint(0, 4, (2, 1, 8, 8))
    shared = {"softmax": True, "to_onehot_y": True, "lambda_dice": 0.0}
    theirs = monai.losses.DiceFocalLoss(**shared)(logits, target)
    sigmoid = monai.losses.FocalLoss(to_onehot_y=True)(logits, target)
    softmax = monai.losses.FocalLoss(to_onehot_y=True, use_softmax=True)(logits, target)
    torch.testing.assert_close(theirs, sigmoid)  # the peer's fault
    assert abs(softmax - sigmoid) > 0.01
    torch.testing.assert_close(medloss.DiceFocalLoss(**shared)(logits, target), softmax)


def test_a_batch_of_wasserstein_dice_is_the_mean_of_its_samples() -> None:
    """What an old MONAI mixed up."""
    logits, target = segmentation((8, 8), 0, True)
    matrix = [[0, 1, 1, 1], [1, 0, 0.2, 0.4], [1, 0.2, 0, 0.6], [1, 0.4, 0.6, 0]]
    loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=matrix)
    each = torch.stack([loss(logits[i : i + 1], target[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(loss(logits, target), each.mean())


def test_monai_mcc_overflows_float16() -> None:
    logits, target = torch.full((1, 1, 512, 512), 4.0, dtype=torch.float16), torch.ones(1, 1, 512, 512)
    target[..., :9] = 0
    assert not torch.isfinite(monai.losses.MCCLoss(sigmoid=True)(logits, target.half()))  # the peer's fault
    assert medloss.MCCLoss(sigmoid=True)(logits, target).item() == pytest.approx(1, abs=1e-3)
