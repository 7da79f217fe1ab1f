"""Evaluation pairs files by name, counts per case and label, and leaves nothing half-written."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import read_csv, write_json
from medloss.apps.segmentation.evaluate import evaluate


@pytest.fixture
def folders(dataset, tmp_path):
    masks = tmp_path / "masks"
    shutil.copytree(dataset / "labels", masks)
    return masks, dataset / "labels"


def change(file, function):
    image = nib.load(file)
    nib.save(nib.Nifti1Image(function(np.asarray(image.dataobj).copy()), image.affine), file)


def test_perfect_masks(folders, tmp_path):
    masks, references = folders
    result = evaluate(masks, references, tmp_path / "out", progress=False)
    assert all(row["dice"] == 1 and row["hd95_mm"] == 0 for row in result.rows)
    assert len(read_csv(tmp_path / "out" / "metrics.csv")) == 10
    summary = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert summary["labels"]["mean"]["dice"]["interval95"] == [1, 1]
    assert "mean" in result.table()


def test_dice_names_and_missing_predictions(folders, tmp_path):
    masks, references = folders
    write_json(masks / "labels.json", {"shell": 2, "ball": 4})
    (masks / "case_9.nii.gz").unlink()
    change(masks / "case_1.nii.gz", lambda array: np.where(array == 4, 0, array))
    result = evaluate(masks, references, tmp_path / "out", progress=False)
    rows = {(row["case"], row["label"]): row for row in result.rows}
    assert rows["case_1", "shell"]["dice"] == 1 and rows["case_1", "ball"]["dice"] == 0
    assert result.summary["references_without_prediction"] == 1
    assert result.summary["labels"]["ball"]["dice"]["mean"] == pytest.approx(3 / 4)
    assert result.summary["labels"]["ball"]["hd95_mm"]["undefined"] == 1


def test_ignored_voxels_count_in_neither(folders, tmp_path):
    masks, references = folders

    def spoil(array):
        array[:7] = 255
        return array

    change(references / "case_1.nii.gz", spoil)
    pair = (masks / "case_1.nii.gz", references / "case_1.nii.gz")
    result = evaluate(*pair, tmp_path / "out", ignore=255, progress=False)
    assert [row["dice"] for row in result.rows] == [1, 1]


@pytest.mark.parametrize("fault", ["shape", "place", "name", "missing", "mixed", "fraction"])
def test_faults_leave_nothing(folders, tmp_path, fault):
    masks, references = folders
    file = masks / "case_10.nii.gz"
    if fault == "shape":
        change(file, lambda array: array[1:])
    elif fault == "place":
        image = nib.load(file)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine + np.diag([0, 0, 0.3, 0])), file)
    elif fault == "name":
        file.rename(masks / "stranger.nii.gz")
    elif fault == "fraction":
        change(file, lambda array: array + np.float32(0.5))
    given = {"missing": tmp_path / "none", "mixed": masks / "case_1.nii.gz"}.get(fault, masks)
    with pytest.raises(UserError):
        evaluate(given, references, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_ignore_label_of_the_run_counts_nowhere(tmp_path):
    """A reference with ids 1 and 255 (nobody annotated); the prediction is right where it was annotated."""
    from medloss.apps.segmentation.classes import Classes, write_classes

    truth = np.zeros((8, 8, 8), np.uint8)
    truth[2:5, 2:5, 2:5], truth[6:] = 1, 255
    found = np.where(truth == 255, 1, truth).astype(np.uint8)
    for name, array in (("found", found), ("truth", truth)):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / name / "a.nii.gz")
    write_classes(tmp_path / "found", Classes.from_mapping({"ball": 1}, ignore=255))
    rows = evaluate(tmp_path / "found", tmp_path / "truth", progress=False).rows
    assert [(row["label"], row["dice"]) for row in rows] == [("ball", 1.0)]
