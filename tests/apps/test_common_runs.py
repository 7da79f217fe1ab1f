"""Killed anywhere, a run resumes to the same; damaged checkpoints are told; folders are not shared."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from small_trainings import equal, make

from medloss.apps.common.checkpoints import load_checkpoint
from medloss.apps.common.compute import pick_device
from medloss.apps.common.engine import Validation
from medloss.apps.common.errors import UserError, fault_of_the_input
from medloss.apps.common.interrupt import interruptible
from medloss.apps.common.origin import FILE, check_origin, describe_origin
from medloss.apps.common.output import UNFINISHED, RunFolder, atomic_write, opened_first, read_csv, write_json

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr("medloss.apps.common.history.History._draw", lambda self: None)


def validation(keep=2):
    """A measure that depends on the weights alone, lower is better."""

    def build(network):
        return Validation(
            lambda: {"tre": float(sum(p.abs().sum() for p in network[0].parameters()))},
            "tre",
            higher_is_better=False,
            keep=keep,
        )

    return build


def trainer_of(run, epochs):
    network: list[torch.nn.Module] = []
    measure = Validation(lambda: validation()(network[0]).measure(), "tre", higher_is_better=False, keep=2)
    trainer, found = make(run, epochs, validation=measure)
    network.append(found)
    return trainer, found


def state_of(run):
    """Everything that a run says of itself, times apart."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_csv(run.path / "history.csv")]
    files = sorted(file.name for file in run.checkpoints.iterdir())
    return rows, files, (run.path / "best.json").read_text(), run.best().name


def killed_at(run, epochs, write):
    """Train in a child process that dies, as by SIGKILL, at its ``write``-th finished file; whether it died."""
    child = os.fork()
    if child == 0:
        counter, replace = itertools.count(1), os.replace

        def dying(source, target):
            if next(counter) == write:
                os._exit(9)
            replace(source, target)

        os.replace = dying
        try:
            trainer, _ = trainer_of(run, epochs)
            trainer.run()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_any_write_resumes_to_the_undisturbed_one(tmp_path):
    whole = RunFolder.create(tmp_path / "whole")
    trainer, expected = trainer_of(whole, 3)
    trainer.run()
    died = 0
    for write in range(2, 40):
        run = RunFolder.create(tmp_path / f"killed{write}")
        if not killed_at(run, 3, write):
            break
        died += 1
        resumed, network = trainer_of(run, 3)
        if (run.checkpoints / "last.pt").is_file():
            resumed.resume()
        resumed.run()
        assert equal(network, expected), write
        assert state_of(run) == state_of(whole), write
        assert not list(run.path.rglob(f"{UNFINISHED}*")), write
    assert died > 8


def test_best_means_best_where_lower_is_better_and_several_are_kept(tmp_path):
    scores = iter([3.0, 1.00001, 2.0, 1.00002])
    run = RunFolder.create(tmp_path / "run")
    make(run, 4, validation=Validation(lambda: {"tre": next(scores)}, "tre", higher_is_better=False, keep=3))[0].run()
    assert torch.load(run.best(), weights_only=True)["epoch"] == 2
    kept = [torch.load(file, weights_only=True)["epoch"] for file in run.checkpoints.glob("best_*")]
    assert sorted(kept) == [2, 3, 4]  # two that read the same are two files


