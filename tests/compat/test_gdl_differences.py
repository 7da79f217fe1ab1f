"""Every known difference from geo-deep-learning and segmentation-models-pytorch: their number, and ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import smp_cases
import torch
from gdl_formulas import boundary_f1, example, jaccard_extension, lovasz_softmax, ohem
from peer_differences import KNOWN_DIFFERENCES, Difference
from peer_differences.gdl import DIFFERENCES

import medloss.compat.gdl as losses

STORED = json.loads((Path(__file__).parent / "data" / "smp_0_6_0.json").read_text())["faults"]
LOGITS, LABELS = example(0)


def ours(key):
    return smp_cases.faults()[key](losses)


def close(value, expected, **tolerance):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), **tolerance)


def test_every_difference_is_shown_and_every_test_is_of_one():
    keys = [row.key for row in DIFFERENCES]
    tests = {name.removeprefix("test_d_").replace("_", "-") for name in globals() if name.startswith("test_d_")}
    assert len(set(keys)) == len(keys)
    assert set(keys) == tests
    assert set(STORED) == set(smp_cases.faults()) <= set(keys)
    assert all(isinstance(row, Difference) and all(row) and row.peer == "gdl" for row in DIFFERENCES)
    assert set(DIFFERENCES) <= set(KNOWN_DIFFERENCES)


def test_d_absent_boundary():
    labels = LABELS.clamp_max(1)
    theirs = boundary_f1(LOGITS, labels, 3, 5)  # their loss is the mean of it
    close(theirs[:, 2], [1.0, 1.0])
    close(losses.BoundaryLoss(3, 5)(LOGITS, labels), theirs[:, :2].mean())
    lovasz = lovasz_softmax(LOGITS, labels, None, True)
    close(losses.DuoLoss(theta0=3, theta=5)(LOGITS, labels), (theirs[:, :2].mean() + lovasz) / 2)


def test_d_ignored_boundary():
    ignored = LABELS.clone()
    ignored[..., 5:] = 255
    close(
        losses.BoundaryLoss(3, 3, ignore_index=255)(LOGITS, ignored),
        losses.BoundaryLoss(3, 3)(LOGITS[..., :5], LABELS[..., :5]),
    )
    assert boundary_f1(LOGITS, ignored.clamp_max(2), 3, 3).mean() > boundary_f1(LOGITS, LABELS, 3, 3).mean()


@pytest.mark.parametrize("options", [{"theta0": 4}, {"theta": 4}])
def test_d_even_box(options):
    sizes = {"theta0": 3, "theta": 3, **options}
    with pytest.raises(RuntimeError):
        boundary_f1(LOGITS, LABELS, **sizes)
    for kind in (losses.BoundaryLoss, losses.DuoLoss):
        with pytest.raises(ValueError, match="odd number of voxels"):
            kind(**options)


def test_d_nothing_hard():
    sure = 20 * torch.nn.functional.one_hot(LABELS, 3).movedim(-1, 1).double()
    assert ohem(sure, LABELS, 0.6, 0, None, 255).isnan()
    ignored = torch.full_like(LABELS, 255)
    for logits, labels in ((sure, LABELS), (LOGITS, ignored)):
        logits = logits.clone().requires_grad_()
        value = losses.OhemCrossEntropy2d()(logits, labels)
        value.backward()
        assert value == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_d_numpy_on_the_cpu(device):
    loss = losses.OhemCrossEntropy2d(min_kept=5)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")  # which breaks at a copy to NumPy
    value = compiled(LOGITS.to(device), LABELS.to(device))
    assert value.device.type == device
    close(value.cpu(), ohem(LOGITS, LABELS, 0.6, 5, None, 255))


def test_d_duo_options():
    with pytest.raises(TypeError):
        losses.LovaszSoftmax(theta=3)  # as theirs, which is handed every option
    with pytest.raises(TypeError):
        losses.BoundaryLoss(only_present=False)
    assert losses.DuoLoss(theta=3, theta0=5, only_present=False, ignore_index=255).theta == 3
    with pytest.raises(TypeError, match="unknown options size: choose among theta0"):
        losses.DuoLoss(size=3)


def test_d_no_smoothing():
    assert STORED["no-smoothing"] == {"raises": "TypeError"}
    logits, labels = smp_cases.tensors("multiclass", None, False, False, False)
    close(ours("no-smoothing"), torch.nn.functional.cross_entropy(logits, labels))


def test_d_nothing_valid_lovasz():
    assert STORED["nothing-valid-lovasz"] == {"shape": [0, 3], "value": "[]"}
    close(ours("nothing-valid-lovasz"), 0.0)
    labels = LABELS.clone()
    labels[0] = 255
    loss = losses.LovaszLoss("multiclass", per_image=True, ignore_index=255)
    close(loss(LOGITS, labels), lovasz_softmax(LOGITS[1:], labels[1:], None, True))


def test_d_nothing_valid_focal():
    assert STORED["nothing-valid-focal"]["value"] == "nan"
    close(ours("nothing-valid-focal"), 0.0)


def test_d_multilabel_ignored():
    assert STORED["multilabel-ignored"] == {"raises": "IndexError"}
    logits, labels = smp_cases.tensors("multilabel", 255, False, False, False)
    value = losses.FocalLoss("multilabel", ignore_index=255)(logits, labels)
    each = [losses.FocalLoss("binary", ignore_index=255)(logits[:, c], labels[:, c]) for c in range(3)]
    close(value, sum(each) / 3)


def test_d_double_hinge():
    assert STORED["double-hinge"] == {"raises": "RuntimeError"}
    logits = smp_cases.tensors("multiclass", None, False, False, False)[0].float().double()[:, :1]
    errors = torch.relu(1 - logits.abs()).flatten()  # the labels are the signs
    close(ours("double-hinge"), jaccard_extension(errors, (logits > 0).double().flatten()))


def test_d_integer_labels():
    assert STORED["integer-labels"] == {"raises": "RuntimeError"}
    logits = smp_cases.tensors("multiclass", None, False, False, False)[0].float()
    close(ours("integer-labels"), torch.nn.functional.softplus(-logits.abs()).mean())  # the labels are the signs


def test_d_ignored_nan():
    assert STORED["ignored-nan"]["value"] == "nan"
    logits, labels = smp_cases.tensors("multiclass", None, False, False, False)
    close(ours("ignored-nan"), losses.DiceLoss("multiclass", ignore_index=0)(logits.float(), labels))
    logits = torch.where(labels.unsqueeze(1) == 0, torch.nan, logits)
    members = torch.where(labels.unsqueeze(1) == 0, 255, (labels.unsqueeze(1) == 1).long()).expand_as(logits)
    for loss, target in (
        (losses.JaccardLoss("multilabel", ignore_index=255), members),
        (losses.FocalLoss("multiclass", ignore_index=0), labels),
        (losses.LovaszLoss("multiclass", True, ignore_index=0), labels),
        (losses.LovaszLoss("multilabel", True, ignore_index=255), members),
        (losses.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=0), labels),
        (losses.SoftBCEWithLogitsLoss(ignore_index=255, smooth_factor=0.1), members),
    ):
        z = logits.clone().requires_grad_()
        value = loss(z, target)
        value.backward()
        assert value > 0 and value.isfinite()
        assert z.grad.isfinite().all() and (z.grad.movedim(1, -1)[labels == 0] == 0).all()


def test_d_half_sums():
    assert STORED["half-sums"]["value"] == "nan"
    value = ours("half-sums")
    assert value.dtype == torch.float16 and value == 0
