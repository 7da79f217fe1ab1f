"""Finding cases in folders, CSV files and MSD data sets, and splitting them by contiguous ids."""

from __future__ import annotations

import json

import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import write_csv
from medloss.apps.segmentation.cases import find_cases, natural_key, split_cases
from medloss.apps.segmentation.config import Data, Split


def ids(cases):
    return [case.id for case in cases]


def test_folders_in_natural_order_without_hidden_files(dataset):
    (dataset / "images" / "._case_1.nii.gz").write_bytes(b"a Mac was here")
    cases, _, _ = find_cases(Data(root=dataset))
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
    cases, _, _ = find_cases(Data(kind="csv", file=dataset / "all.csv"))
    train, valid = split_cases(cases, Split())
    assert ids(train) == ["case_1", "case_3"] and ids(valid) == ["case_2"]


def test_msd_brings_its_label_names(dataset):
    pair = {"image": "./images/case_1.nii.gz", "label": "./labels/case_1.nii.gz"}
    content = {"training": [pair], "labels": {"0": "background", "2": "shell", "4": "ball"}}
    (dataset / "dataset.json").write_text(json.dumps(content))
    cases, names, _ = find_cases(Data(kind="msd", root=dataset))
    assert ids(cases) == ["case_1"] and names == {"shell": 2, "ball": 4}


def test_missing_files_are_told_together(dataset):
    pairs = [{"image": f"{n}.nii.gz", "label": "labels/case_1.nii.gz"} for n in (7, 8)]
    (dataset / "dataset.json").write_text(json.dumps({"training": pairs}))
    with pytest.raises(UserError, match=r"2 file\(s\).*7\.nii\.gz.*8\.nii\.gz"):
        find_cases(Data(kind="msd", root=dataset))


def test_fraction_takes_the_last_ids_as_one_block(dataset):
    cases, _, _ = find_cases(Data(root=dataset))
    train, valid = split_cases(cases, Split(fraction=0.4))
    assert ids(valid) == ["case_9", "case_10"] and ids(train) == ["case_1", "case_2", "case_3"]
    assert ids(split_cases(cases, Split(fraction=0.01))[1]) == ["case_10"]
    assert split_cases(cases, Split(fraction=0))[1] == []


def test_ids_as_range_and_list(dataset):
    cases, _, _ = find_cases(Data(root=dataset))
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
