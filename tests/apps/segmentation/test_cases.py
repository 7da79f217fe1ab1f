"""Finding cases in folders, CSV files and MSD data sets, and splitting them by contiguous ids."""

from __future__ import annotations

import json
import shutil

import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import write_csv
from medloss.apps.segmentation.cases import find_cases, natural_key, split_cases
from medloss.apps.segmentation.config import Data, Split


def ids(cases):
    return [case.id for case in cases]


def test_folders_in_natural_order_without_hidden_files(dataset):
    (dataset / "images" / "._case_1.nii.gz").write_bytes(b"a Mac was here")
    cases = find_cases(Data(root=dataset)).cases
    assert ids(cases) == ["case_1", "case_2", "case_3", "case_9", "case_10"]


def test_channel_suffix_of_nnunet(dataset):
    for file in list((dataset / "images").iterdir()):
        file.rename(file.with_name(file.name.replace(".nii.gz", "_0000.nii.gz")))
    assert ids(find_cases(Data(root=dataset))[0])[0] == "case_1"


def test_images_without_labels_are_named(dataset):
    (dataset / "labels" / "case_2.nii.gz").unlink()
    with pytest.raises(UserError, match=r"no label of that name.*case_2"):
        find_cases(Data(root=dataset))


def test_csv_paths_are_relative_to_it(dataset):
    rows = [
        {"image": f"images/case_{n}.nii.gz", "label": f"labels/case_{n}.nii.gz", "split": part}
        for n, part in ((1, "train"), (2, "valid"), (3, "train"))
    ]
    write_csv(dataset / "all.csv", rows)
    cases = find_cases(Data(kind="csv", file=dataset / "all.csv")).cases
    train, valid = split_cases(cases, Split())
    assert ids(train) == ["case_1", "case_3"] and ids(valid) == ["case_2"]


def test_msd_brings_its_label_names(dataset):
    pair = {"image": "./images/case_1.nii.gz", "label": "./labels/case_1.nii.gz"}
    content = {"training": [pair], "labels": {"0": "background", "2": "shell", "4": "ball"}}
    (dataset / "dataset.json").write_text(json.dumps(content))
    found = find_cases(Data(kind="msd", root=dataset))
    assert ids(found.cases) == ["case_1"] and found.names == {"shell": 2, "ball": 4}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "no valid JSON: .*line 1"),
        ("[]", r"holds \[\]; expected that of the Decathlon"),
        ("null", "holds null; expected"),
        ('{"labels": {"0": "b"}}', "neither training cases nor channels; expected"),
        ('{"labels": {"0": "b"}, "training": ["a", "b"]}', r'training cases \["a", "b"\]; expected'),
        ('{"labels": {"0": "b"}, "training": {"image": "a"}}', "training cases .*; expected"),
        ('{"labels": {"0": "b"}, "training": [{"image": "a"}]}', "training cases .*; expected"),
        ('{"labels": ["b", "x"], "training": []}', r'labels \["b", "x"\]; expected'),
        ('{"labels": {"liver": "one"}, "training": []}', "another form than expected .*liver.*; expected"),
        ('{"labels": {"liver": null}, "channel_names": {"0": "CT"}}', "another form than expected .*; expected"),
        ('{"labels": {"liver": 1}, "channel_names": ["CT"]}', "another form than expected .*; expected"),
    ],
)
def test_a_dataset_json_that_is_none(dataset, content, told):
    (dataset / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=f"dataset.json.*{told}") as caught:
        find_cases(Data(kind="msd", root=dataset))
    assert "Error(" not in str(caught.value)  # no exception of Python's


def test_missing_files_are_told_together(dataset):
    pairs = [{"image": f"{n}.nii.gz", "label": "labels/case_1.nii.gz"} for n in (7, 8)]
    (dataset / "dataset.json").write_text(json.dumps({"training": pairs}))
    with pytest.raises(UserError, match=r"2 file\(s\).*7\.nii\.gz.*8\.nii\.gz"):
        find_cases(Data(kind="msd", root=dataset))


def test_fraction_takes_the_last_ids_as_one_block(dataset):
    cases = find_cases(Data(root=dataset)).cases
    train, valid = split_cases(cases, Split(fraction=0.4))
    assert ids(valid) == ["case_9", "case_10"] and ids(train) == ["case_1", "case_2", "case_3"]
    assert ids(split_cases(cases, Split(fraction=0.01))[1]) == ["case_10"]
    assert split_cases(cases, Split(fraction=0))[1] == []


