"""Sparse slices: as many as were asked for, the same for the same state, and in every label of a sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandFlipd

from medloss.transforms import LossMaskd, RandSparseSlices, RandSparseSlicesd


@pytest.mark.parametrize("make", [np.array, torch.tensor, MetaTensor])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_every_nth_slice_stays(make, axis):
    label = make(np.ones((1, 9, 9, 9), np.uint8).tolist())
    sparse = RandSparseSlices(ignore=255, every=3, axis=axis).set_random_state(1)
    found = sparse(label)
    assert type(found) is type(label) and found.dtype == label.dtype
    kept = np.asarray(found == 1)
    profile = kept.all(tuple(each for each in range(4) if each != axis % 3 + 1))
    assert kept.sum() == 3 * 81 and profile.sum() == 3 and (np.diff(np.flatnonzero(profile)) == 3).all()
    assert np.asarray(found == 255).sum() == 6 * 81 and np.asarray(label == 1).all()


def test_every_first_slice_is_drawn():
    sparse = RandSparseSlices(ignore=9, every=3).set_random_state(0)
    first = [int((sparse(torch.ones(1, 1, 6)) == 1).flatten().nonzero()[0]) for _ in range(60)]
    assert {each: first.count(each) > 5 for each in set(first)} == {0: True, 1: True, 2: True}


def test_a_number_of_slices_and_the_state():
    label = torch.ones(1, 4, 4, 20)
    draws = [RandSparseSlices(ignore=9, count=5).set_random_state(seed)(label) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert all((draw == 1).all(dim=(0, 1, 2)).sum() == 5 for draw in draws)
    assert (RandSparseSlices(ignore=9, count=50)(label) == 1).all()
    sparse = RandSparseSlices(ignore=9, every=2, prob=0.0)
    assert sparse(label) is label


def test_in_a_compose_with_a_second_label_and_the_mask():
    chain = Compose(
        [
            RandFlipd(["label", "other"], prob=0.5, spatial_axis=2),
            RandSparseSlicesd(["label", "other"], ignore=255, every=4),
            LossMaskd("label", ignore=255, replace=0),
        ]
    )
    data = {"label": torch.ones(1, 4, 4, 12), "other": torch.full((1, 4, 4, 12), 2.0)}
    one, two = (chain.set_random_state(5)(data) for _ in range(2))
    assert torch.equal(one["loss_mask"], two["loss_mask"]) and one["loss_mask"].sum() == 3 * 16
    assert torch.equal(one["other"] == 2, one["loss_mask"])
    with pytest.raises(ValueError, match="slices along axis"):
        RandSparseSlicesd(["a", "b"], 9, every=2)({"a": torch.ones(1, 2, 4), "b": torch.ones(1, 2, 5)})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RandSparseSlices(255), "one of every and count"),
        (lambda: RandSparseSlices(255, every=2, count=2), "one of every and count"),
        (lambda: RandSparseSlices(255, every=0), "at least 1"),
        (lambda: RandSparseSlices(255, every=2, axis=2)(torch.ones(1, 4, 4)), "none of the label's 2"),
        (lambda: RandSparseSlices(255, every=2)(torch.ones(1, 4, 4, dtype=torch.int8)), "cannot hold"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
