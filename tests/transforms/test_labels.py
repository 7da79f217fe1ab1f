"""RemapLabels: hand-made values, every kind of array, and the messages for bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medloss.transforms import RemapLabels, RemapLabelsd

FREESURFER = {0: 0, 2: 1, 41: 2, 1024: 3}
IDS = [[[0, 2, 41], [1024, 2, 0]]]
INDICES = [[[0, 1, 2], [3, 1, 0]]]


@pytest.mark.parametrize(
    "dtype",
    [torch.int16, torch.int32, torch.int64, torch.uint16, torch.float32, torch.float64, np.int16, np.uint16, ">i2"],
)
def test_every_type_keeps_its_kind(dtype):
    torch_type = isinstance(dtype, torch.dtype)
    label = torch.tensor(IDS).to(dtype) if torch_type else np.array(IDS, dtype=dtype)
    before = label.clone() if torch_type else label.copy()
    mapped = RemapLabels(FREESURFER)(label)
    assert type(mapped) is type(label)
    assert mapped.dtype == (label.dtype if torch_type else label.dtype.newbyteorder("="))
    assert mapped.tolist() == INDICES
    assert (label == before).all()


def test_small_types_and_bool():
    label = torch.tensor([[0, 3, 7]], dtype=torch.uint8)
    assert RemapLabels({0: 0, 3: 255, 7: 1})(label).tolist() == [[0, 255, 1]]
    assert RemapLabels({0: 1, 1: 0})(np.array([True, False])).tolist() == [False, True]
    assert RemapLabels({-1: 0, 0: -5})(torch.tensor([0, -1], dtype=torch.int8)).tolist() == [-5, 0]


def test_labels_can_change_places():
    assert RemapLabels({1: 2, 2: 1}, others="keep")(torch.tensor([0, 1, 2, 1])).tolist() == [0, 2, 1, 2]


def test_others():
    label = torch.tensor([[0, 5, 9, 6]])
    assert RemapLabels({5: 1}, others="keep")(label).tolist() == [[0, 1, 9, 6]]
    assert RemapLabels({5: 1}, others=0)(label).tolist() == [[0, 1, 0, 0]]
    with pytest.raises(ValueError, match=r"does not name: 0, 6, 9\. It names 5\. Add them"):
        RemapLabels({5: 1})(label)


def test_equals_one_assignment_per_label_on_a_volume():
    generator = np.random.default_rng(0)
    label = generator.choice(np.array([0, 4, 7, 77, 1001, 14175]), size=(1, 9, 10, 11)).astype(np.int32)
    mapping = {14175: 5, 0: 3, 77: 0, 4: 9}
    expected = label.copy()
    for source, target in mapping.items():
        expected[label == source] = target
    np.testing.assert_array_equal(RemapLabels(mapping, others="keep")(label), expected)


def test_there_and_back():
    ids = [0, 41, 42, 1024]
    label = torch.tensor([[42, 0], [1024, 41]], dtype=torch.int16)
    to_index = RemapLabels.to_indices(ids)
    assert to_index.mapping == {0: 0, 41: 1, 42: 2, 1024: 3}
    assert to_index(label).tolist() == [[2, 0], [3, 1]]
    assert torch.equal(to_index.inverse()(to_index(label)), label)


def test_inverse_policies():
    assert RemapLabels({5: 1}, others="raise").inverse().others == "raise"
    assert RemapLabels({5: 1}, others=0).inverse().others == "keep"
    assert RemapLabels({5: 1}).inverse(others=7)(torch.tensor([1, 2])).tolist() == [5, 7]
    wide = RemapLabels({0: 0, 1024: 1}, dtype=torch.uint8).inverse(dtype=torch.int16)
    assert wide(torch.tensor([1, 0], dtype=torch.uint8)).tolist() == [1024, 0]
    with pytest.raises(ValueError, match=r"labels \[3, 4\] all become 1"):
        RemapLabels({3: 1, 4: 1, 0: 0}).inverse()


def test_result_type_must_hold_the_targets():
    label = torch.tensor([0, 1], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"run from 0 to 1024, but torch.uint8 holds 0 to 255 exactly: pass a wider"):
        RemapLabels({0: 0, 1: 1024})(label)
    mapped = RemapLabels({0: 0, 1: 1024}, dtype=np.int32)(label)
    assert mapped.dtype == torch.int32
    assert mapped.tolist() == [0, 1024]
    with pytest.raises(ValueError, match=r"torch.float16 holds -2048 to 2048"):
        RemapLabels({0: 2049, 1: 1})(label.half())
    assert RemapLabels({0: 2048, 1: 1})(label.half()).tolist() == [2048, 1]


def test_metatensor_keeps_its_meta():
    affine = torch.diag(torch.tensor([1.0, 1.5, 2.0, 1.0]))
    label = MetaTensor(torch.tensor(IDS), affine=affine, meta={"filename_or_obj": "case.nii.gz"})
    mapped = RemapLabels(FREESURFER)(label)
    assert isinstance(mapped, MetaTensor)
    assert torch.equal(mapped.affine, affine.double())
    assert mapped.meta["filename_or_obj"] == "case.nii.gz"
    assert mapped.tolist() == INDICES


def test_dictionary():
    remap = RemapLabelsd(["a", "b"], {0: 0, 9: 1}, allow_missing_keys=True)
    data = {"a": torch.tensor([9, 0]), "image": torch.ones(2)}
    mapped = remap(data)
    assert mapped["a"].tolist() == [1, 0]
    assert mapped["image"] is data["image"]
    assert data["a"].tolist() == [9, 0]
    assert remap.inverse()(mapped)["a"].tolist() == [9, 0]
    with pytest.raises(ValueError, match=r"key 'a': label holds values that the mapping does not name: 3"):
        remap({"a": torch.tensor([3])})


@pytest.mark.parametrize("fault", [0.5, float("nan"), float("inf")])
def test_labels_that_are_no_labels(fault):
    with pytest.raises(ValueError, match=f"labels must be whole numbers, but {fault:g} is among them"):
        RemapLabels({0: 0}, others="keep")(torch.tensor([0.0, fault]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"mapping": {}}, "non-empty"),
        ({"mapping": [(0, 1)]}, "non-empty"),
        ({"mapping": {0.5: 1}}, "source must be a whole number, not 0.5"),
        ({"mapping": {"liver": 1}}, "source must be a whole number, not 'liver'"),
        ({"mapping": {0: 1}, "others": "skip"}, "others must be 'keep', 'raise' or an integer, not 'skip'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RemapLabels(**arguments)


def test_repeated_labels_and_lists_are_refused():
    with pytest.raises(ValueError, match="must differ"):
        RemapLabels.to_indices([0, 1, 1])
    with pytest.raises(TypeError, match="label must be a NumPy array, a tensor or a MetaTensor, not list"):
        RemapLabels({0: 0})([0])
