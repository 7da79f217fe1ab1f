"""WarpField: shifts done by hand, labels to the bit, and MONAI's Warp as the convention."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.blocks import Warp

from medloss.transforms import WarpField, WarpFieldd


def shift(shape, *voxels):
    """A constant field of ``voxels`` along each axis."""
    return torch.stack([torch.full(shape, float(v)) for v in voxels])


def test_the_field_says_where_to_fetch():
    image = torch.arange(12.0).reshape(1, 3, 4)
    moved = WarpField()(image, shift((3, 4), 1, 0))
    torch.testing.assert_close(moved[0, :2], image[0, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[0, 2], image[0, 2], atol=1e-5, rtol=0)  # the border repeats
    half = WarpField()(image, shift((3, 4), 0, 0.5))
    torch.testing.assert_close(half[0, :, :3], image[0, :, :3] + 0.5, atol=1e-5, rtol=0)
    assert WarpField(padding_mode="zeros")(image, shift((3, 4), 5, 0)).abs().max() == 0


def test_axes_are_in_the_order_of_the_array():
    image = torch.zeros(1, 5, 6, 7)
    image[0, 2, 3, 4] = 1
    moved = WarpField("nearest")(image, shift((5, 6, 7), 1, -2, 2))
    assert moved.nonzero().tolist() == [[0, 1, 5, 2]]


def test_equals_monai_warp():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 5, 6, 7, generator=generator)
    field = torch.randn(3, 5, 6, 7, generator=generator)
    for mode in ("bilinear", "nearest"):
        expected = Warp(mode, "border")(image[None], field[None])[0]
        assert torch.equal(WarpField(mode)(image, field), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.bool])
def test_labels_keep_type_and_values(dtype):
    values = torch.tensor([[[0, 1], [1, 0]]]) if dtype == torch.bool else torch.tensor([[[0, 2], [77, 101]]])
    label = values.to(dtype)
    field = torch.full((2, 2, 2), 0.4)
    moved = WarpField("nearest")(label, field)
    assert moved.dtype == dtype
    assert moved.tolist() == label.tolist()


def test_large_label_values_are_exact():
    label = torch.tensor([[[2**24 + 1, 2**31 - 1], [3, 4]]], dtype=torch.int32)
    assert torch.equal(WarpField("nearest")(label, torch.zeros(2, 2, 2)), label)


def test_types_of_linear_results():
    field = torch.zeros(2, 3, 3)
    for given in (torch.uint8, torch.float16, torch.float32):
        assert WarpField()(torch.ones(1, 3, 3, dtype=given), field).dtype == torch.float32
    assert WarpField()(torch.ones(1, 3, 3, dtype=torch.float64), field).dtype == torch.float64
    image = np.arange(9, dtype=np.int16).reshape(1, 3, 3)
    moved = WarpField()(image, np.full((2, 3, 3), 0.5))
    assert isinstance(moved, np.ndarray) and moved.dtype == np.float32
    np.testing.assert_allclose(moved[0, 0, 0], 2.0, atol=1e-6)  # the mean of 0, 1, 3, 4


def test_metatensor_keeps_its_affine_and_input_stays():
    affine = torch.tensor([[-1.0, 0, 0, 9], [0, 1.5, 0, -4], [0, 0, 2.5, 3], [0, 0, 0, 1]])
    image = MetaTensor(torch.rand(1, 4, 4, 4), affine=affine, meta={"name": "x"})
    field = MetaTensor(torch.ones(3, 4, 4, 4))
    before = image.as_tensor().clone()
    moved = WarpField()(image, field)
    assert isinstance(moved, MetaTensor) and torch.equal(moved.affine, image.affine) and moved.meta["name"] == "x"
    assert torch.equal(image.as_tensor(), before) and bool((field == 1).all())


def test_dictionary():
    label = torch.tensor([[[1, 2, 3]]], dtype=torch.int16)
    data = {"image": label.float(), "label": label, "field": torch.full((2, 1, 3), 0.75)}
    moved = WarpFieldd(["image", "label"], field_key="field", mode=["bilinear", "nearest"])(data)
    torch.testing.assert_close(moved["image"], torch.tensor([[[1.75, 2.75, 3.0]]]))
    assert moved["label"].tolist() == [[[2, 3, 3]]] and moved["label"].dtype == torch.int16
    assert moved["field"] is data["field"] and data["label"] is label


def test_no_warning_and_no_state():
    warp = WarpField()
    before = dict(vars(warp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warp(torch.rand(1, 3, 3), torch.zeros(2, 3, 3))
    assert vars(warp) == before


def test_errors():
    image = torch.rand(1, 3, 4, 5)
    with pytest.raises(ValueError, match=r"needs a field of shape \(3, 3, 4, 5\).*the field has \(3, 3, 4, 4\)"):
        WarpField()(image, torch.zeros(3, 3, 4, 4))
    with pytest.raises(ValueError, match="must be channel-first"):
        WarpField()(image[None], torch.zeros(3, 3, 4, 5))
    with pytest.raises(ValueError, match="NaN or infinite"):
        WarpField()(image, torch.full((3, 3, 4, 5), float("nan")))
    with pytest.raises(ValueError, match="mode must be one of"):
        WarpField("linear")
    with pytest.raises(ValueError, match="padding_mode must be one of"):
        WarpField(padding_mode="wrap")
    with pytest.raises(KeyError, match="has no field 'ddf'"):
        WarpFieldd("image")({"image": image})
    with pytest.raises(ValueError, match="key 'image': an image of shape"):
        WarpFieldd("image")({"image": image, "ddf": torch.zeros(3, 4, 4, 5)})
