"""A training of both applications by two processes, with what ``torchrun`` tells them: they find it by its name."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
from forked import context

from medloss.apps.common.processes import joined


def train_here(number: int, port: int, folder: str) -> None:
    """What ``torchrun`` starts, in a forked process; what it prints goes into a file."""
    from medloss.apps.cli import main
    from medloss.apps.common.history import History
    from medloss.apps.registration.validation import Validator

    os.chdir(folder)
    printed = os.open(f"told-{number}", os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(printed, stream)
    os.environ.update(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), CUDA_VISIBLE_DEVICES="")
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number))
    torch.set_num_threads(1)
    History._draw = Validator.draw = lambda self: None  # pictures take longer than this training
    with joined():
        for command in ("register", "segment"):
            given = [command, "train", f"{command}.yaml", "-o", f"{command}-two", "-q"]
            for more in (["train.epochs=1"], ["--resume"]):
                try:
                    main([*given, *more])
                except SystemExit as end:
                    assert not end.code, end.code


def train_in_two(folder: Path) -> list[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    started = [context().Process(target=train_here, args=(number, port, str(folder))) for number in range(2)]
    for each in started:
        each.start()
    for each in started:
        each.join(900)
    told = [(folder / f"told-{number}").read_text() for number in range(2)]
    assert [each.exitcode for each in started] == [0, 0], "\n".join(told)
    return told
