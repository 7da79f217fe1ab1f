"""MONAI's overlap losses: value, gradient, shape and warnings over sampled options."""

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
    probabilities,
    same,
    segmentation,
    weights,
)

IGNORED = st.sampled_from([None, None, 1, 0, 255, -1])
WEIGHT = st.sampled_from(["none", "one", "list", "tensor"])
LABELS = {
    "seed": SEED, "spatial": SPATIAL, "target": TARGET, "activation": ACTIVATION, "background": BOOL, "batch": BOOL,
    "reduction": REDUCTION,
}  # fmt: skip
few = settings(max_examples=25, deadline=None)


def given_labels(**more):
    return given(labels=st.fixed_dictionaries(LABELS), **more)


def prepared(labels, ignored=None, **more):
    """The shared options, and logits with their target, some of whose voxels bear the ignored label."""
    kind = labels["target"]
    if kind == "bytes" and (more.get("soft_label") or more.get("squared_pred")):
        kind = "one-hot"  # MONAI takes norms of floating tensors only
    logits, target = segmentation(labels["seed"], labels["spatial"], kind)
    indexed = kind == "indices"
    if ignored is not None and (ignored == 255 or ignored < 0):
        void = torch.rand(target[:, :1].shape, generator=torch.Generator().manual_seed(labels["seed"])) < 0.2
        target = torch.where(void, ignored if indexed else 0, target)
    options = {
        "include_background": labels["background"], "to_onehot_y": indexed, "batch": labels["batch"],
        "reduction": labels["reduction"], **activated(labels["activation"]), **more,
    }  # fmt: skip
    return options, probabilities(logits, labels["activation"]), target


@few
@given_labels(
    form=st.sampled_from([{}, {"squared_pred": True}, {"jaccard": True}, {"squared_pred": True, "jaccard": True}]),
    weight=WEIGHT, soft=BOOL, nr=SMOOTH, dr=st.sampled_from([1e-5, 0.5]), ignored=IGNORED,
)  # fmt: skip
def test_dice(labels, form, weight, soft, nr, dr, ignored):
    more = {"soft_label": soft, "smooth_nr": nr, "smooth_dr": dr, "ignore_index": ignored, **form}
    more["weight"] = weights(weight, labels["background"])
    options, *tensors = prepared(labels, ignored, **more)
    same("DiceLoss", options, *tensors)


@few
@given_labels(
    alpha=st.sampled_from([0.0, 0.3, 1.0]), beta=st.sampled_from([0.3, 1.5]), soft=BOOL, nr=SMOOTH, ignored=IGNORED
)
def test_tversky(labels, alpha, beta, soft, nr, ignored):
    more = {"alpha": alpha, "beta": beta, "soft_label": soft, "smooth_nr": nr, "ignore_index": ignored}
    options, *tensors = prepared(labels, ignored, **more)
    same("TverskyLoss", options, *tensors)


@few
@given_labels(weight=WEIGHT, soft=BOOL, shared=BOOL, kind=st.sampled_from(["ones", "half", "part"]))
def test_masked_dice(labels, weight, soft, shared, kind):
    options, input, target = prepared(labels, soft_label=soft, weight=weights(weight, labels["background"]))
    mask = torch.rand(
        1 if shared else 2, 1, *labels["spatial"], generator=torch.Generator().manual_seed(labels["seed"])
    )
    mask = {"ones": torch.ones_like(mask), "half": mask.round(), "part": mask}[kind]
    same("MaskedDiceLoss", options, input, target, mask)


@pytest.mark.parametrize("indexed", [True, False])
def test_masked_dice_without_a_mask(indexed):
    logits, target = segmentation(0, (5, 6), "indices" if indexed else "one-hot")
    assert same("MaskedDiceLoss", {"softmax": True, "to_onehot_y": indexed}, logits, target).warned == [UserWarning]


@few
@given_labels(w_type=st.sampled_from(["square", "simple", "uniform"]), soft=BOOL, nr=SMOOTH, absent=BOOL)
def test_generalized_dice(labels, w_type, soft, nr, absent):
    options, input, target = prepared(labels, w_type=w_type, soft_label=soft, smooth_nr=nr)
    if absent:  # a class that one sample, or all, lack
        target = torch.where(target == 2, 1, target) if options["to_onehot_y"] else target.index_fill(
            1, torch.tensor([2]), 0
        )  # fmt: skip
    same("GeneralizedDiceLoss", options, input, target)


