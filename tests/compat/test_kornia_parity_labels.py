"""kornia's losses of segmentations and its mutual informations: value, gradients, shape and type."""

from __future__ import annotations

import kornia.losses
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia_pairs import BOOL, REDUCTION, SEED, both, few, images, labelled, outcome, same

import medloss.compat.kornia as drop_ins

SHAPE = st.sampled_from([(2, 3, 4, 5), (1, 4, 3, 3), (2, 2, 1, 6)])
DTYPE = st.sampled_from([torch.float32, torch.float64])
IGNORE = st.sampled_from([-100, 1, 255, None])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0])


def weight_of(wanted: bool, shape: tuple[int, ...]) -> torch.Tensor | None:
    return WEIGHTS[: shape[1]].clone() if wanted else None


def ignored(target: torch.Tensor, label: int | None) -> torch.Tensor:
    """The target with some labels of the kind."""
    some = torch.arange(target.numel()).view(target.shape) % 3 == 0
    return target if label is None else torch.where(some, label, target)


@few
@given(
    seed=SEED, shape=st.sampled_from([(2, 3), (2, 3, 7), (1, 4, 3, 4), (2, 2, 3, 2, 2)]), dtype=DTYPE, ignore=IGNORE,
    alpha=st.sampled_from([None, 0.0, 0.25, 1.5]), gamma=st.sampled_from([0.0, 0.5, 2.0]), reduction=REDUCTION,
    weighted=BOOL,
)  # fmt: skip
def test_focal(seed, shape, dtype, ignore, alpha, gamma, reduction, weighted):
    logits, target = labelled(seed, shape, dtype)
    options = {
        "alpha": alpha, "gamma": gamma, "reduction": reduction, "weight": weight_of(weighted, shape),
        "ignore_index": ignore,
    }  # fmt: skip
    both("focal_loss", "FocalLoss", options, logits, ignored(target, ignore))


@few
@given(
    seed=SEED, shape=st.sampled_from([(2, 3), (2, 3, 7), (1, 4, 3, 4), (2, 1, 3, 2, 2)]), dtype=DTYPE, ignore=IGNORE,
    alpha=st.sampled_from([None, 0.0, 0.25, 1.5]), gamma=st.sampled_from([0.0, 0.5, 2.0]), reduction=REDUCTION,
    weighted=BOOL, positive=BOOL, soft=BOOL,
)  # fmt: skip
def test_binary_focal(seed, shape, dtype, ignore, alpha, gamma, reduction, weighted, positive, soft):
    logits = labelled(seed, shape, dtype)[0]
    target = images(seed, shape, dtype)[0]
    target = target if soft else (target > 0.5).long()
    options = {
        "alpha": alpha, "gamma": gamma, "reduction": reduction, "weight": weight_of(weighted, shape),
        "pos_weight": weight_of(positive, shape), "ignore_index": ignore,
    }  # fmt: skip
    target = ignored(target, None if ignore == 1 else ignore)
    both("binary_focal_loss_with_logits", "BinaryFocalLossWithLogits", options, logits, target)


@few
@given(
    seed=SEED, shape=SHAPE, dtype=DTYPE, ignore=IGNORE, average=st.sampled_from(["micro", "macro"]), weighted=BOOL,
    eps=st.sampled_from([0.0, 1e-8, 0.1]), missing=st.integers(0, 1), zero=BOOL,
)  # fmt: skip
def test_dice(seed, shape, dtype, ignore, average, weighted, eps, missing, zero):
    logits, target = labelled(seed, shape, dtype, missing)
    weight = weight_of(weighted, shape)
    if zero and weighted:
        weight[0] = 0
    options = {"average": average, "eps": eps, "weight": weight, "ignore_index": ignore}
    both("dice_loss", "DiceLoss", options, logits, ignored(target, ignore))


