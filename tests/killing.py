"""Commands that are killed, as by ``kill -9`` or a machine that goes down; and what may stand on the disk after that.

A command runs in a process that is forked from one with all imports done, so that it takes a second and no more.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from forked import context

from medloss.apps.common.checkpoints import load_checkpoint
from medloss.apps.common.output import UNFINISHED

KILLED = -9
APPENDED = ("log.txt", "events.out")
"""Beginnings of the names of files to which lines are added, and the last one may be cut short."""

TIMES = ("seconds", "peak", "pace")
"""Beginnings of the keys of what is another in each run."""


class Ended(NamedTuple):
    """How a command ended: its exit code (``KILLED``), its seconds, and what it printed."""

    code: int
    seconds: float
    told: str


def _command(arguments: list[str], log: str) -> None:
    from medloss.apps.cli import main

    stream = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(stream, number)
    torch.set_num_threads(1)
    main(arguments)


def run(arguments: list[Any], log: Path, seconds: float | None = None) -> Ended:
    """Run a command of ``medloss`` in a process of its own, which is killed after some seconds."""
    process = context().Process(target=_command, args=([str(each) for each in arguments], str(log)))
    started = time.monotonic()
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    told = log.read_text() if log.exists() else ""
    return Ended(process.exitcode, time.monotonic() - started, told)


def killed(arguments: list[Any], log: Path, longest: float, random: Random) -> bool:
    """Run a command that is killed at a random moment of ``longest`` seconds; whether it was, or had ended well."""
    ended = run(arguments, log, random.uniform(0.02, 1.0) * longest)
    assert ended.code in (KILLED, 0), ended
    return ended.code == KILLED


def assert_whole(folder: Path) -> None:
    """Every file below the folder is whole, but for those in folders that are named unfinished."""
    for path in sorted(folder.rglob("*")):
        unfinished = any(part.startswith(UNFINISHED) for part in path.relative_to(folder).parts)
        if path.is_dir() or unfinished or path.name.startswith(APPENDED):
            continue
        try:
            _read(path)
        except Exception as error:
            raise AssertionError(f"{path} is half written: {error!r}") from error


def _read(path: Path) -> Any:
    """What a file says, without the times of its run."""
    if path.suffix == ".pt":
        return _without_times(load_checkpoint(path))
    if path.name.endswith(".nii.gz"):
        return gzip.decompress(path.read_bytes())  # checks the sum at its end
    if path.suffix == ".png":
        import matplotlib.image

        return matplotlib.image.imread(path)
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n"), "it is empty or has no end"
    if path.suffix == ".json":
        return _without_times(json.loads(text))
    return _without_times(list(csv.DictReader(text.splitlines()))) if path.suffix == ".csv" else text


def _without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _without_times(value) for key, value in found.items() if not str(key).startswith(TIMES)}
    return [_without_times(each) for each in found] if isinstance(found, list) else found


def assert_equal_folders(found: Path, expected: Path) -> None:
    """Both folders hold the same files with the same content, but for times, logs, and what describes the machine."""
    assert sorted(names_of(found)) == sorted(names_of(expected)), set(names_of(found)) ^ set(names_of(expected))
    for name in names_of(expected):
        if not name.endswith((".png", ".html", "environment.json")):  # pictures and pages show times
            assert same(_read(found / name), _read(expected / name)), name


def names_of(folder: Path) -> list[str]:
    """All files below a folder, but logs. Of the previews the last: it depends on the clock which others are drawn."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(APPENDED))
    previews = [path for path in files if path.parent.name == "previews"]
    return [str(path.relative_to(folder)) for path in files if path not in previews[:-1]]


def same(found: Any, expected: Any) -> bool:
    """Whether two nested things are equal, tensors and arrays included; two NaN are."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, (np.ndarray, torch.Tensor)):
        return np.array_equal(np.asarray(found), np.asarray(expected), equal_nan=np.asarray(expected).dtype.kind == "f")
    return found == expected or (found != found and expected != expected)
