"""Files are whole or absent; run folders are never overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder, atomic_write, read_csv, remove_abandoned, write_csv, write_json


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        assert temporary.parent.parent == tmp_path and temporary.name.endswith(".nii.gz")
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_replaces_on_success(tmp_path):
    with atomic_write(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "new" / "a.txt").read_text() == "new"
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_what_a_killed_process_left_is_removed_and_no_more(tmp_path):
    """Another process that runs, or that of another machine, may still be writing."""
    with atomic_write(tmp_path / "case" / "a.txt") as mine:
        own, number = mine.parent.name.split("-"), str(os.getpid())
        assert number in own
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        left = mine.parent.with_name("-".join(str(dead.pid) if part == number else part for part in own))
        elsewhere = mine.parent.with_name(f".medloss-unfinished-othernode-{dead.pid}-x")
        for folder in (left, elsewhere):
            folder.mkdir()
            (folder / "b.txt").write_text("half")
        remove_abandoned(tmp_path)
        assert not left.exists() and elsewhere.exists() and mine.parent.exists()
        mine.write_text("whole")


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": (1, float("inf")), "c": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1, None], "c": str(tmp_path)}


def test_csv_round_trip_with_differing_columns(tmp_path):
    write_csv(tmp_path / "a.csv", [{"a": 1}, {"a": 2, "b": 3}])
    assert read_csv(tmp_path / "a.csv") == [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]


def test_run_folder_is_never_overwritten(tmp_path):
    first = RunFolder.create(tmp_path / "run", "a: 1\n", fact=3)
    second = RunFolder.create(tmp_path / "run", "a: 2\n")
    assert second.path == tmp_path / "run-2"
    assert first.config.read_text() == "a: 1\n"
    environment = json.loads((first.path / "environment.json").read_text())
    assert environment["fact"] == 3 and environment["packages"]["torch"]


def test_open_only_run_folders(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(UserError, match="not a run folder"):
        RunFolder.open(tmp_path)


def test_best_goes_by_the_books(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    run.checkpoints.mkdir()
    for name in ("b.pt", "a.pt"):
        (run.checkpoints / name).touch()
    assert run.best() is None
    write_json(run.path / "best.json", ["gone.pt", "b.pt", "a.pt"])
    assert run.best().name == "b.pt"


def test_log_is_appended(tmp_path, capsys):
    run = RunFolder.create(tmp_path / "run")
    run.log("one")
    run.log("two")
    lines = (run.path / "log.txt").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["one", "two"]