@few
@given(
    seed=SEED, shape=SHAPE, dtype=DTYPE, ignore=IGNORE, alpha=st.sampled_from([0.0, 0.3, 1.0]),
    beta=st.sampled_from([0.0, 0.7, 2.0]), eps=st.sampled_from([0.0, 1e-8, 0.1]), missing=st.integers(0, 1),
)  # fmt: skip
def test_tversky(seed, shape, dtype, ignore, alpha, beta, eps, missing):
    logits, target = labelled(seed, shape, dtype, missing)
    options = {"alpha": alpha, "beta": beta, "eps": eps, "ignore_index": ignore}
    both("tversky_loss", "TverskyLoss", options, logits, ignored(target, ignore))


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_a_sample_of_ignored_voxels_alone_costs_1(average):
    logits, target = labelled(0, (2, 3, 4, 5))
    target[0] = -100
    for eps in (0.0, 1e-8):
        both("dice_loss", "DiceLoss", {"average": average, "eps": eps}, logits, target)
        both("tversky_loss", "TverskyLoss", {"alpha": 0.3, "beta": 0.7, "eps": eps}, logits, target)
    assert drop_ins.dice_loss(logits[:1], target[:1], average) == 1


@few
@given(seed=SEED, shape=st.sampled_from([(2, 1, 4, 5), (1, 1, 1, 1), (3, 1, 1, 6)]), dtype=DTYPE, foreground=BOOL)
def test_lovasz_hinge(seed, shape, dtype, foreground):
    logits = labelled(seed, shape, dtype)[0]
    target = (images(seed, (shape[0], *shape[2:]))[0] > 0.5).long() * foreground
    both("lovasz_hinge_loss", "LovaszHingeLoss", {}, logits, target)
    both("lovasz_hinge_loss", None, {}, logits, target.to(torch.uint8))


@few
@given(seed=SEED, shape=SHAPE, dtype=DTYPE, weighted=BOOL, missing=st.integers(0, 1), one=BOOL)
def test_lovasz_softmax(seed, shape, dtype, weighted, missing, one):
    logits, target = labelled(seed, shape, dtype, missing)
    logits = logits[:1] if one else logits
    both("lovasz_softmax_loss", "LovaszSoftmaxLoss", {"weight": weight_of(weighted, shape)}, logits, target)


@few
@given(
    seed=SEED, shape=st.sampled_from([(2, 3, 6, 5), (1, 1, 4, 4), (2, 2, 4, 5, 3)]), dtype=DTYPE, reduction=REDUCTION,
    alpha=st.sampled_from([1.0, 2.0, 0.5]), k=st.sampled_from([1, 3, 10]), scale=st.sampled_from([0.5, 2.0]),
)  # fmt: skip
def test_erosion(seed, shape, dtype, reduction, alpha, k, scale):
    logits, target = labelled(seed, shape, dtype)
    kind = "HausdorffERLoss" if len(shape) == 4 else "HausdorffERLoss3D"
    value = same(
        lambda package: getattr(package, kind)(alpha=alpha, k=k, reduction=reduction), scale * logits,
        target.unsqueeze(1), rtol=2e-3,
    )  # fmt: skip
    if reduction == "none":
        assert value.shape == (shape[1], shape[0], 1, *shape[2:])


@pytest.mark.parametrize("name", ["FocalLoss", "DiceLoss", "LovaszSoftmaxLoss", "BinaryFocalLossWithLogits"])
def test_class_weights_may_learn(name):
    """A parameter stays one and has a gradient; a tensor is a buffer beyond the state."""
    logits, target = labelled(0, (2, 3, 4, 5))
    target = (logits > 0).long() if name.startswith("Binary") else target
    slopes = []
    for package in (drop_ins, kornia.losses):
        options = {"alpha": 0.3, "reduction": "sum"} if "Focal" in name else {}
        fixed = getattr(package, name)(weight=WEIGHTS[:3], **options)
        assert fixed.state_dict() == {} and dict(fixed.named_buffers()).keys() >= {"weight"}
        loss = getattr(package, name)(weight=torch.nn.Parameter(WEIGHTS[:3].clone()), **options)
        assert loss.state_dict().keys() == {"weight"}
        loss(logits, target).backward()
        slopes.append(loss.weight.grad)
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back(dtype):
    logits, target = labelled(0, (2, 3, 4, 5), dtype)
    for name in ("focal_loss", "dice_loss", "tversky_loss", "lovasz_softmax_loss"):
        options = {"focal_loss": {"alpha": 0.3}, "tversky_loss": {"alpha": 0.3, "beta": 0.7}}.get(name, {})
        both(name, None, options, logits, target, rtol=3e-2, gradient=False)
    both("lovasz_hinge_loss", None, {}, logits[:, :1], (target > 0).long(), rtol=3e-2, gradient=False)


