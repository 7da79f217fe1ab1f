"""Classes and regions: one meaning of ids in data, loss, prediction and evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.classes import Classes, read_classes, write_classes

TUMOUR = {"enhancing": 4, "whole": [1, 2, 4], "core": [1, 4]}


def test_exclusive_classes_are_channels_behind_the_background():
    classes = Classes.from_mapping({"shell": 2, "core": [4, 9]}, ignore=255)
    assert classes.exclusive and classes.count == classes.indices == 3
    assert classes.to_channels() == {0: 0, 2: 1, 4: 2, 9: 2, 255: 3}
    assert classes.members().tolist() == [[False, False], [True, False], [False, True]]
    label = torch.tensor([[[0, 1, 2]]])
    assert classes.target(label) is label
    scores = torch.tensor([[3.0, 0, 0], [0, 1, 0], [0, 0, 2]])
    assert classes.decide(scores).tolist() == [0, 1, 2]


def test_ids_that_overlap_are_regions():
    regions = Classes.from_mapping(TUMOUR, ignore=255)
    assert not regions.exclusive and regions.count == 3 and regions.indices == 4
    assert regions.to_ids().tolist() == [0, 1, 2, 4] and regions.ignore_channel == 4
    target = regions.target(torch.tensor([[[0, 1, 2, 3]]]))  # ids 0, 1, 2, 4
    assert target.dtype == torch.bool
    assert target.int().tolist() == [[[0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 0, 1]]]
    # whole alone is edema (2), within it core is 1, within that enhancing is 4
    assert regions.order == (4, 2, 1)
    scores = torch.where(target[0], 5.0, -5.0)
    assert regions.to_ids()[regions.decide(scores).numpy()].tolist() == [0, 1, 2, 4]


def test_the_order_of_regions_can_be_given_as_in_nnunet():
    regions = Classes.from_mapping({"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, order=[1, 2, 3])
    assert regions.order == (1, 2, 3)
    assert regions.decide(torch.tensor([[1.0], [1.0], [-1.0]])).tolist() == [2]
    with pytest.raises(UserError, match="region_order"):
        Classes.from_mapping({"whole": [1, 2, 3], "core": [2, 3]}, order=[1, 1])
    with pytest.raises(UserError, match="region_order"):
        Classes.from_mapping({"whole": [1, 2], "a": 1, "b": 2})


@pytest.mark.parametrize("labels", [{"shell": 2, "core": [4, 9]}, TUMOUR])
def test_what_predict_leaves_is_read_by_evaluate(tmp_path, labels):
    classes = Classes.from_mapping(labels, ignore=255)
    write_classes(tmp_path, classes)
    assert read_classes(tmp_path) == classes
    array = np.array([0, 1, 2, 4, 9, 255])
    assert classes.counted(array).tolist() == [True] * 5 + [False]
    assert classes.mask_of(array, classes.names[-1]).tolist() == [
        each in np.atleast_1d(labels["core"]) for each in array
    ]


def test_the_names_of_an_earlier_version_and_of_nobody(tmp_path):
    assert read_classes(tmp_path) is None
    (tmp_path / "labels.json").write_text('{"shell": 2}')
    assert read_classes(tmp_path) == Classes.from_mapping({"shell": 2})
    (tmp_path / "labels.json").write_text("[1]")
    with pytest.raises(UserError, match="ids"):
        read_classes(tmp_path)
