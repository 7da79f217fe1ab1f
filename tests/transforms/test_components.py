"""ComponentLabels: numbers by hand and beside SciPy's, and the losses that take them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import label as scipy_label

import medloss
from medloss.transforms import ComponentLabels, ComponentLabelsd

LABEL = [[[2, 0, 1, 1], [2, 0, 0, 0], [0, 1, 0, 2]]]


@pytest.mark.parametrize("make", [np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float32), MetaTensor])
def test_every_kind_by_hand(make):
    label = make(LABEL)
    found = ComponentLabels()(label)
    assert type(found) is type(label)
    assert str(found.dtype).endswith("int32")
    assert found.tolist() == [[[3, 0, 1, 1], [3, 0, 0, 0], [0, 2, 0, 4]]]
    assert label.tolist() == LABEL


def test_connectivity_and_channels():
    corner = torch.eye(3, dtype=torch.uint8)[None]
    assert ComponentLabels()(corner).max() == 1
    assert ComponentLabels(connectivity=1)(corner).max() == 3
    both = torch.cat([corner, 1 - corner])
    assert ComponentLabels(connectivity=1)(both).flatten(1).amax(1).tolist() == [3, 2]  # each channel by itself
    assert ComponentLabels()(torch.tensor([[[-1, 0, 5]]])).tolist() == [[[0, 0, 1]]]


def test_numbers_are_those_of_scipy_in_a_volume():
    mask = torch.rand(1, 9, 10, 11, generator=torch.Generator().manual_seed(0)) < 0.2
    expected = scipy_label(mask[0].numpy(), np.ones((3, 3, 3)))[0]
    affine = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0]))
    found = ComponentLabels()(MetaTensor(mask, affine=affine))
    np.testing.assert_array_equal(found[0].numpy(), expected)
    assert torch.equal(found.affine, affine.double())


@pytest.mark.parametrize("name", ["BlobDiceLoss", "CCDiceLoss"])
def test_the_loss_of_the_numbers_is_that_of_the_loss_itself(name):
    labels = torch.randint(0, 4, (2, 1, 8, 9, 5)).clamp_max(2)
    logits = torch.randn(2, 3, 8, 9, 5)
    given = torch.stack([ComponentLabels()(label) for label in labels])
    loss = getattr(medloss, name)(softmax=True, to_onehot_y=True, include_background=False)
    torch.testing.assert_close(loss(logits, labels, instances=given), loss(logits, labels))


@pytest.mark.parametrize("wrapper", [medloss.BlobLoss, medloss.ConnectedComponentLoss])
def test_the_wrapped_loss_of_the_numbers_is_that_of_the_wrapper_itself(wrapper):
    labels = torch.zeros(2, 1, 8, 9, dtype=torch.int64)
    labels[0, 0, 1, 1:3], labels[0, 0, 5:7, 4], labels[1, 0, 3, 3] = 1, 2, 1
    logits = torch.randn(2, 3, 8, 9)
    given = torch.stack([ComponentLabels()(label) for label in labels])
    loss = wrapper(medloss.DiceCELoss(softmax=True, to_onehot_y=True))
    torch.testing.assert_close(loss(logits, labels, instances=given), loss(logits, labels))


def test_dictionary_and_errors():
    data = {"label": torch.tensor(LABEL)}
    result = ComponentLabelsd("label", instance_keys="lesions")(data)
    assert result["lesions"].max() == 4 and set(data) == {"label"}
    with pytest.raises(ValueError, match="instance_keys must name one result for each of keys"):
        ComponentLabelsd(["a", "b"])
    with pytest.raises(ValueError, match="connectivity=0 must be at least 1"):
        ComponentLabels(0)
    with pytest.raises(ValueError, match="key 'label': labels must be whole numbers"):
        ComponentLabelsd("label")({"label": torch.full((1, 2, 2), 0.5)})
