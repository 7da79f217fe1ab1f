"""Counts, weights and presence of classes: values by hand, over a data set, and in the losses that take them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor

import medloss
from medloss.transforms import (
    ClassBalanceMap,
    ClassBalanceMapd,
    ClassCounts,
    ClassCountsd,
    ClassPresent,
    ClassPresentd,
    ClassStats,
    class_weights,
)

ROW = [[[0, 0, 0, 0, 0, 0, 1, 1, 255]]]
KINDS = [np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float32), MetaTensor]


def test_weights_by_hand():
    """Of 6 and 2 voxels: 1/6 and 1/2 have the mean (1 + 1)/8 over the voxels."""
    counts = torch.tensor([6, 2, 0])
    assert class_weights(counts).tolist() == pytest.approx([8 / 12, 8 / 4, 0])
    root = 1 / 6**0.5, 1 / 2**0.5
    mean = (6 * root[0] + 2 * root[1]) / 8
    assert class_weights(counts, "inverse_sqrt").tolist() == pytest.approx([root[0] / mean, root[1] / mean, 0])
    effective = 0.5 / (1 - 0.5**6), 0.5 / (1 - 0.5**2)
    mean = (6 * effective[0] + 2 * effective[1]) / 8
    found = class_weights(counts, "effective", beta=0.5).tolist()
    assert found == pytest.approx([effective[0] / mean, effective[1] / mean, 0])
    limited = class_weights(torch.tensor([1000, 1]), largest=10)
    assert (limited[1] / limited[0]).item() == pytest.approx(10)
    assert class_weights(torch.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize("make", KINDS)
def test_balance_of_every_kind(make):
    label = make(ROW)
    found = ClassBalanceMap(2, ignore=255)(label)
    assert type(found) is type(label) and str(found.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(found), [[[8 / 12] * 6 + [2, 2] + [0]]], rtol=1e-6)
    assert label.tolist() == ROW
    of_the_data = ClassBalanceMap(2, ignore=255, counts=[10, 10])(label)
    assert of_the_data.tolist() == [[[1] * 8 + [0]]]


def test_balanced_classes_weigh_the_same_in_a_loss():
    """Weighted by the map, the cross-entropy is the mean over the classes of their means."""
    label = torch.zeros(1, 6, 6, dtype=torch.long)
    label[0, 0, :3] = 1
    logits = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    weight = ClassBalanceMapd("label", classes=2)({"label": label})["class_weight"]
    found = medloss.CrossEntropyLoss(to_onehot_y=True)(logits, label[None], weight[None])
    each = torch.nn.functional.cross_entropy(logits, label, reduction="none")
    torch.testing.assert_close(found, (each[label == 0].mean() + each[label == 1].mean()) / 2)


def test_counts_and_statistics():
    assert ClassCounts(3, ignore=255)(torch.tensor(ROW)).tolist() == [6, 2, 0]
    cases = [{"label": torch.tensor([[[0, 0, 1]]])}, {"label": torch.tensor([[[0, 2, 255]]])}]
    stats = ClassStats.of(cases, 3, key="label", ignore=255)
    assert stats.counts.tolist() == [[2, 1, 0], [1, 0, 1]]
    assert stats.total.tolist() == [3, 1, 1] and stats.present.tolist() == [2, 1, 1]
    assert stats.share.tolist() == pytest.approx([0.6, 0.2, 0.2])
    assert stats.weights().tolist() == pytest.approx([5 / 9, 5 / 3, 5 / 3])
    counted = Dataset([{"label": torch.tensor([[[0, 0, 1]]])}] * 2, ClassCountsd("label", classes=2))
    assert next(iter(DataLoader(counted, batch_size=2)))["class_counts"].tolist() == [[2, 1], [2, 1]]
    with pytest.raises(ValueError, match="case 1: the label holds values"):
        ClassStats.of([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 7)], 3)
    with pytest.raises(ValueError, match="no case"):
        ClassStats.of([], 3)


def test_presence_and_the_loss_that_takes_it():
    assert ClassPresent(4)([2]).tolist() == [True, False, True, False]
    named = ClassPresentd("source", 3, annotated={"a": [1], "b": [1, 2]})
    batch = next(iter(DataLoader(Dataset([{"source": "a"}, {"source": "b"}], named), batch_size=2)))
    assert batch["class_present"].tolist() == [[True, True, False], [True, True, True]]
    assert ClassPresentd("given", 3)({"given": [2]})["class_present"].tolist() == [True, False, True]
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(0, 2, (2, 1, 4, 4))
    loss = medloss.MarginalDiceCELoss(softmax=True, to_onehot_y=True)
    whole = loss(logits, label, class_present=batch["class_present"])
    assert whole.isfinite() and whole != loss(logits, label)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_weights(torch.ones(2), "median"), "method"),
        (lambda: class_weights(torch.ones(2), largest=0.5), "largest at least 1"),
        (lambda: ClassBalanceMap(2, counts=[1, 2, 3]), "3 numbers for 2 classes"),
        (lambda: ClassBalanceMap(2)(torch.zeros(2, 4, 4)), "not 2 channels"),
        (lambda: ClassBalanceMapd("label", classes=2)({"label": torch.full((1, 2, 2), 3)}), "key 'label': the label"),
        (lambda: ClassPresent(3)([3]), r"annotated classes \[3\]"),
        (lambda: ClassPresent(1), "at least 2"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_keys_and_names():
    with pytest.raises(KeyError, match="annotated lists"):
        ClassPresentd("source", 3, annotated={"a": [1]})({"source": "c"})
    with pytest.raises(KeyError, match="its keys are"):
        ClassPresentd("source", 3)({"other": 1})
