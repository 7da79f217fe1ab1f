"""Where and with how many threads a command computes: the keys ``device`` and ``threads`` of every configuration."""

from __future__ import annotations

from typing import Annotated, Any, cast

import pydantic
import torch

from medloss.apps.common import processes
from medloss.apps.common.errors import UserError

Device = Annotated[str, pydantic.Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
"""``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
Threads = Annotated[int, pydantic.Field(ge=1, le=1024)]
"""Threads of the processor that torch uses."""


def default_device(trained_on: str) -> str:
    """The device of a prediction where none is asked for: a GPU of the training need not be here."""
    return "cpu" if trained_on == "cpu" else "auto"


def pick_device(name: str = "auto", threads: int | None = None) -> torch.device:
    """The device of that name, and torch told its number of threads.

    Raises:
        UserError: this machine has no such device.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and processes.started_together():
        name = f"cuda:{processes.local_number()}"  # one GPU for each process of a machine
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(
                f"device {name} was asked for and torch {torch.__version__} sees {count} CUDA devices; set device=auto "
                "or device=cpu, or install a torch built for this GPU"
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps was asked for and this machine has none; set device=auto or device=cpu")
    return device


def placed(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The network on a device; on a processor channels-last, which takes about a fifth off a step there."""
    moved: Any = network.to(device)
    if device.type == "cpu":
        moved = moved.to(memory_format=torch.channels_last_3d)  # not in the type that torch declares
    return cast(torch.nn.Module, moved)