@few
@given_labels(nr=SMOOTH)
def test_matthews(labels, nr):
    options, *tensors = prepared(labels, smooth_nr=nr)
    same("MCCLoss", options, *tensors)


@few
@given(
    seed=SEED, spatial=SPATIAL, mode=st.sampled_from(["default", "GDL"]), reduction=REDUCTION, nr=SMOOTH,
    shape=st.sampled_from(["channel", "none", "flat"]), numpy=BOOL, scale=st.sampled_from([1.0, 5.0]),
)  # fmt: skip
def test_wasserstein_dice(seed, spatial, mode, reduction, nr, shape, numpy, scale):
    distances = scale * torch.tensor([[0, 1, 1, 1], [1, 0, 0.5, 0.2], [1, 0.5, 0, 0.7], [1, 0.2, 0.7, 0]])
    logits, labels = segmentation(seed, spatial)
    if shape == "flat":  # voxels as a batch
        logits, labels = logits.movedim(1, -1).reshape(-1, 4), labels.flatten()
    labels = labels[:, 0] if shape == "none" else labels
    options = {"weighting_mode": mode, "reduction": reduction, "smooth_nr": nr}
    same("GeneralizedWassersteinDiceLoss", options, logits, labels, first=[distances.numpy() if numpy else distances])


@settings(max_examples=15, deadline=None)
@given_labels(iterations=st.integers(0, 3), nr=st.sampled_from([0.1, 1.0]), dr=st.sampled_from([0.1, 1.0]))
def test_cldice(labels, iterations, nr, dr):
    labels["target"] = "one-hot" if labels["target"] == "bytes" else labels["target"]
    options, input, target = prepared(labels, iter_=iterations, smooth_nr=nr, smooth_dr=dr, smooth=1e-3)
    del options["batch"]
    same("SoftclDiceLoss", options, input, target)
    if options["reduction"] != "none":
        same("SoftDiceclDiceLoss", {**options, "alpha": 0.3}, input, target)


@few
@given(
    seed=SEED, spatial=SPATIAL, reduction=REDUCTION, target=st.sampled_from(["indices", "one-hot", "foreground"]),
    ignored=st.sampled_from([None, 1, 255]), weight=st.sampled_from([0.0, 0.3, 1.0]),
    gamma=st.sampled_from([0.0, 0.5, 0.8]), delta=st.sampled_from([0.5, 0.7]), saturated=BOOL,
)  # fmt: skip
def test_unified_focal(seed, spatial, reduction, target, ignored, weight, gamma, delta, saturated):
    options = {"weight": weight, "gamma": gamma, "delta": delta, "reduction": reduction, "ignore_index": ignored}
    logits, labels = segmentation(seed, spatial, "one-hot" if target == "one-hot" else "indices", classes=2)
    if ignored == 255:
        void = torch.rand(labels[:, :1].shape, generator=torch.Generator().manual_seed(seed)) < 0.2
        labels = torch.where(void, 0 if target == "one-hot" else 255, labels)
    input = torch.sigmoid(logits)  # two channels need not add up to one
    if saturated:
        input = torch.where(input > 0.7, 1.0, torch.where(input < 0.3, 0.0, input))
    if target == "foreground":
        input, labels = input[:, 1:], labels.float()
    same("AsymmetricUnifiedFocalLoss", {**options, "to_onehot_y": target == "indices"}, input, labels)


@pytest.mark.parametrize("name", ["DiceLoss", "TverskyLoss", "MCCLoss", "FocalLoss"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch", [True, False])
def test_without_spatial_axes(name, reduction, batch):
    """Where MONAI names no axes to sum over, PyTorch sums over all: one value for batch and classes together."""
    input, target = (x[..., 0, 0] for x in segmentation(0, (2, 2), "one-hot"))
    options = {"reduction": reduction} | ({} if name == "FocalLoss" else {"batch": batch, "sigmoid": True})
    value = same(name, options, input, target).value
    assert value.ndim == {"mean": 0, "sum": 0, "none": 2 if name == "FocalLoss" else int(batch)}[reduction]
    if name == "DiceLoss":
        same(name, {**options, "weight": [1.0, 2.0, 3.0, 4.0]}, input, target)
