"""A loss over scales: values, what is smoothed for which loss, masks, and MONAI's loss beside it."""

from __future__ import annotations

import math

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import medloss
from medloss.multiscale import MultiScaleLoss

SHAPES = st.sampled_from([(13,), (7, 8), (6, 5, 7)])
BOX = (slice(None), slice(None), slice(1, 6), slice(2, 7))


def box_mask(shape: tuple[int, ...]) -> torch.Tensor:
    mask = torch.zeros(shape[0], 1, *shape[2:])
    mask[BOX] = 1
    return mask


def test_kernels_by_hand() -> None:
    loss = MultiScaleLoss(nn.MSELoss(), scales=[1], normalise=False)
    weights = [math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) for x in range(-3, 4)]
    assert loss.window(1.0) == pytest.approx(weights)
    assert sum(MultiScaleLoss(nn.MSELoss(), scales=[1]).window(1.0)) == pytest.approx(1)
    assert sum(loss.window(0.5)) == pytest.approx(1.0144, abs=5e-5)
    assert MultiScaleLoss(nn.MSELoss(), scales=[1], kernel="cauchy").window(0.2) == pytest.approx(
        [1 / 28, 26 / 28, 1 / 28]
    )


@settings(max_examples=20, deadline=None)
@given(
    shape=SHAPES, seed=st.integers(0, 99), kernel=st.sampled_from(["gaussian", "cauchy"]),
    scales=st.lists(st.sampled_from([0, 0.5, 1.0, 2.0]), min_size=1, max_size=3),
    reduction=st.sampled_from(["mean", "sum"]),
)  # fmt: skip
def test_monai(shape, seed, kernel, scales, reduction) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(2, 2, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    options = {"scales": scales, "kernel": kernel, "reduction": reduction}
    ours = MultiScaleLoss(medloss.MSELoss(), **options, normalise=False)(x, y)
    theirs = monai.losses.MultiScaleLoss(nn.MSELoss(), **options)(y, x)  # the target first
    found, expected = (torch.autograd.grad(value, x)[0] for value in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)  # MONAI's kernels are of float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * expected.abs().max().item())


def test_reductions_and_no_scales() -> None:
    x, y = torch.rand(2, 1, 9), torch.rand(2, 1, 9)
    none = MultiScaleLoss(medloss.MSELoss(), scales=[0, 1, 2], reduction="none")(x, y)
    assert none.shape == (3,)
    torch.testing.assert_close(none[0], medloss.MSELoss()(x, y))
    torch.testing.assert_close(MultiScaleLoss(medloss.MSELoss(), scales=[0, 1, 2])(x, y), none.mean())
    maps = MultiScaleLoss(medloss.MSELoss(reduction="none"), scales=[0, 1], reduction="none")(x, y)
    assert maps.shape == (2, 2, 1, 9)
    torch.testing.assert_close(MultiScaleLoss(medloss.MSELoss())(x, y), medloss.MSELoss()(x, y))


def test_labels_are_smoothed_as_memberships() -> None:
    """Index maps and one-hot agree, the softmax comes first, and an ignored label is a mask."""
    logits, labels = torch.randn(2, 3, 8, 9), torch.randint(0, 3, (2, 1, 8, 9))
    dense = nn.functional.one_hot(labels[:, 0], 3).movedim(-1, 1).float()
    options = {"include_background": False, "weight": [1.0, 2.0, 0.5]}
    scales = {"scales": [0, 1.5]}
    indexed = MultiScaleLoss(medloss.DiceLoss(softmax=True, to_onehot_y=True, **options), **scales)
    found = indexed(logits, labels)
    torch.testing.assert_close(
        found, MultiScaleLoss(medloss.DiceLoss(softmax=True, **options), **scales)(logits, dense)
    )
    of_probabilities = MultiScaleLoss(medloss.DiceLoss(**options), **scales)
    torch.testing.assert_close(found, of_probabilities(logits.softmax(1), dense))
    by_hand = [of_probabilities.smoothed(tensor, 1.5) for tensor in (logits.softmax(1), dense)]
    expected = (medloss.DiceLoss(**options)(logits.softmax(1), dense) + medloss.DiceLoss(**options)(*by_hand)) / 2
    torch.testing.assert_close(found, expected)
    mask = box_mask(logits.shape)
    marked = torch.where(mask > 0, labels, 255)
    ignoring = MultiScaleLoss(medloss.DiceLoss(softmax=True, to_onehot_y=True, ignore_index=255, **options), **scales)
    torch.testing.assert_close(ignoring(logits, marked), indexed(logits, labels, mask))


LOSSES = [
    medloss.MSELoss(),
    nn.MSELoss(),
    medloss.DiceLoss(sigmoid=True),
    medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=3, border="renormalise"),
    medloss.GlobalMutualInformationLoss(),
    medloss.WeightedSum({"mse": medloss.MSELoss(), "ncc": medloss.NormalizedCrossCorrelationLoss()}),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_box_mask_is_the_box(loss: nn.Module) -> None:
    """Smoothing takes nothing from under a mask, NaN least of all."""
    x, y = torch.rand(2, 1, 8, 9, requires_grad=True), torch.rand(2, 1, 8, 9)
    mask = box_mask(x.shape)
    scales = MultiScaleLoss(loss, scales=[0, 1], border="renormalise")
    expected = scales(x[BOX], y[BOX])
    for border in ("zero", "renormalise"):
        masked = MultiScaleLoss(loss, scales=[0, 1], border=border)
        dirty = torch.where(mask > 0, x, torch.full_like(x, torch.nan))
        value = masked(dirty, torch.where(mask > 0, y, torch.full_like(y, torch.inf)), mask)
        torch.testing.assert_close(value, expected)
        (gradient,) = torch.autograd.grad(value, x)
        assert torch.isfinite(gradient).all()
        assert not gradient[(mask == 0).expand_as(gradient)].any()


def test_a_constant_image_stays_with_renormalised_borders() -> None:
    loss = MultiScaleLoss(medloss.MSELoss(), scales=[2], border="renormalise")
    torch.testing.assert_close(loss.smoothed(torch.full((1, 1, 9, 8), 3.0), 2.0), torch.full((1, 1, 9, 8), 3.0))
    assert loss.smoothed(torch.full((1, 1, 9), 3.0), 2.0, torch.zeros(1, 1, 9)).sum() == 0


def test_half_precision_and_compile() -> None:
    x, y = torch.rand(2, 1, 8, 9).half(), torch.rand(2, 1, 8, 9).half()
    loss = MultiScaleLoss(medloss.DiceLoss(sigmoid=True), scales=[0, 1])
    expected = loss(x.float(), y.float())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(x, y), expected)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(x, y), expected)
    assert not loss.state_dict()
    assert repr(loss).startswith("MultiScaleLoss(DiceLoss(")


def test_faults() -> None:
    mse = medloss.MSELoss()
    for options, match in (
        ({"scales": [-1]}, "a scale=-1 is too small"),
        ({"scales": []}, "scales is empty"),
        ({"kernel": "box"}, "kernel='box' is unknown"),
        ({"border": "wrap"}, "border='wrap' is unknown"),
        ({"reduction": "avg"}, "reduction='avg' is unknown"),
    ):
        with pytest.raises(ValueError, match=match):
            MultiScaleLoss(mse, **options)
    with pytest.raises(TypeError, match="must be callable"):
        MultiScaleLoss(3)
    for loss in (medloss.CrossEntropyLoss(to_onehot_y=True), medloss.FocalLoss(), medloss.DiceCELoss(softmax=True)):
        with pytest.raises(TypeError, match="is a loss of logits"):
            MultiScaleLoss(loss)
