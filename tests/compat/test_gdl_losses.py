"""geo-deep-learning's own losses against formulas of the papers, written once more in plain torch."""

from __future__ import annotations

import inspect

import pytest
import torch
from gdl_formulas import boundary_f1, example, lovasz_softmax, ohem
from hypothesis import given, settings
from hypothesis import strategies as st

import medloss.compat.gdl as losses

few = settings(max_examples=20, deadline=None)
SEED = st.integers(0, 99)


def agree(function, reference, logits, labels):
    """In value and gradient."""
    found = []
    for each in (function, reference):
        z = logits.clone().requires_grad_()
        value = each(z, labels)
        found.append((value.detach(), torch.autograd.grad(value, z)[0]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-10)


@few
@given(
    seed=SEED, theta0=st.sampled_from([3, 5, 19]), theta=st.sampled_from([1, 3, 19]), classes=st.sampled_from([2, 3])
)
def test_boundary(seed, theta0, theta, classes):
    logits, labels = example(seed, classes)
    whole = [(labels == c).flatten(1).all(1) | ~(labels == c).flatten(1).any(1) for c in range(classes)]
    counted = ~torch.stack(whole, 1)

    def reference(z, t):
        return boundary_f1(z, t, theta0, theta)[counted].mean()

    agree(losses.BoundaryLoss(theta0, theta), reference, logits, labels)


@few
@given(seed=SEED, ignored=st.sampled_from([None, 255, 1]), present=st.booleans(), classes=st.sampled_from([2, 4]))
def test_lovasz(seed, ignored, present, classes):
    logits, labels = example(seed, classes, (5, 4), ignored)
    loss = losses.LovaszSoftmax(ignore_index=ignored, only_present=present)
    agree(loss, lambda z, t: lovasz_softmax(z, t, ignored, present), logits, labels)


@few
@given(
    seed=SEED, ignored=st.sampled_from([255, 1]), thresh=st.sampled_from([0.1, 0.6, 1.0]), weighted=st.booleans(),
    min_kept=st.sampled_from([0, 1, 30, 1000]),
)  # fmt: skip
def test_hard_voxels(seed, ignored, thresh, weighted, min_kept):
    logits, labels = example(seed, 3, (6, 5), ignored)
    weight = torch.tensor([0.5, 1.0, 3.0]) if weighted else None
    loss = losses.OhemCrossEntropy2d(thresh, min_kept, weight, ignored)
    agree(loss, lambda z, t: ohem(z, t, thresh, min_kept, weight, ignored), logits, labels)


@few
@given(seed=SEED)
def test_duo(seed):
    logits, labels = example(seed, 2, (7, 8))

    def reference(z, t):
        return (losses.LovaszSoftmax()(z, t) + losses.BoundaryLoss()(z, t)) / 2

    agree(losses.DuoLoss(), reference, logits, labels)
    torch.testing.assert_close(losses.DuoLoss(theta0=3, theta=5, only_present=False)(logits, labels), (
        losses.LovaszSoftmax(only_present=False)(logits, labels) + losses.BoundaryLoss(3, 5)(logits, labels)
    ) / 2)  # fmt: skip


def test_signatures_of_the_documentation():
    for name, expected in {
        "BoundaryLoss": "(self, theta0=19, theta=19, ignore_index=None)",
        "OhemCrossEntropy2d": "(self, thresh=0.6, min_kept=0, weight=None, ignore_index=255)",
        "DuoLoss": "(self, **kwargs)",
        "LovaszSoftmax": "(self, ignore_index=None, only_present=True)",
    }.items():
        assert str(inspect.signature(getattr(losses, name).__init__)) == expected
    for name, expected in {
        "BoundaryLoss": ["self", "pred", "gt"], "OhemCrossEntropy2d": ["self", "predict", "target"],
        "DuoLoss": ["self", "preds", "labels"],
    }.items():  # fmt: skip
        assert list(inspect.signature(getattr(losses, name).forward).parameters) == expected


def test_the_configurations_of_the_repository():
    """Each loss by the options that its configurations give."""
    logits, labels = (tensor.float() if tensor.is_floating_point() else tensor for tensor in example(0, 3, (8, 8), 255))
    binary = (logits[:, :1], (labels == 1).float().unsqueeze(1))
    for loss in (
        losses.LovaszLoss(mode="multiclass", per_image=True, ignore_index=255),
        losses.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255),
        losses.DiceLoss(mode="multiclass", ignore_index=255),
        losses.FocalLoss(mode="multiclass", ignore_index=255),
        losses.OhemCrossEntropy2d(thresh=0.6, min_kept=0, ignore_index=255),
        losses.DuoLoss(ignore_index=255),
        losses.BoundaryLoss(ignore_index=255),
    ):
        assert 0 < loss(logits, labels) < 5
    for loss in (losses.SoftBCEWithLogitsLoss(), losses.DiceLoss("binary"), losses.LovaszLoss("binary", True)):
        assert 0 < loss(*binary) < 5


@pytest.mark.parametrize("name", ["BoundaryLoss", "OhemCrossEntropy2d", "DuoLoss", "LovaszSoftmax"])
def test_bad_tensors(name):
    logits, labels = example(0)
    for tensors in ((logits, labels[:1]), (logits, labels[..., 1:]), (logits[0], labels[0])):
        with pytest.raises(AssertionError):
            getattr(losses, name)()(*tensors)
    with pytest.raises(TypeError):
        getattr(losses, name)(no_such_option=1)