def test_ids_as_range_and_list(dataset):
    cases = find_cases(Data(root=dataset)).cases
    assert ids(split_cases(cases, Split(ids="case_2..case_9"))[1]) == ["case_2", "case_3", "case_9"]
    assert ids(split_cases(cases, Split(ids=["case_10", "case_1"]))[1]) == ["case_1", "case_10"]
    with pytest.raises(UserError, match="did you mean"):
        split_cases(cases, Split(ids=["cse_10"]))
    with pytest.raises(UserError, match="comes after"):
        split_cases(cases, Split(ids="case_9..case_2"))
    with pytest.raises(UserError, match="none is left"):
        split_cases(cases, Split(ids="case_1..case_10"))


def test_natural_key():
    assert sorted(["b10", "b9", "a", "10", "9"], key=natural_key) == ["9", "10", "a", "b9", "b10"]


def two_channels(dataset):
    """Each image as nnU-Net's two files."""
    for file in list((dataset / "images").iterdir()):
        stem = file.name.removesuffix(".nii.gz")
        shutil.copy(file, file.with_name(f"{stem}_0001.nii.gz"))
        file.rename(file.with_name(f"{stem}_0000.nii.gz"))


def test_channels_in_files_of_their_own(dataset):
    two_channels(dataset)
    found = find_cases(Data(root=dataset))
    assert ids(found.cases) == ["case_1", "case_2", "case_3", "case_9", "case_10"]
    assert [path.name for path in found.cases[1].images] == ["case_2_0000.nii.gz", "case_2_0001.nii.gz"]
    assert found.channels == ("channel_0", "channel_1")


@pytest.mark.parametrize("lost", ["0000", "0001"])
def test_a_missing_channel_is_named(dataset, lost):
    two_channels(dataset)
    (dataset / "images" / f"case_9_{lost}.nii.gz").unlink()
    with pytest.raises(
        UserError, match=rf"case_9: channel {int(lost)} \({'FLAIR' if lost == '0000' else 'T1'}\) missing"
    ):
        find_cases(Data(root=dataset, channels=["FLAIR", "T1"]))


def test_nnunets_dataset_json_brings_channels_regions_and_the_ignore_label(dataset):
    two_channels(dataset)
    for folder in ("images", "labels"):
        (dataset / folder).rename(dataset / f"{folder}Tr")
    labels = {"background": 0, "whole": [1, 2, 4], "core": [2, 4], "ball": 4, "ignore": 7}
    content = {"channel_names": {"0": "T2", "1": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (dataset / "dataset.json").write_text(json.dumps(content | {"regions_class_order": [1, 2, 4]}))
    found = find_cases(Data(kind="msd", root=dataset))
    assert found.channels == ("T2", "CT") and found.ignore == 7 and found.region_order == (1, 2, 4)
    assert found.names == {"whole": [1, 2, 4], "core": [2, 4], "ball": 4}
    assert len(found.cases) == 5 and all(len(case.images) == 2 for case in found.cases)


def test_columns_of_a_csv_name_channels_classes_and_a_mask(dataset):
    row = {"id": "a", "image_flair": "images/case_1.nii.gz", "image_t1": "images/case_2.nii.gz"}
    row |= {"label": "labels/case_1.nii.gz", "classes": "shell; ball", "within": "labels/case_1.nii.gz"}
    write_csv(dataset / "all.csv", [row, {**row, "id": "b", "classes": "", "within": ""}])
    found = find_cases(Data(kind="csv", file=dataset / "all.csv"))
    first, second = found.cases
    assert found.channels == ("flair", "t1") and len(first.images) == 2 and len(first.files) == 4
    assert (first.annotated, second.annotated, second.within) == (("shell", "ball"), None, None)
    write_csv(dataset / "all.csv", [{**row, "image_t1": ""}])
    with pytest.raises(UserError, match="image_t1 missing"):
        find_cases(Data(kind="csv", file=dataset / "all.csv"))


def test_a_pattern_says_which_classes_cases_annotate(dataset):
    cases = find_cases(Data(root=dataset, annotated={"case_1*": ["ball"]})).cases
    assert [case.annotated for case in cases] == [("ball",), None, None, None, ("ball",)]
