"""Value and gradient beside MONAI's over sampled options, and where MONAI is wrong: its number, ours, and why."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import medloss

BOOL = st.booleans()
SHAPES = st.sampled_from([(9,), (5, 6), (4, 5, 6)])
SMOOTH = st.sampled_from([1e-5, 0.1, 1.0])
WEIGHT = st.sampled_from([None, (1.0, 2.0, 0.5, 3.0)])


def compare(ours: Callable[..., torch.Tensor], theirs: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> None:
    """Value and gradient of the first tensor."""
    results = []
    for loss in (ours, theirs):
        first = tensors[0].clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = loss(first, *tensors[1:])
        results.append((value.detach(), torch.autograd.grad(value, first)[0]))
    for found, expected in zip(*results):  # an entry is a sum whose terms may cancel: measured by the largest one
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-6 * max(1.0, expected.abs().max().item()))


def segmentation(shape: tuple[int, ...], seed: int, indexed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of four classes and a target."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 4, *shape, generator=generator)
    labels = torch.randint(0, 4, (2, 1, *shape), generator=generator)
    return logits, labels if indexed else torch.nn.functional.one_hot(labels[:, 0], 4).movedim(-1, 1).float()


def for_monai(weight: tuple[float, ...] | None, include_background: bool) -> Any:
    """MONAI wants no weight of a background that does not count."""
    return None if weight is None else torch.tensor(weight if include_background else weight[1:])


common = {
    "shape": SHAPES, "seed": st.integers(0, 99), "indexed": BOOL, "background": BOOL, "softmax": BOOL, "batch": BOOL,
    "reduction": st.sampled_from(["mean", "sum"]),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(**common, weight=WEIGHT, nr=SMOOTH, dr=SMOOTH, form=st.sampled_from(["", "squared_pred", "jaccard"]), soft=BOOL)
def test_dice(shape, seed, indexed, background, softmax, batch, reduction, weight, nr, dr, form, soft) -> None:
    if soft and form == "squared_pred":
        soft = False  # MONAI counts squares in place of the absolute difference; the product form is exact there
    shared = {
        "include_background": background, "to_onehot_y": indexed, "softmax": softmax, "sigmoid": not softmax,
        "batch": batch, "reduction": reduction, "smooth_nr": nr, "smooth_dr": dr, "soft_label": soft,
    } | ({form: True} if form else {})  # fmt: skip
    ours = medloss.DiceLoss(**shared, weight=weight)
    theirs = monai.losses.DiceLoss(**shared, weight=for_monai(weight, background))
    compare(ours, theirs, *segmentation(shape, seed, indexed))


@settings(max_examples=40, deadline=None)
@given(**common, alpha=st.floats(0.1, 1), beta=st.floats(0.1, 1), nr=SMOOTH, dr=SMOOTH)
def test_tversky(shape, seed, indexed, background, softmax, batch, reduction, alpha, beta, nr, dr) -> None:
    shared = {
        "include_background": background, "to_onehot_y": indexed, "softmax": softmax, "sigmoid": not softmax,
        "batch": batch, "reduction": reduction, "alpha": alpha, "beta": beta, "smooth_nr": nr, "smooth_dr": dr,
    }  # fmt: skip
    compare(medloss.TverskyLoss(**shared), monai.losses.TverskyLoss(**shared), *segmentation(shape, seed, indexed))


@settings(max_examples=40, deadline=None)
@given(
    shape=SHAPES, seed=st.integers(0, 99), background=BOOL, batch=BOOL, weight=WEIGHT,
    smoothing=st.sampled_from([0.0, 0.1]), dice=st.floats(0, 2), ce=st.floats(0, 2),
)  # fmt: skip
def test_dice_ce(shape, seed, background, batch, weight, smoothing, dice, ce) -> None:
    shared = {
        "include_background": background, "to_onehot_y": True, "softmax": True, "batch": batch,
        "label_smoothing": smoothing, "lambda_dice": dice, "lambda_ce": ce,
    }  # fmt: skip
    ours = medloss.DiceCELoss(**shared, weight=weight)
    theirs = monai.losses.DiceCELoss(**shared, weight=None if weight is None else torch.tensor(weight))
    compare(ours, theirs, *segmentation(shape, seed, True))


@settings(max_examples=40, deadline=None)
@given(
    shape=SHAPES, seed=st.integers(0, 99), indexed=BOOL, background=BOOL, softmax=BOOL, weight=WEIGHT,
    gamma=st.sampled_from([0.0, 1.0, 2.0, 3.5]), alpha=st.sampled_from([None, 0.25, (0.1, 0.2, 0.3, 0.4)]),
)  # fmt: skip
def test_focal(shape, seed, indexed, background, softmax, weight, gamma, alpha) -> None:
    background = background or softmax  # D5: MONAI drops the background before the softmax
    told = alpha[1:] if isinstance(alpha, tuple) and not background else alpha
    ours = medloss.FocalLoss(
        include_background=background, to_onehot_y=indexed, softmax=softmax, gamma=gamma, alpha=alpha, weight=weight
    )
    theirs = monai.losses.FocalLoss(
        include_background=background, to_onehot_y=indexed, use_softmax=softmax, gamma=gamma, alpha=told,
        weight=for_monai(weight, background),
    )  # fmt: skip
    compare(ours, theirs, *segmentation(shape, seed, indexed))


@settings(max_examples=30, deadline=None)
@given(
    shape=SHAPES,
    seed=st.integers(0, 99),
    size=st.sampled_from([3, 5, 7]),
    kind=st.sampled_from(["rectangular", "gaussian"]),
)
def test_lncc(shape, seed, size, kind) -> None:
    # in float32 windows of three nearly equal voxels differ by the rounding of either
    generator = torch.Generator().manual_seed(seed)
    images = [torch.rand(2, 1, *shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    ours = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=size, kernel_type=kind)
    theirs = monai.losses.LocalNormalizedCrossCorrelationLoss(len(shape), size, kind)
    compare(ours, theirs, *images)


@settings(max_examples=30, deadline=None)
@given(rank=st.integers(1, 3), seed=st.integers(0, 99), normalize=BOOL, reduction=st.sampled_from(["mean", "sum"]))
def test_smoothness(rank, seed, normalize, reduction) -> None:
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(2, rank, *(6, 7, 8)[:rank], generator=generator, dtype=torch.float64)
    for name in ("BendingEnergyLoss", "DiffusionLoss"):
        options = {"normalize": normalize, "reduction": reduction}
        compare(getattr(medloss, name)(**options), getattr(monai.losses, name)(**options), field)


def test_d1_monai_multiplies_focal_by_the_classes_when_nothing_is_ignored() -> None:
    logits, target = segmentation((8, 8), 0, True)
    plain = monai.losses.FocalLoss(to_onehot_y=True)(logits, target)
    ignoring = monai.losses.FocalLoss(to_onehot_y=True, ignore_index=255)(logits, target)
    torch.testing.assert_close(ignoring, 4 * plain)  # the peer's fault
    torch.testing.assert_close(medloss.FocalLoss(to_onehot_y=True, ignore_index=255)(logits, target), plain)


def test_d3_monai_turns_masked_voxels_into_background() -> None:
    logits, target = segmentation((8, 8), 0, True)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    crop = monai.losses.DiceLoss(softmax=True, to_onehot_y=True)(logits[..., 2:6, 2:6], target[..., 2:6, 2:6])
    theirs = monai.losses.MaskedDiceLoss(softmax=True, to_onehot_y=True)(logits, target, mask)
    assert abs(theirs - crop) > 0.01  # the peer's fault
    torch.testing.assert_close(medloss.MaskedDiceLoss(softmax=True, to_onehot_y=True)(logits, target, mask), crop)


def test_d4_monai_multiplies_logits_by_the_mask() -> None:
    logits, target = segmentation((8, 8), 0, True)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    entropy = torch.nn.CrossEntropyLoss()
    crop = entropy(logits[..., 2:6, 2:6], target[:, 0, 2:6, 2:6])
    for ours in (medloss.MaskedLoss(entropy), medloss.MaskedLoss(medloss.CrossEntropyLoss(to_onehot_y=True))):
        torch.testing.assert_close(ours(logits, target[:, 0], mask), crop)
    theirs = monai.losses.MaskedLoss(entropy)(
        logits, torch.nn.functional.one_hot(target[:, 0], 4).movedim(-1, 1).float(), mask
    )
    assert abs(theirs - crop) > 0.01  # the peer's fault


def test_d5_monai_drops_the_background_before_the_softmax() -> None:
    logits, target = torch.randn(1, 2, 50), torch.randint(0, 2, (1, 1, 50))
    theirs = monai.losses.FocalLoss(include_background=False, to_onehot_y=True, use_softmax=True)(logits, target)
    assert theirs == 0  # the peer's fault: a softmax over one class is always right
    ours = medloss.FocalLoss(include_background=False, to_onehot_y=True, softmax=True)(logits, target)
    whole = medloss.FocalLoss(to_onehot_y=True, softmax=True, reduction="none")(logits, target)
    torch.testing.assert_close(ours, whole[:, 1:].mean())


def test_d6_monai_lncc_explodes_on_an_offset() -> None:
    x, y = 1000 + torch.rand(1, 1, 24, 24, 24), 1000 + torch.rand(1, 1, 24, 24, 24)
    exact = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=9)(x.double(), y.double()).item()
    theirs = monai.losses.LocalNormalizedCrossCorrelationLoss(3, 9)(x, y).item()
    ours = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=9)(x, y).item()
    assert not -1 <= theirs <= 0 or abs(theirs - exact) > 0.1  # the peer's fault
    assert ours == pytest.approx(exact, abs=1e-3)


def test_d6_monai_triangle_of_three_is_no_window() -> None:
    x, y = torch.rand(1, 1, 12, 12, 12), torch.rand(1, 1, 12, 12, 12)
    theirs = [monai.losses.LocalNormalizedCrossCorrelationLoss(3, 3, "triangular")(x, other) for other in (x, y)]
    assert theirs[0] == theirs[1]  # the peer's fault: a constant
    ours = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=3, kernel_type="triangular")
    assert ours(x, x) < -0.99
    assert ours(x, y) > -0.5


def test_monai_dice_overflows_float16() -> None:
    logits = torch.full((1, 2, 512, 512), 4.0, dtype=torch.float16)
    target = torch.ones(1, 2, 512, 512)
    assert not torch.isfinite(monai.losses.DiceLoss(sigmoid=True)(logits, target.half()))  # the peer's fault
    assert torch.isfinite(medloss.DiceLoss(sigmoid=True)(logits, target))
