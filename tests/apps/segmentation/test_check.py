"""Everything that is wrong with a data set is told at once."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.cli import main
from medloss.apps.segmentation.check import check, data_of

pytestmark = pytest.mark.filterwarnings("ignore")


def spoil(file, function, affine=None):
    image = nib.load(file)
    array = function(np.asarray(image.dataobj).copy())
    nib.save(nib.Nifti1Image(array, image.affine if affine is None else affine), file)


def test_a_sound_data_set_has_no_faults(dataset):
    report = check(data_of(dataset, ["data.labels={shell: 2, ball: 4}"]), progress=False)
    assert report.cases == 5 and report.faults == [] and report.remarks == []
    assert "median spacing" in report.text() and "label values: 0, 2, 4" in report.text()


def test_all_faults_at_once(dataset, tmp_path, capsys):
    images, labels = dataset / "images", dataset / "labels"
    shutil.copy(images / "case_1.nii.gz", images / "case_7.nii.gz")  # the same image twice
    shutil.copy(labels / "case_1.nii.gz", labels / "case_7.nii.gz")
    (labels / "case_2.nii.gz").unlink()
    spoil(images / "case_3.nii.gz", lambda array: np.where(array > 0, np.nan, array).astype(np.float32))
    spoil(labels / "case_9.nii.gz", lambda array: np.where(array == 4, 5, array).astype(np.uint8))
    spoil(labels / "case_10.nii.gz", lambda array: array * 0, np.eye(4))
    (images / "notes.txt").write_text("x")
    file = tmp_path / "run.yaml"
    file.write_text(f"data: {{root: {dataset}, labels: {{shell: 2, ball: 4, vein: 8}}}}\nloss: {{dice: {{}}}}\n")
    with pytest.raises(SystemExit) as end:
        main(["segment", "check-data", str(file), "--quiet", "-o", str(tmp_path / "report.json")])
    told = capsys.readouterr().out
    assert end.value.code == 1
    for part in (
        "no label of that name",
        "NaN or infinite",
        "label 5 outside",
        "mm apart",
        "the same image, voxel by voxel: case_1, case_7",
        "class vein [8] is in no label map",
    ):
        assert f"fault: {part}" in told or any(part in line for line in told.splitlines() if line.startswith("fault"))
    assert "remark: case_10: the label" in told and "notes.txt" in told
    assert len(json.loads((tmp_path / "report.json").read_text())["faults"]) == 6


def test_channels_and_outliers(dataset):
    images = dataset / "images"
    for file in list(images.iterdir()):
        stem = file.name.removesuffix(".nii.gz")
        shutil.copy(file, images / f"{stem}_0001.nii.gz")
        file.rename(images / f"{stem}_0000.nii.gz")
    (images / "case_3_0001.nii.gz").unlink()
    spoil(images / "case_9_0001.nii.gz", lambda array: array * 0 + 7)
    for file in (images / "case_10_0000.nii.gz", images / "case_10_0001.nii.gz", dataset / "labels" / "case_10.nii.gz"):
        spoil(file, lambda array: array, nib.load(file).affine @ np.diag([5, 1, 1, 1]))
    report = check(data_of(dataset, ["data.channels=[FLAIR,T1]"]), progress=False)
    assert len(report.faults) == 2
    assert any("case_3: channel 1 (T1) missing" in fault for fault in report.faults)
    assert any("case_9: channel T1 holds 7 alone" in fault for fault in report.faults)
    assert [each.split()[1] for each in report.remarks if each.startswith("case_10")] == ["spacing", "extent"]