def test_one_hot():
    for eps in (0.0, 0.1):
        for shape in ((4,), (2, 3), (2, 3, 4)):
            labels = torch.arange(torch.Size(shape).numel()).view(shape) % 3
            found = [
                package.one_hot(labels, 4, torch.device("cpu"), torch.float64, eps)
                for package in (drop_ins, kornia.losses)
            ]
            torch.testing.assert_close(*found, rtol=0, atol=0)


# ---- mutual information
KINDS = st.sampled_from(["xu", "truncated_gaussian", "rectangular"])
SUFFIX = {"": 1, "_2d": 2, "_3d": 3}


@few
@given(
    seed=SEED, normalised=BOOL, suffix=st.sampled_from(list(SUFFIX)), leading=st.sampled_from([(), (2,), (2, 3)]),
    kernel=KINDS, bins=st.sampled_from([2, 8, 64]), radius=st.sampled_from([0.7, 1.0, 2.0]), dtype=DTYPE,
    masks=st.sampled_from(["none", "one", "other", "both"]),
)  # fmt: skip
def test_mutual_information(seed, normalised, suffix, leading, kernel, bins, radius, dtype, masks):
    spatial = {"": (30,), "_2d": (5, 6), "_3d": (3, 2, 5)}[suffix]
    pair = images(seed, (*leading, *spatial), dtype)
    halves = [image > 0.4 for image in images(seed + 1, spatial)]
    one, other = (halves[i] if masks in (("one", "other")[i], "both") else None for i in range(2))
    name = ("normalized_" if normalised else "") + "mutual_information_loss" + suffix
    kind = ("NMI" if normalised else "MI") + "LossFromRef" + suffix[1:].upper()

    def function(package):
        options = (one, other, package.MIKernel[kernel], bins, radius)
        return lambda *tensors: getattr(package, name)(*tensors, *options)

    rtol = 1e-3 if dtype == torch.float64 else 5e-3  # a logarithm of shares near 0: both lose digits in float32
    assert same(function, *pair, rtol=rtol).shape == leading

    def module(package):
        loss = getattr(package, kind)(pair[1], other, package.MIKernel[kernel], bins, radius)
        return lambda signal: loss(signal, one)

    same(module, pair[0], rtol=rtol)


def test_entropies_and_buffers():
    signal, reference = images(0, (2, 40))
    losses = [package.MILossFromRef(reference, num_bins=16) for package in (drop_ins, kornia.losses)]
    torch.testing.assert_close(*(loss.entropies(signal) for loss in losses), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*(loss.state_dict() for loss in losses))
    mine, theirs = losses
    theirs.load_state_dict(mine.state_dict())
    assert mine.eps == theirs.eps and mine.to(torch.float64).eps == theirs.to(torch.float64).eps
    assert mine.num_bins == 16 and mine.window_radius == 1.0


@pytest.mark.parametrize("name", ["mutual_information_loss", "normalized_mutual_information_loss"])
def test_a_constant_signal(name):
    pair = [torch.full((2, 30), 0.3), images(0, (2, 30))[0]]
    value, slopes = outcome(getattr(drop_ins, name), tuple(pair))
    same(lambda package: getattr(package, name), *pair, rtol=1e-3)
    assert slopes[0].abs().max() == 0
    torch.testing.assert_close(value, torch.full((2,), -1.0 if name.startswith("n") else 0.0), rtol=0, atol=1e-3)


def test_windows_of_the_peer_are_taken():
    pair = images(0, (2, 30))
    for kernel in kornia.losses.MIKernel:
        mine = drop_ins.mutual_information_loss(*pair, kernel_function=kernel)
        torch.testing.assert_close(mine, kornia.losses.mutual_information_loss(*pair, kernel_function=kernel))
    x = torch.linspace(-2, 2, 41)
    for kernel in drop_ins.MIKernel:
        torch.testing.assert_close(kernel.value(x, 0.8), kornia.losses.MIKernel[kernel.name].value(x, 0.8))
