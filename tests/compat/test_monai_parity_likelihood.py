"""MONAI's likelihood losses and their sums with overlap: value, gradient, shape and warnings over sampled options."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai_pairs import (
    ACTIVATION,
    BOOL,
    REDUCTION,
    SEED,
    SMOOTH,
    SPATIAL,
    TARGET,
    activated,
    same,
    segmentation,
    weights,
)

few = settings(max_examples=25, deadline=None)
WEIGHT = st.sampled_from(["none", "one", "list", "tensor"])
SHARED = {"seed": SEED, "spatial": SPATIAL, "target": TARGET, "background": BOOL, "reduction": REDUCTION}
FORM = st.sampled_from([{}, {"squared_pred": True}, {"jaccard": True}])


def prepared(seed, spatial, target, background, reduction, ignored=None):
    """The shared options, and logits with their target, some of whose voxels bear the ignored label."""
    logits, labels = segmentation(seed, spatial, target)
    if ignored == 255:
        void = torch.rand(labels[:, :1].shape, generator=torch.Generator().manual_seed(seed)) < 0.2
        labels = torch.where(void, 255 if target == "indices" else 0, labels)
    options = {"include_background": background, "to_onehot_y": target == "indices", "reduction": reduction}
    return options, logits, labels


@few
@given(
    shared=st.fixed_dictionaries(SHARED), softmax=BOOL, gamma=st.sampled_from([0.0, 0.5, 2.0, 3.5]),
    alpha=st.sampled_from([None, 0.25, 0, "list"]), weight=WEIGHT, ignored=st.sampled_from([None, None, 1, 255]),
)  # fmt: skip
def test_focal(shared, softmax, gamma, alpha, weight, ignored):
    options, logits, target = prepared(**shared, ignored=ignored)
    if ignored is not None and shared["reduction"] == "mean":
        options["reduction"] = "sum"  # the mean over what is not ignored is a known difference
    counted = 4 if shared["background"] else 3
    alpha = [0.1, 0.2, 0.3, 0.4][:counted] if alpha == "list" else alpha
    more = {"gamma": gamma, "alpha": alpha, "use_softmax": softmax, "ignore_index": ignored}
    same("FocalLoss", {**options, **more, "weight": weights(weight, shared["background"])}, logits, target)


@few
@given(
    shared=st.fixed_dictionaries({**SHARED, "reduction": st.sampled_from(["mean", "sum"])}), activation=ACTIVATION,
    batch=BOOL, form=FORM, weighted=BOOL, smoothing=st.sampled_from([0.0, 0.1]), nr=SMOOTH,
    factors=st.sampled_from([(1.0, 1.0), (0.0, 0.7), (2.0, 0.0)]),
)  # fmt: skip
def test_dice_ce(shared, activation, batch, form, weighted, smoothing, nr, factors):
    shared["target"] = "one-hot" if shared["target"] == "bytes" else shared["target"]
    options, logits, target = prepared(**shared)
    more = {"batch": batch, "label_smoothing": smoothing, "smooth_nr": nr, **form, **activated(activation)}
    more |= {"lambda_dice": factors[0], "lambda_ce": factors[1]}
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0]) if weighted else None
    same("DiceCELoss", {**options, **more, "weight": weight}, logits, target)


@few
@given(
    seed=SEED, spatial=SPATIAL, activation=ACTIVATION, background=BOOL, indexed=BOOL, weighted=BOOL,
    reduction=st.sampled_from(["mean", "sum"]), kind=st.sampled_from(["int64", "float32", "soft"]),
)  # fmt: skip
def test_dice_ce_of_one_channel(seed, spatial, activation, background, indexed, weighted, reduction, kind):
    logits, target = segmentation(seed, spatial, classes=2)
    target = torch.rand(target.shape) if kind == "soft" else target.to(getattr(torch, kind))
    options = {
        "include_background": background, "to_onehot_y": indexed, "reduction": reduction, **activated(activation),
        "weight": torch.tensor([2.5]) if weighted else None,
    }  # fmt: skip
    found = same("DiceCELoss", options, logits[:, :1], target)
    assert len(found.warned) == (activation == "softmax") + indexed + (not background)


@few
@given(
    shared=st.fixed_dictionaries(SHARED), activation=ACTIVATION, batch=BOOL, form=FORM, weight=WEIGHT,
    gamma=st.sampled_from([0.5, 2.0]), alpha=st.sampled_from([None, 0.25]),
)  # fmt: skip
def test_dice_focal(shared, activation, batch, form, weight, gamma, alpha):
    shared["target"] = "one-hot" if shared["target"] == "bytes" else shared["target"]
    options, logits, target = prepared(**shared)
    more = {"batch": batch, "gamma": gamma, "alpha": alpha, "lambda_focal": 0.5, **form, **activated(activation)}
    same("DiceFocalLoss", {**options, **more, "weight": weights(weight, shared["background"])}, logits, target)


@few
@given(
    shared=st.fixed_dictionaries(SHARED), activation=ACTIVATION, batch=BOOL, weight=WEIGHT,
    w_type=st.sampled_from(["square", "simple", "uniform"]),
)  # fmt: skip
def test_generalized_dice_focal(shared, activation, batch, weight, w_type):
    options, logits, target = prepared(**shared)
    more = {"batch": batch, "w_type": w_type, "lambda_gdl": 2.0, "lambda_focal": 0.5, **activated(activation)}
    weight = weights(weight, shared["background"])
    same("GeneralizedDiceFocalLoss", {**options, **more, "weight": weight}, logits, target)


@few
@given(
    seed=SEED, spatial=SPATIAL, kernel=st.sampled_from(["mean", "gaussian"]), distance=st.sampled_from(["l1", "l2"]),
    size=st.sampled_from([3, 5]), sigma=st.sampled_from([0.6, 1.0]), alpha=st.sampled_from([0.0, 0.1, 2.0]),
)  # fmt: skip
def test_neighbour_aware_calibration(seed, spatial, kernel, distance, size, sigma, alpha):
    logits, target = segmentation(seed, spatial)
    options = {"kernel_size": size, "kernel_ops": kernel, "distance_type": distance, "alpha": alpha, "sigma": sigma}
    same("NACLLoss", options, logits, target[:, 0], first=[4, len(spatial)])


@pytest.mark.parametrize("name", ["DiceLoss", "TverskyLoss", "GeneralizedDiceLoss", "MCCLoss", "SoftclDiceLoss",
    "BoundaryLoss", "HausdorffDTLoss", "LogHausdorffDTLoss", "MaskedDiceLoss", "DiceCELoss", "DiceFocalLoss",
    "GeneralizedDiceFocalLoss", "SoftDiceclDiceLoss", "FocalLoss"])  # fmt: skip
@pytest.mark.parametrize("flags", [{}, {"softmax": True}, {"sigmoid": True}, {"to_onehot_y": True},
    {"include_background": False}, {"softmax": True, "to_onehot_y": True, "include_background": False}])  # fmt: skip
def test_one_channel(name, flags):
    """Options that need several channels warn, as often as there, and change nothing."""
    logits, target = segmentation(1, (5, 6), classes=2)
    if name == "FocalLoss":
        flags = {flag: value for flag, value in flags.items() if flag not in ("softmax", "sigmoid")}
    elif "sigmoid" not in flags:
        logits = torch.sigmoid(logits)
    mask = [torch.ones(2, 1, 5, 6)] if name == "MaskedDiceLoss" else []
    same(name, flags, logits[:, :1], target.float(), *mask)


def test_alpha_without_a_background_to_balance():
    logits, target = segmentation(0, (5, 6))
    options = {"use_softmax": True, "include_background": False, "to_onehot_y": True, "alpha": 0.3}
    for reduction in ("mean", "sum", "none"):
        assert same("FocalLoss", {**options, "reduction": reduction}, logits, target).warned == [UserWarning]