def test_a_damaged_checkpoint_is_told_or_holds_the_same(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    make(run, 1)[0].run()
    path = run.checkpoints / "last.pt"
    raw, whole, random = path.read_bytes(), load_checkpoint(path), np.random.default_rng(0)
    refused = 0
    for number in range(150):
        damaged = bytearray(raw)
        damaged[random.integers(len(raw))] ^= 1 << random.integers(8)
        path.write_bytes(damaged if number else raw[: len(raw) // 2])
        try:
            found = load_checkpoint(path)
        except UserError as error:
            refused += 1
            assert "last.pt" in str(error) and "\n" not in str(error)
        else:
            assert all(torch.equal(found["network"][key], whole["network"][key]) for key in whole["network"])
            assert found["history"] == whole["history"]
    assert refused > 50


@pytest.mark.parametrize("content", [b"", b"text", {"weights": 1}, [1, 2], {"network": torch.nn.Linear(2, 2)}])
def test_foreign_checkpoints(tmp_path, content):
    path = tmp_path / "last.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=r"last\.pt"):
        load_checkpoint(path)


# --- folders ------------------------------------------------------------------------------------------------------
def test_two_processes_never_share_a_new_folder(tmp_path):
    (tmp_path / "run").mkdir()  # an empty folder may be used, by one
    found, start = [], threading.Barrier(8)

    def create():
        start.wait()
        found.append(RunFolder.create(tmp_path / "run").path)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8


def test_a_folder_that_nothing_was_written_to_goes_again(tmp_path):
    with pytest.raises(ZeroDivisionError), opened_first(RunFolder.create(tmp_path / "run")):
        raise ZeroDivisionError
    assert not (tmp_path / "run").exists()
    with pytest.raises(ZeroDivisionError), opened_first(RunFolder.create(tmp_path / "run")) as run:
        (run.path / "result").touch()
        raise ZeroDivisionError
    assert (tmp_path / "run" / "result").exists()


def test_a_dot_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path / "work")
    assert RunFolder.create(".").path == tmp_path / "work-2"


def test_a_full_disk_leaves_nothing_half_done(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "x.bin") as temporary:
        temporary.write_bytes(b"1")
    assert list(tmp_path.iterdir()) == []
    assert "No space left on device" in fault_of_the_input(caught.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b"),
        (OSError(36, "File name too long", "x" * 300), "File name too long"),
        (MemoryError("Unable to allocate 70 GiB"), "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: not enough memory: you"), "memory"),
        (UserError("so"), "so"),
        (ZeroDivisionError(), None),
    ],
)
def test_what_is_told_of_errors(error, told):
    found = fault_of_the_input(error)
    assert found is None if told is None else told in found and "\n" not in found


# --- what a run is made of ----------------------------------------------------------------------------------------
def origin(tmp_path, valid=("c",), **settings):
    files = {name: [tmp_path / name] for name in "abc"}
    for paths in files.values():
        if not paths[0].exists():
            paths[0].write_text(paths[0].name)
    config = {"loss": {"dice": {"weight": 1.0}}, "data": {"labels": {"x": 1}, "root": "r"}, "train": {"epochs": 1}}
    config = {key: {**value, **settings.get(key, {})} for key, value in config.items()}
    parts = {"train": [name for name in "abc" if name not in valid], "valid": list(valid)}
    return describe_origin(config, files, parts)


def test_resuming_compares_what_the_run_was_made_of(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    write_json(run.path / FILE, origin(tmp_path))
    assert check_origin(run, origin(tmp_path), False) == []
    free = origin(tmp_path, train={"epochs": 9, "workers": 2}, data={"root": "elsewhere"})
    free["settings"].pop("train.workers", None)
    assert check_origin(run, free, False) == []
    changes = {
        "loss.dice.weight": origin(tmp_path, loss={"dice": {"weight": 2.0}}),
        "data.labels.x": origin(tmp_path, data={"labels": {"x": 2}}),
        "case a: train then, valid now": origin(tmp_path, valid=("a", "c")),
    }
    (tmp_path / "b").write_text("other")
    changes["the files of case b have changed"] = origin(tmp_path)
    for told, now in changes.items():
        with pytest.raises(UserError, match=told):
            check_origin(run, now, False)
        assert any(told in line for line in check_origin(run, now, True))


# --- ends ---------------------------------------------------------------------------------------------------------
STOPPED = """
import signal, sys, time
from medloss.apps.common.interrupt import interruptible
with interruptible("it is kept"):
    print("ready", flush=True)
    time.sleep(30)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_with_one_line_and_its_code(number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == code
    assert told == "stopped: it is kept\n"


def test_signals_are_handed_back():
    before = signal.getsignal(signal.SIGTERM)
    with interruptible("x"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(UserError, match=f"device {name} was asked for"):
        pick_device(name)
