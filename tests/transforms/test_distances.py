"""DistanceMap and BorderWeightMap: values by hand, the affine's spacing, and the losses that take them."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    Flipd,
    RandAffined,
    RandScaleIntensityd,
    RandZoomd,
    Rotate90d,
    Rotated,
    Spacingd,
    SpatialPadd,
)
from scipy.ndimage import distance_transform_edt

import medloss
from medloss.transforms import BorderWeightMap, BorderWeightMapd, DistanceMap, DistanceMapd, LossMaskd
from medloss.transforms.resampling import SpoiledMapWarning

# voxels of 1.5 x 2 x 4 mm, the axes turned and flipped
TURNED = torch.tensor([[0.0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 4, 1], [0, 0, 0, 1]])
ROW = [[[0, 0, 1, 1, 1, 0]]]


@pytest.mark.parametrize("make", [np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float32), MetaTensor])
def test_every_kind_by_hand(make):
    label = make(ROW)
    found = DistanceMap()(label)
    assert type(found) is type(label)
    assert str(found.dtype).endswith("float32")
    assert found.tolist() == [[[2, 1, 0, -1, 0, 1]]]
    assert DistanceMap(signed=False)(label).tolist() == [[[2, 1, 1, 2, 1, 1]]]
    assert DistanceMap(spacing=(9, 0.5))(label).tolist() == [[[1, 0.5, 0, -0.5, 0, 0.5]]]
    assert DistanceMap(clip=1)(label).tolist() == [[[1, 1, 0, -1, 0, 1]]]
    assert DistanceMap(normalise=True)(label).tolist() == [[[1, 0.5, 0, -0.5, 0, 0.5]]]
    assert label.tolist() == ROW


def test_class_indices():
    label = torch.tensor([[[0, 1, 2, 2]]], dtype=torch.uint8)
    found = DistanceMap(to_onehot=4, signed=False)(label)
    assert found.tolist() == [[[1, 1, 2, 3]], [[1, 1, 1, 2]], [[2, 1, 1, 2]], [[0, 0, 0, 0]]]
    assert DistanceMap(to_onehot=4, normalise=True)(label)[3].tolist() == [[0, 0, 0, 0]]
    with pytest.raises(ValueError, match="takes class indices in one channel, not 2"):
        DistanceMap(to_onehot=3)(torch.zeros(2, 4, 4))


def test_the_spacing_is_that_of_the_affine():
    label = MetaTensor(torch.zeros(1, 3, 4, 5), affine=TURNED, meta={"name": "x"})
    label[0, 1, 1, 1] = 1
    found = DistanceMap()(label)
    expected = distance_transform_edt(label[0].numpy() == 0, sampling=(1.5, 2, 4))
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-6)
    assert torch.equal(found.affine, label.affine) and found.meta["name"] == "x"
    assert DistanceMap(spacing=1)(label).max() < found.max()
    flat = MetaTensor(torch.zeros(1, 3, 4), affine=torch.diag(torch.tensor([1.5, 2.0, 1.0])))
    flat[0, 0, 0] = 1
    assert DistanceMap()(flat)[0, 2, 3].item() == pytest.approx(math.hypot(3.0, 6.0))


def test_masked_voxels_are_on_neither_side():
    mask = torch.tensor([[[1, 1, 1, 0, 1, 0]]])
    assert DistanceMap(signed=False)(torch.tensor(ROW), mask).tolist() == [[[2, 1, 1, 0, 3, 0]]]
    data = {"label": torch.tensor([[[0, 0, 1, 255, 1, 255]]])}
    result = Compose(
        [LossMaskd("label", ignore=255, replace=1), DistanceMapd("label", signed=False, mask_key="loss_mask")]
    )(data)
    assert result["distance_map"].tolist() == [[[2, 1, 1, 0, 3, 0]]]


@pytest.mark.parametrize("name", ["BoundaryLoss", "GeneralizedSurfaceLoss", "HausdorffDTLoss", "LogHausdorffDTLoss"])
def test_the_loss_of_the_map_is_that_of_the_loss_itself(name):
    spacing = (1.5, 2.0, 4.0)
    labels = [MetaTensor(torch.randint(0, 3, (1, 5, 6, 4)), affine=TURNED) for _ in range(2)]
    mask = torch.rand(2, 1, 5, 6, 4) > 0.1
    logits = torch.randn(2, 3, 5, 6, 4)
    transform = DistanceMap(to_onehot=3, signed="Hausdorff" not in name)
    loss = getattr(medloss, name)(softmax=True, to_onehot_y=True, spacing=spacing, include_background=False)
    batch = torch.stack(labels)
    given = torch.stack([transform(label) for label in labels])
    torch.testing.assert_close(loss(logits, batch, distance_map=given), loss(logits, batch))
    given = torch.stack([transform(label, seen) for label, seen in zip(labels, mask)])
    torch.testing.assert_close(loss(logits, batch, mask, distance_map=given), loss(logits, batch, mask))


def test_border_weights_by_hand():
    """Objects at 0 and 4 of a row of 1 x 2 mm: d1 + d2 is 8 mm in and between them, then 12."""
    label = torch.tensor([[[3, 0, 0, 0, 3, 0]]])
    found = BorderWeightMap(w0=10, sigma=4, spacing=(1, 2))(label)
    gap, beyond = 1 + 10 * math.exp(-(8**2) / 32), 1 + 10 * math.exp(-(12**2) / 32)
    torch.testing.assert_close(found, torch.tensor([[[gap, gap, gap, gap, gap, beyond]]]))
    # class weights, and the last one for what is beyond
    balanced = BorderWeightMap(w0=0, class_weights=[0.25, 4.0])(label)
    assert balanced.tolist() == [[[4, 0.25, 0.25, 0.25, 4, 0.25]]]


def test_border_weights_take_the_two_nearest_of_many():
    label = torch.zeros(1, 12, 14, dtype=torch.int16)
    for y, x in ((1, 1), (1, 9), (6, 5), (9, 11)):
        label[0, y : y + 2, x : x + 2] = 1
    found = BorderWeightMap(w0=5, sigma=3, spacing=(2, 1))(label)[0]
    places = [(1, 1), (1, 9), (6, 5), (9, 11)]
    distances = []
    for y, x in places:
        alone = np.ones((12, 14))
        alone[y : y + 2, x : x + 2] = 0
        distances.append(distance_transform_edt(alone, sampling=(2, 1)))
    nearest, second = np.sort(np.stack(distances), 0)[:2]
    np.testing.assert_allclose(found.numpy(), 1 + 5 * np.exp(-((nearest + second) ** 2) / 18), rtol=1e-5)


@pytest.mark.parametrize("filling", [0, 1])
def test_fewer_than_two_objects_have_no_gap(filling):
    label = MetaTensor(torch.full((1, 4, 5), filling), affine=torch.diag(torch.tensor([2.0, 2.0, 1.0])))
    found = BorderWeightMap()(label)
    assert isinstance(found, MetaTensor) and torch.equal(found.affine, label.affine)
    assert (found == 1).all()


def test_touching_objects_of_unlike_labels_are_two():
    label = np.array([[[1, 1, 2, 2]]])
    assert BorderWeightMap(w0=10, sigma=1)(label)[0, 0, 1] == pytest.approx(1 + 10 * math.exp(-0.5))
    assert BorderWeightMap(w0=10, sigma=1)((label > 0).astype(int)).max() == 1


def test_a_loss_takes_the_weights_as_its_mask():
    label = torch.zeros(1, 8, 8, dtype=torch.int64)
    label[0, 1:3, 1:3] = label[0, 4:7, 4:7] = 1
    weight = BorderWeightMapd("label")({"label": label})["border_weight"]
    logits = torch.randn(1, 2, 8, 8)
    entropy = torch.nn.functional.cross_entropy(logits, label, reduction="none")
    expected = (weight * entropy).sum() / weight.sum()
    torch.testing.assert_close(medloss.CrossEntropyLoss(to_onehot_y=True)(logits, label, weight), expected)


def test_dictionaries():
    data = {"a": torch.tensor(ROW), "b": torch.tensor([[[1, 0, 0]]])}
    result = DistanceMapd(["a", "b"], distance_keys=["da", "db"])(data)
    assert result["db"].tolist() == [[[0, 1, 2]]]
    assert set(data) == {"a", "b"} and result["a"] is data["a"]
    assert set(BorderWeightMapd("a", weight_keys="w")(data)) == {"a", "b", "w"}
    assert DistanceMapd(["a", "c"], distance_keys=["da", "dc"], allow_missing_keys=True)(data)["da"].shape == (1, 1, 6)


def test_errors():
    label = torch.tensor(ROW)
    with pytest.raises(ValueError, match="distance_keys must name one result for each of keys"):
        DistanceMapd(["a", "b"])
    with pytest.raises(KeyError, match="has no mask 'loss_mask'"):
        DistanceMapd("label", mask_key="loss_mask")({"label": label})
    with pytest.raises(ValueError, match="key 'label': spacing has 3 entries and the label 2 spatial axes"):
        DistanceMapd("label", spacing=(1, 1, 1))({"label": label})
    with pytest.raises(ValueError, match=r"the mask has shape \(1, 2, 6\), but the label has \(1, 1, 6\)"):
        DistanceMap()(label, torch.ones(1, 2, 6))
    for options, message in (
        ({"spacing": (1, 0)}, "spacing must be above 0"),
        ({"clip": 0}, "clip=0 must be above 0"),
        ({"to_onehot": 1}, "at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            DistanceMap(**options)
    for options, message in (
        ({"sigma": 0}, "sigma above 0"),
        ({"w0": -1}, "w0 must be at least 0"),
        ({"class_weights": [-1.0]}, "class_weights must be numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            BorderWeightMap(**options)
    with pytest.raises(ValueError, match="the label must have one channel, not 2"):
        BorderWeightMap()(torch.zeros(2, 3, 3))


BOTH = ["label", "distance_map"]


@pytest.mark.parametrize(
    ("transform", "spoils"),
    [
        (Rotated(BOTH, 0.3), True),
        (RandAffined(BOTH, prob=1.0, rotate_range=0.3), True),
        (RandAffined(BOTH, prob=0.0, rotate_range=0.3), False),
        (RandZoomd(BOTH, prob=1.0, min_zoom=1.1, max_zoom=1.3), True),
        (Spacingd(BOTH, (1, 1, 1)), True),
        (Rotated("label", 0.3), False),
        (Flipd(BOTH, 0), False),
        (Rotate90d(BOTH), False),
        (SpatialPadd(BOTH, (9, 9, 9)), False),
        (CenterSpatialCropd(BOTH, (4, 4, 3)), False),
        (RandScaleIntensityd("distance_map", 0.1, prob=1.0), False),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bool) else str(value),
)
@pytest.mark.parametrize("lazy", [False, True])
def test_a_map_that_is_resampled_warns_once(transform, spoils, lazy):
    data = {"label": MetaTensor((torch.rand(1, 8, 7, 6) > 0.7).float(), affine=TURNED)}
    chain = Compose([DistanceMapd("label"), transform], lazy=lazy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chain(data)
    found = [str(each.message) for each in caught if issubclass(each.category, SpoiledMapWarning)]
    assert len(found) == spoils
    assert all("resamples the distance map 'distance_map'" in each for each in found)


def test_a_watched_map_goes_through_a_loader_and_copies():
    data = [{"label": MetaTensor((torch.rand(1, 8, 7, 6) > 0.7).float(), affine=TURNED)}] * 2
    chain = Compose([DistanceMapd("label"), Flipd(BOTH, 0)])
    batch = next(iter(DataLoader(Dataset(data, chain), batch_size=2)))
    assert batch["distance_map"].shape == (2, 1, 8, 7, 6)
    one = pickle.loads(pickle.dumps(chain(data[0])["distance_map"]))
    back = chain.inverse({"label": chain(data[0])["label"], "distance_map": one})
    torch.testing.assert_close(back["distance_map"].as_tensor(), DistanceMap()(data[0]["label"]).as_tensor())


def test_subjects_of_torchio():
    tio = pytest.importorskip("torchio")
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    label = (torch.rand(1, 8, 7, 6) > 0.7).int()
    subject = tio.Subject(label=tio.LabelMap(tensor=label, affine=affine), seen=tio.LabelMap(tensor=label | 1))
    result = tio.Compose([DistanceMapd("label", mask_key="seen")])(subject)
    assert isinstance(result, tio.Subject) and isinstance(result["distance_map"], tio.ScalarImage)
    torch.testing.assert_close(result["distance_map"].data, DistanceMap(spacing=(1, 2, 3))(label))
    assert result["distance_map"].spacing == (1, 2, 3) and "distance_map" not in subject
