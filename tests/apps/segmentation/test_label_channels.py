"""4D label files: a volume for each region, and regions that overlap in any way, from training to evaluation."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from segmentation_phantoms import AFFINE, make_settings, phantom, save

from medloss.apps.common.errors import UserError
from medloss.apps.common.labels import as_layers, load_labels
from medloss.apps.segmentation.check import check
from medloss.apps.segmentation.classes import Classes, read_classes, write_classes
from medloss.apps.segmentation.data import prepare
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.evaluate import evaluate
from medloss.apps.segmentation.predict import predict
from medloss.apps.segmentation.train import train

NAMES = ["ball", "half"]
OPTIONS = {"data.label_channels": "[ball,half]", "loss": "dice_ce"}


@pytest.fixture
def layered(tmp_path):
    """Four cases with a ball and one half of the volume: some voxels have both, some one of them, some none."""
    root = tmp_path / "data"
    for number in range(4):
        image, label = phantom(number)
        half = np.indices(label.shape)[0] < label.shape[0] // 2
        save(root / "images" / f"case_{number}.nii.gz", image / image.max() + half)
        save(root / "labels" / f"case_{number}.nii.gz", np.stack([label > 0, half], -1).astype(np.uint8))
    return root


def test_voxels_are_sums_of_powers_and_back(tmp_path):
    volumes = np.zeros((2, 2, 1, 3), np.uint8)
    volumes[0, 0, 0], volumes[1, 0, 0], volumes[1, 1, 0] = [1, 0, 1], [0, 1, 0], [1, 1, 1]
    file = save(tmp_path / "label.nii.gz", volumes)
    array = load_labels(file, layers=3).array
    assert array[..., 0].tolist() == [[5, 0], [2, 7]]
    np.testing.assert_array_equal(as_layers(array, 3), volumes)
    with pytest.raises(UserError, match=r"3 volume\(s\), and data.label_channels names 2"):
        load_labels(file, layers=2)
    with pytest.raises(UserError, match="values from 0 to 2"):
        load_labels(save(tmp_path / "ids.nii.gz", 2 * volumes), layers=3)


def test_any_overlap_is_decided_and_kept(tmp_path):
    data = Data(root=tmp_path, label_channels=NAMES)
    classes = Classes.from_mapping(data.labels, None, data.region_order, 2)
    scores = torch.tensor([[-1.0, 2, -1, 2], [-1, -1, 2, 2]])
    assert classes.decide(scores).tolist() == [0, 1, 2, 3]
    assert classes.target(torch.tensor([[[3, 1, 2, 0]]]))[0].tolist() == [[1, 1, 0, 0], [1, 0, 1, 0]]
    write_classes(tmp_path, classes)
    assert read_classes(tmp_path) == classes
    assert Data.model_validate(data.model_dump()) == data
    for wrong in ({"labels": {"a": 1}}, {"ignore": 255}, {"label_channels": ["a", "a"]}):
        with pytest.raises(ValueError, match="each name once"):
            Data(**{"root": tmp_path, "label_channels": NAMES, **wrong})


def test_from_training_to_evaluation(layered, tmp_path):
    config = make_settings(layered, **OPTIONS, **{"train.epochs": 12, "train.augment": "none"})
    run = train(config, tmp_path / "run", progress=False)
    masks = predict(run.path, [layered / "images"], tmp_path / "masks", previews=True, progress=False)
    written = nib.load(masks[0])
    reference = nib.load(layered / "labels" / masks[0].name)
    assert written.shape == reference.shape and np.allclose(written.affine, AFFINE, atol=1e-4)
    assert written.get_data_dtype() == np.uint8 and set(np.unique(written.dataobj)) <= {0, 1}
    result = evaluate(tmp_path / "masks", layered / "labels", tmp_path / "out", previews=1, progress=False)
    assert [row["label"] for row in result.rows] == 4 * NAMES
    found, true = (np.asarray(each.dataobj, bool) for each in (written, reference))
    dice = 2 * (found & true).sum((0, 1, 2)) / (found.sum((0, 1, 2)) + true.sum((0, 1, 2)))
    assert [row["dice"] for row in result.rows[:2]] == pytest.approx(dice.tolist())
    assert dice[1] > 0.5  # the half shows in the image


def test_faults(layered):
    config = make_settings(layered, **OPTIONS)
    prepared = prepare(config)
    assert prepared.classes.layers == 2 and prepared.classes.count == 2
    assert not check(config.data, progress=False).faults
    with pytest.raises(UserError, match="expected a 3D"):
        prepare(make_settings(layered))
    save(layered / "labels" / "case_1.nii.gz", np.zeros((*phantom(1)[1].shape, 3), np.uint8))
    assert any("label_channels names 2" in fault for fault in check(config.data, progress=False).faults)
