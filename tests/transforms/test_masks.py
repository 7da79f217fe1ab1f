"""LossMask: which voxels count, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medloss.transforms import LossMask, LossMaskd

LABEL = [[[0, 1, 255], [2, 254, 1]]]


@pytest.mark.parametrize("make", [np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float32), MetaTensor])
def test_ignore_labels(make):
    label = make(LABEL)
    mask = LossMask(ignore=(254, 255))(label)
    assert type(mask) is type(label)
    assert str(mask.dtype).endswith("bool")
    assert mask.tolist() == [[[True, True, False], [True, False, True]]]
    assert LossMask(ignore=255)(label).tolist() == [[[True, True, False], [True, True, True]]]


def test_clean_replaces_only_the_ignored():
    label = torch.tensor(LABEL, dtype=torch.uint8)
    cleaned = LossMask(ignore=255, replace=3).clean(label)
    assert cleaned.tolist() == [[[0, 1, 3], [2, 254, 1]]]
    assert cleaned.dtype == torch.uint8
    assert label.tolist() == LABEL


def test_further_masks_are_joined():
    label = torch.tensor(LABEL)
    view = torch.tensor([[[1.0, 0.5, 1.0], [0.0, -1.0, float("nan")]]])
    organ = np.array([[[0, 1, 1], [1, 1, 1]]], dtype=np.uint8)
    assert LossMask()(label, view).tolist() == [[[True, True, True], [False, False, False]]]
    assert LossMask(ignore=255)(label, view, organ).tolist() == [[[False, True, False], [False, False, False]]]


def test_a_voxel_must_pass_in_every_channel():
    label = torch.tensor([[[0, 255, 0]], [[1, 1, 255]]])
    assert LossMask(ignore=255)(label).tolist() == [[[True, False, False]]]
    view = torch.tensor([[[1, 1, 0]], [[0, 1, 1]]])
    assert LossMask()(label, view).tolist() == [[[False, True, False]]]


def test_three_dimensions_and_meta():
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))
    label = MetaTensor(torch.zeros(1, 2, 3, 4, dtype=torch.int16), affine=affine)
    label[0, 1, 2, 3] = 9
    mask = LossMask(ignore=9)(label)
    assert mask.shape == (1, 2, 3, 4)
    assert int((~mask).sum()) == 1 and not mask[0, 1, 2, 3]
    assert torch.equal(mask.affine, label.affine)


def test_dictionary():
    data = {"label": torch.tensor(LABEL), "fov": torch.tensor([[[1, 1, 1], [0, 1, 1]]])}
    result = LossMaskd("label", ignore=255, within="fov", replace=0)(data)
    assert result["loss_mask"].tolist() == [[[True, True, False], [False, True, True]]]
    assert result["label"].tolist() == [[[0, 1, 0], [2, 254, 1]]]
    assert data["label"].tolist() == LABEL and "loss_mask" not in data
    assert LossMaskd("label", ignore=255)(data)["label"].tolist() == LABEL


def test_each_label_map_gets_its_own_mask():
    data = {"fixed": torch.tensor([[[0, 9]]]), "moving": torch.tensor([[[9, 0]]])}
    result = LossMaskd(["fixed", "moving"], mask_keys=["fixed_mask", "moving_mask"], ignore=9)(data)
    assert result["fixed_mask"].tolist() == [[[True, False]]]
    assert result["moving_mask"].tolist() == [[[False, True]]]
    with pytest.raises(ValueError, match="one mask for each of keys"):
        LossMaskd(["fixed", "moving"], ignore=9)


def test_errors():
    label = torch.tensor(LABEL)
    with pytest.raises(ValueError, match="nothing to mask by"):
        LossMask()(label)
    with pytest.raises(ValueError, match="nothing to mask by"):
        LossMaskd("label")
    with pytest.raises(ValueError, match="needs ignore="):
        LossMaskd("label", within="fov", replace=0)
    with pytest.raises(ValueError, match="replace=0 is itself one of the ignored"):
        LossMask(ignore=0)
    with pytest.raises(ValueError, match=r"ignore and replace must be label values"):
        LossMask(ignore="255")
    with pytest.raises(ValueError, match=r"mask 1 has shape \(1, 2, 2\), but the label has \(1, 2, 3\)"):
        LossMask()(label, torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match="must be channel-first"):
        LossMask(ignore=255)(label[0])
    with pytest.raises(KeyError, match="has no mask"):
        LossMaskd("label", within="fov")({"label": label})
    with pytest.raises(ValueError, match="key 'label': mask 1 has shape"):
        LossMaskd("label", within="fov")({"label": label, "fov": torch.ones(1, 2, 2)})
