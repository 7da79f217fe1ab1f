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
    result = evaluate(masks, references, tmp_path / "out", previews=0, progress=False)
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
    result = evaluate(masks, references, tmp_path / "out", previews=0, progress=False)
    rows = {(row["case"], row["label"]): row for row in result.rows}
    assert rows["case_1", "shell"]["dice"] == 1 and rows["case_1", "ball"]["dice"] == 0
    assert result.summary["references_without_prediction"] == 1
    assert result.summary["labels"]["ball"]["dice"]["mean"] == pytest.approx(3 / 4)
    assert result.summary["labels"]["ball"]["hd95_mm"]["infinite"] == 1 and rows["case_1", "ball"]["state"] == "missed"


def test_ignored_voxels_count_in_neither(folders, tmp_path):
    masks, references = folders

    def spoil(array):
        array[:7] = 255
        return array

    change(references / "case_1.nii.gz", spoil)
    pair = (masks / "case_1.nii.gz", references / "case_1.nii.gz")
    result = evaluate(*pair, tmp_path / "out", ignore=255, previews=0, progress=False)
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
        evaluate(given, references, tmp_path / "out", previews=0, progress=False)
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
    rows = evaluate(tmp_path / "found", tmp_path / "truth", previews=0, progress=False).rows
    assert [(row["label"], row["dice"]) for row in rows] == [("ball", 1.0)]


def test_a_missed_region_counts_by_the_image_s_diagonal(folders, tmp_path):
    masks, references = folders
    change(masks / "case_1.nii.gz", lambda array: np.where(array == 4, 0, array))
    pair = (masks / "case_1.nii.gz", references / "case_1.nii.gz")
    plain, penalised = (
        evaluate(*pair, tmp_path / how, missed=how, previews=0, progress=False) for how in ("count", "diagonal")
    )
    assert " of 0/1" in plain.table() and " of 1/2" in plain.table() and " of " not in penalised.table()
    label = nib.load(references / "case_1.nii.gz")
    extent = np.linalg.norm(label.affine[:3, :3], axis=0) * label.shape
    row = next(row for row in penalised.rows if row["id"] == 4)
    assert row["state"] == "missed" and row["dice"] == 0 and row["hd95_mm"] == pytest.approx(np.linalg.norm(extent))
    voxels = (np.asarray(label.dataobj) == 4).sum()
    volume = voxels * abs(np.linalg.det(label.affine[:3, :3])) / 1000
    assert row["volume_error_ml"] == pytest.approx(-volume, rel=0.05)  # spacing of a sheared grid: nearly


def test_a_label_of_another_case_is_absent_and_says_so(folders, tmp_path):
    masks, references = folders
    for folder in folders:
        change(folder / "case_1.nii.gz", lambda array: np.where(array == 4, 0, array))
    result = evaluate(masks, references, tmp_path / "out", previews=0, progress=False)
    assert len(result.rows) == 10 and result.summary["labels"]["4"]["absent"] == 1
    assert result.summary["labels"]["4"]["dice"]["n"] == 4 and result.summary["labels"]["4"]["dice"]["mean"] == 1


def test_regions_overlap_and_the_ignore_label_is_the_run_s(folders, tmp_path):
    """Both ids are the whole, one of them is the core; what the reference ignores counts nowhere."""
    masks, references = folders
    write_json(masks / "labels.json", {"labels": {"whole": [2, 4], "core": 4}, "ignore": 255, "region_order": [2, 4]})
    change(references / "case_1.nii.gz", lambda array: np.where(np.arange(len(array))[:, None, None] < 7, 255, array))
    change(masks / "case_2.nii.gz", lambda array: np.where(array == 4, 2, array))
    result = evaluate(masks, references, tmp_path / "out", previews=0, progress=False)
    rows = {(row["case"], row["label"]): row for row in result.rows}
    assert rows["case_1", "whole"]["dice"] == rows["case_1", "core"]["dice"] == rows["case_2", "whole"]["dice"] == 1
    assert rows["case_2", "core"]["state"] == "missed" and result.summary["ignored_label"] == 255


def test_the_page_has_the_worst_case_first_with_its_errors(folders, dataset, tmp_path):
    masks, references = folders
    change(masks / "case_3.nii.gz", lambda array: np.where(array == 4, 0, array))
    evaluate(masks, references, tmp_path / "out", images=dataset / "images", previews=1, progress=False)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index('<span class="name">case_3</span>') < page.index('<span class="name">case_1</span>')
    assert "Labels: mean [95 % interval] over the cases" in page
    assert "missed: 4" in page and "images/case_3.nii.gz" in page and page.count("data:image/png") == 3
    assert sorted(path.name for path in (tmp_path / "out" / "previews").iterdir()) == [
        "case_3.png",
        "case_3_errors.png",
    ]
    again = evaluate(masks, references, masks, previews=1, progress=False)  # beside the masks, twice
    assert len(evaluate(masks, references, masks, previews=0, progress=False).rows) == len(again.rows)


def test_outside_of_the_mask_nothing_counts(folders, tmp_path):
    masks, references = folders
    fields = tmp_path / "fields"
    shutil.copytree(references, fields)

    def spoil(array):
        array[:7] = 0
        return array

    for file in sorted(fields.iterdir()):
        change(file, lambda array: (np.arange(len(array)) >= 7)[:, None, None] * np.ones(array.shape, np.uint8))
    change(masks / "case_1.nii.gz", spoil)
    free = evaluate(masks, references, tmp_path / "free", previews=0, progress=False)
    held = evaluate(masks, references, tmp_path / "held", within=fields, previews=1, progress=False)
    assert min(row["dice"] for row in free.rows) < 1 and all(row["dice"] == 1 for row in held.rows)
    # volumes are those of what counts
    assert sum(row["reference_ml"] for row in held.rows) < sum(row["reference_ml"] for row in free.rows)
    assert held.summary["counted_within"] == str(fields) and "counted_within" not in free.summary
    (fields / "case_9.nii.gz").unlink()
    with pytest.raises(UserError, match="no mask of the same name"):
        evaluate(masks, references, tmp_path / "none", within=fields, previews=0, progress=False)
    change(fields / "case_1.nii.gz", lambda array: array[1:])
    with pytest.raises(UserError, match="same grid"):
        evaluate(
            masks / "case_1.nii.gz",
            references / "case_1.nii.gz",
            tmp_path / "none",
            within=fields / "case_1.nii.gz",
            previews=0,
            progress=False,
        )
    assert not (tmp_path / "none").exists()
