"""The losses of segmentation-models-pytorch 0.6.0 against values that it gave (see ``make_smp_values.py``)."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
import smp_cases
import torch

import medloss.compat.gdl as losses

STORED = json.loads((Path(__file__).parent / "data" / "smp_0_6_0.json").read_text())
NAMES = sorted(STORED["signatures"])
KEYS = ("loss", "mode", "missing", "soft", "probabilities", "options")


def named(row):
    return {key: row[key] for key in KEYS if key in row}


def test_the_stored_cases_are_those_of_the_script():
    assert STORED["package"] == "segmentation-models-pytorch 0.6.0"
    assert [named(row) for row in STORED["cases"]] == smp_cases.cases()
    counted = Counter(row["loss"] for row in STORED["cases"])
    assert set(counted) == set(NAMES) and len(STORED["cases"]) > 150


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name):
    for row in STORED["cases"]:
        if row["loss"] != name:
            continue
        value, gradient = smp_cases.outcome(losses, row)
        single = value.dtype == torch.float32
        tolerance = {"rtol": 1e-5, "atol": 1e-6} if single else {"rtol": 1e-6, "atol": 1e-9}
        for ours, theirs in ((value, row["value"]), (gradient, row["gradient"])):
            expected = torch.tensor(theirs, dtype=value.dtype).view(row["shape"] if ours is value else gradient.shape)
            assert ours.shape == expected.shape
            torch.testing.assert_close(ours, expected, **tolerance, msg=lambda told, row=row: f"{named(row)}\n{told}")


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name):
    """Names, kinds, defaults and annotations."""
    for method, signature in STORED["signatures"][name].items():
        assert str(inspect.signature(getattr(getattr(losses, name), method))) == signature


@pytest.mark.parametrize("name", NAMES)
def test_copies(name):
    row = next(row for row in STORED["cases"] if row["loss"] == name)
    loss = smp_cases.built(losses, row)
    y_pred, y_true = smp_cases.tensors(row["mode"], None, name == "MCCLoss", False, False)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(twin(y_pred, y_true), loss(y_pred, y_true))
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y_pred, y_true), loss(y_pred, y_true))


def test_weights_are_buffers_of_the_state():
    weight = torch.ones(1)
    assert losses.SoftBCEWithLogitsLoss(weight, pos_weight=weight).state_dict().keys() == {"weight", "pos_weight"}


def test_the_class_axis_may_be_another():
    logits, labels = torch.randn(2, 4, 5, 3), torch.randint(0, 3, (2, 4, 5))
    moved = losses.SoftCrossEntropyLoss(smooth_factor=0.1, reduction="none", dim=-1)(logits, labels)
    plain = losses.SoftCrossEntropyLoss(smooth_factor=0.1, reduction="none")(logits.movedim(-1, 1), labels)
    torch.testing.assert_close(moved[..., 0], plain[:, 0])
    expected = torch.nn.functional.cross_entropy(logits.movedim(-1, 1), labels, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(plain[:, 0], expected)


@pytest.mark.parametrize("name", ["DiceLoss", "JaccardLoss", "TverskyLoss", "FocalLoss"])
def test_bad_options(name):
    """With the types of the peer's errors: assertions, but for class weights."""
    kind = getattr(losses, name)
    with pytest.raises(AssertionError, match="choose one of 'binary', 'multiclass', 'multilabel'"):
        kind("multi")
    with pytest.raises(ValueError, match="class_weights need several classes"):
        kind("binary", class_weights=[1.0])
    if name != "FocalLoss":
        with pytest.raises(AssertionError, match="classes choose among several"):
            kind("binary", classes=[0])


def test_bad_tensors():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    for loss in (losses.DiceLoss("multiclass"), losses.LovaszLoss("multiclass"), losses.SoftCrossEntropyLoss()):
        with pytest.raises(RuntimeError, match=r"outside the 3 classes 0\.\.2: \[3\]"):
            loss(logits, torch.where(labels == 2, 3, labels))
        with pytest.raises((RuntimeError, AssertionError)):
            loss(logits, labels[:1])
        with pytest.raises(RuntimeError):
            loss(logits, labels[..., 1:])
    with pytest.raises(ValueError):
        losses.SoftBCEWithLogitsLoss()(logits, labels)
