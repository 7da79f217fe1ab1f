"""Nothing is left out in silence: folders, tables and names as people have them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.case_names import check_case_name, check_distinct
from medloss.apps.common.errors import UserError
from medloss.apps.common.listing import list_images, match, tell_left_out
from medloss.apps.common.tables import path_from, read_table


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_everything_in_a_folder_is_an_image_or_named(tmp_path):
    names = ["b.nii.gz", "a.mha", "c.nrrd", "d.mgz", "e.hdr", "e.img", "f.mhd", "f.zraw", "g.NII.GZ"]
    touch(*(tmp_path / name for name in names))
    touch(tmp_path / ".hidden.nii.gz", tmp_path / "._b.nii.gz", tmp_path / "notes.txt", tmp_path / "b.nii")
    (tmp_path / "linked.nii.gz").symlink_to(tmp_path / "nowhere")
    found = list_images(tmp_path)
    assert sorted(found.images) == ["a", "b", "c", "d", "e", "f", "g"]
    assert found.images["b"].name == "b.nii.gz" and found.images["e"].name == "e.hdr"
    left = {each.path.name: each.reason for each in found.left_out}
    assert set(left) == {"notes.txt", "b.nii", "linked.nii.gz"}
    assert "broken link" in left["linked.nii.gz"] and "b.nii.gz" in left["b.nii"] and ".txt" in left["notes.txt"]
    every = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert {path.name for path in found.images.values()} | set(left) | {"e.img", "f.zraw"} == every


def test_nested_folders(tmp_path):
    for subject in ("01", "02"):
        touch(tmp_path / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz", tmp_path / f"sub-{subject}/same/image.nii.gz")
    found = list_images(tmp_path)
    assert list(found.images) == ["sub-01_T1w", "sub-01_same_image", "sub-02_T1w", "sub-02_same_image"]
    assert list_images(tmp_path, skip=[tmp_path / "sub-01"]).images.keys() == {"sub-02_T1w", "image"}


@pytest.mark.parametrize(
    ("images", "labels", "cases", "open_images", "lonely"),
    [
        (["a.nii.gz", "b.nii.gz"], ["b.nrrd", "a.mha", "z.nii.gz"], ["a", "b"], [], ["z.nii.gz"]),
        (["c_0000.nii.gz"], ["c.nii.gz"], ["c"], [], []),
        (["c.nrrd"], ["c.seg.nrrd"], ["c"], [], []),
        (["sub-1_ses-2_T1w.nii.gz"], ["sub-1_ses-2_dseg.nii.gz"], ["sub-1_ses-2"], [], []),
        (["sub-1_T1w.nii.gz", "sub-1_T2w.nii.gz"], ["sub-1_dseg.nii.gz"], [], 2, ["sub-1_dseg.nii.gz"]),
        (["x.nii.gz"], ["y.nii.gz"], [], 1, ["y.nii.gz"]),
    ],
)
def test_images_meet_their_labels(tmp_path, images, labels, cases, open_images, lonely):
    touch(*(tmp_path / "images" / name for name in images), *(tmp_path / "labels" / name for name in labels))
    found, unlabelled, left = match(list_images(tmp_path / "images"), list_images(tmp_path / "labels"))
    assert list(found) == cases
    assert len(unlabelled) == (open_images or 0)
    assert [each.path.name for each in left] == lonely


def test_one_line_tells_how_many_and_why(tmp_path):
    touch(tmp_path / "a.txt", tmp_path / "b.jpg", tmp_path / "c.nii.gz", tmp_path / "c.nii")
    told = []
    tell_left_out(list_images(tmp_path).left_out, told.append)
    assert len(told) == 1 and told[0].startswith("3 files left out") and "\n" not in told[0]
    tell_left_out([], told.append)
    assert len(told) == 1


TABLE = "Image, Label ,split\n# a remark\nimg ä.nii.gz,lab.nii.gz, train \n\n'b'.nii.gz , l.nii.gz,\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_tables_as_excel_writes_them(tmp_path, encoding, delimiter, ending):
    text = TABLE.replace(",", delimiter).replace("\n", ending)
    raw = ("﻿" + text).encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)
    (tmp_path / "x.csv").write_bytes(raw)
    rows = read_table(tmp_path / "x.csv", ("image", "label"))
    assert [row.line for row in rows] == [3, 5]
    assert rows[0].cells == {"image": "img ä.nii.gz", "label": "lab.nii.gz", "split": "train"}
    assert rows[1].cells == {"image": "'b'.nii.gz", "label": "l.nii.gz", "split": ""}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "holds no rows"),
        (b"\n\n", "holds no rows"),
        (b"a,b\n1,2\n", "needs the columns image and label, got a, b; the first line must name the columns"),
        (b"PK\x03\x04 xlsx", "workbook.*save it as CSV"),
        (b"\xd0\xcf\x11\xe0 xls", "workbook.*save it as CSV"),
        (b"image,label\nx,y,z\n", "line 2: 3 cells under 2 columns"),
        (b"image,image,label\nx,y,z\n", "each once"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "no text"),
        (b'image,label\n"x,y\n', "cannot be read as a CSV"),
    ],
)
def test_tables_that_are_none(tmp_path, raw, told):
    (tmp_path / "x.csv").write_bytes(raw)
    with pytest.raises(UserError, match=told):
        read_table(tmp_path / "x.csv", ("image", "label"))


def test_paths_of_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/of/mine")
    paths = [path_from(tmp_path, cell) for cell in ("a.nii.gz", "/data/a.nii.gz", "~/a.nii.gz")]
    assert [str(path) for path in paths] == [f"{tmp_path}/a.nii.gz", "/data/a.nii.gz", "/of/mine/a.nii.gz"]


def test_no_damaged_table_ends_in_a_traceback(tmp_path):
    """One flipped byte: rows or one line."""
    random, raw = np.random.default_rng(0), TABLE.encode()
    for _ in range(300):
        damaged = bytearray(raw)
        damaged[random.integers(len(raw))] = random.integers(256)
        (tmp_path / "x.csv").write_bytes(damaged)
        try:
            assert all(len(row.cells) == 3 for row in read_table(tmp_path / "x.csv", ("image", "label")))
        except UserError as error:
            assert "x.csv" in str(error)


@pytest.mark.parametrize(
    "name", ["../../victim", "a/b", "a\\b", "..", ".", "", " ", "a\nb", "a\0b", ".hidden", "x" * 300, "é" * 150, "C:x"]
)
def test_names_that_no_file_can_have(name):
    with pytest.raises(UserError, match="here"):
        check_case_name(name, "here")


@pytest.mark.parametrize("name", ["a", "sub-01_ses-1", "Zoë 2", "scan.v2", "x" * 180])
def test_names_that_files_have(name):
    assert check_case_name(f" {name} ", "here") == name


def test_names_that_differ_in_capitals_are_one_file_on_some_systems():
    check_distinct(["a", "b"], "x")
    with pytest.raises(UserError, match="A, a"):
        check_distinct(["A", "a", "b"], "x")


def test_a_pair_or_case_never_leaves_its_folder(tmp_path):
    """Wherever a name comes from: a CSV of pairs or of cases, a JSON."""
    from medloss.apps.registration.config import Data as Pairs
    from medloss.apps.registration.files import read_pairs
    from medloss.apps.segmentation.cases import find_cases
    from medloss.apps.segmentation.config import Data

    image = tmp_path / "x.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), image)
    (tmp_path / "pairs.csv").write_text("name,fixed,moving\n../../victim,x.nii.gz,x.nii.gz\n")
    with pytest.raises(UserError, match="cannot be the name of a case"):
        read_pairs(tmp_path / "pairs.csv", Pairs(root=tmp_path))
    (tmp_path / "cases.csv").write_text("id,image,label\nsub-01/ses-1,x.nii.gz,x.nii.gz\n")
    with pytest.raises(UserError, match="write for instance sub-01_ses-1"):
        find_cases(Data(kind="csv", file=tmp_path / "cases.csv"))


def test_a_row_with_one_of_two_labels_is_named(tmp_path, capsys):
    from medloss.apps.registration.config import Data
    from medloss.apps.registration.files import read_pairs

    (tmp_path / "pairs.csv").write_text("fixed,moving,fixed_label,moving_label\na,b,c,\na2,b2,c2,d2\n")
    pairs = read_pairs(tmp_path / "pairs.csv", Data(root=tmp_path, labels={}))
    assert pairs[0].fixed_label is None and pairs[1].moving_label is not None
    assert "line 2" in capsys.readouterr().err
