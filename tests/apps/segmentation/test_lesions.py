"""Two modalities, regions and small lesions; ignore label, masks and partial labels: from the files to the masks."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.config import load_config
from medloss.apps.common.errors import UserError
from medloss.apps.common.output import read_csv
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.evaluate import evaluate
from medloss.apps.segmentation.predict import predict
from medloss.apps.segmentation.train import train

pytestmark = pytest.mark.filterwarnings("ignore")

REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
SIZE = (28, 26, 24)


def lesion(seed):
    """FLAIR sees the whole lesion, T1 its enhancing core alone: 2 %, 0.5 % and 0.1 % of the voxels."""
    random = np.random.default_rng(seed)
    centre = [size / 2 + random.uniform(-3, 3) for size in SIZE]
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(np.indices(SIZE), centre, strict=True)))
    label = np.select([distance < 1.7, distance < 2.7, distance < 4.2], [3, 2, 1], 0).astype(np.uint8)
    flair = 2.0 * (label > 0) + 1.0 * (label > 1) + random.normal(1, 0.1, SIZE)
    t1 = 3.0 * (label == 3) + random.normal(1, 0.1, SIZE)
    return [flair.astype(np.float32) * 100, t1.astype(np.float32)], label


def write(root, labels=REGIONS, **more):
    """nnU-Net's folder: imagesTr/case_0_0000 and _0001, labelsTr/case_0, dataset.json."""
    for number in range(4):
        channels, label = lesion(number)
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for channel, array in enumerate(channels):
            path = root / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz"
            nib.save(nib.Nifti1Image(array, np.eye(4)), path)
        nib.save(nib.Nifti1Image(label, np.eye(4)), root / "labelsTr" / f"case_{number}.nii.gz")
    content = {"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": labels, "file_ending": ".nii.gz", **more}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def settings(root, **options):
    base = {"data.kind": "msd", "data.root": root, "data.patch": "[16,16,16]", "loss": "dice_ce"}
    base |= {"model.name": "dynunet", "model.channels": "[8,16,16]"}
    base |= {"train.epochs": 2, "train.augment": "none", "validate.previews": 0, "train.optimizer.lr": 1e-2}
    return load_config(Config, [], [f"{key}={value}" for key, value in {**base, **options}.items()])


def test_the_phantom_is_as_imbalanced_as_it_says():
    shares = [(lesion(0)[1] >= least).mean() for least in (1, 2, 3)]
    assert 0.015 < shares[0] < 0.02 and 0.003 < shares[1] < 0.006 and 0.0008 < shares[2] < 0.0015


@pytest.mark.slow
def test_regions_in_two_modalities_are_found(tmp_path):
    """Focal Tversky weighs what is missed more than what is too much: it finds the region of 0.1 %."""
    data = write(tmp_path / "data", regions_class_order=[0, 1, 2, 3])
    loss = "{dice_ce: {}, tversky: {alpha: 0.3, beta: 0.7}}"
    config = settings(data, loss=loss, **{"train.batch": 1, "train.epochs": 50, "validate.every": 50})
    run = train(config, tmp_path / "run", progress=False)
    stored = load_config(Config, [run.config])
    assert stored.data.channels == ["FLAIR", "T1"] and stored.data.region_order == [1, 2, 3]
    assert stored.loss["tversky"]["sigmoid"] is True and stored.loss["dice_ce"]["to_onehot_y"] is False
    masks = predict(run.path, [data / "imagesTr"], tmp_path / "masks", progress=False)
    assert [mask.name for mask in masks] == [f"case_{number}.nii.gz" for number in range(4)]
    assert {int(each) for each in np.unique(np.asarray(nib.load(masks[0]).dataobj))} <= {0, 1, 2, 3}
    rows = evaluate(tmp_path / "masks", data / "labelsTr", progress=False).rows
    names = [name for name in REGIONS if name != "background"]
    dice = {name: np.mean([row["dice"] for row in rows if row["label"] == name]) for name in names}
    assert min(dice.values()) > 0.7, dice
    # one meaning: what validation measured is what evaluate measures
    measured = {row["label"]: float(row["dice"]) for row in read_csv(run.path / "metrics.csv")}
    held = {row["label"]: row["dice"] for row in rows if row["case"] == "case_3"}
    assert measured == pytest.approx(held, abs=1e-6)


def test_one_channel_of_a_scan_finds_the_others_and_a_missing_one_is_named(tmp_path):
    data = write(tmp_path / "data")
    run = train(settings(data, **{"train.epochs": 1}), tmp_path / "run", progress=False)
    masks = predict(run.path, [data / "imagesTr" / "case_1_0000.nii.gz"], tmp_path / "m", progress=False)
    assert [mask.name for mask in masks] == ["case_1.nii.gz"]
    both = np.stack([np.asarray(nib.load(data / "imagesTr" / f"case_1_000{at}.nii.gz").dataobj) for at in (0, 1)], -1)
    nib.save(nib.Nifti1Image(both, np.eye(4)), tmp_path / "four.nii.gz")
    again = predict(run.path, [tmp_path / "four.nii.gz"], tmp_path / "m4", progress=False)[0]
    np.testing.assert_array_equal(*(np.asarray(nib.load(mask).dataobj) for mask in (again, masks[0])))
    (data / "imagesTr" / "case_2_0001.nii.gz").unlink()
    with pytest.raises(UserError, match=r"case_2: channel 1 \(T1\) missing"):
        predict(run.path, [data / "imagesTr"], tmp_path / "n", progress=False)
    nib.save(nib.Nifti1Image(both[..., 0], np.eye(4)), tmp_path / "one.nii.gz")
    with pytest.raises(UserError, match=r"1 channel, expected 2 \(FLAIR, T1\)"):
        predict(run.path, [tmp_path / "one.nii.gz"], tmp_path / "n", progress=False)


def test_ignored_voxels_masks_and_partial_labels_train(tmp_path):
    labels = {"background": 0, "edema": 1, "necrosis": 2, "enhancing": 3, "ignore": 9}
    data = write(tmp_path / "data", labels)
    (tmp_path / "brain").mkdir()
    for number in range(4):
        inside = np.zeros(SIZE, np.uint8)
        inside[2:-2, 2:-2, 2:-2] = 1
        nib.save(nib.Nifti1Image(inside, np.eye(4)), tmp_path / "brain" / f"case_{number}.nii.gz")
    partial = {"data.annotated": "{case_1: [edema]}", "data.within": tmp_path / "brain"}
    with pytest.raises(UserError, match="marginal_dice_ce or tal"):
        train(settings(data, **partial), tmp_path / "run", progress=False)
    config = settings(data, loss="[marginal_dice_ce,exclusion]", **partial)
    run = train(config, tmp_path / "run", progress=False)
    rows = read_csv(run.path / "history.csv")  # a patch without any labelled voxel has nothing to exclude
    assert all(any(float(row[f"{name}_raw"]) > 0 for row in rows) for name in ("marginal_dice_ce", "exclusion"))
    assert load_config(Config, [run.config]).data.ignore == 9
    assert json.loads((run.path / "made_of.json").read_text())["trained_on"]["spacing_mm"] == [[1.0, 1.0]] * 3
    with pytest.raises(UserError, match=r"case_2.*annotates nothing_known"):
        train(settings(data, **{"data.annotated": "{case_2: [nothing_known]}"}), tmp_path / "run", progress=False)
