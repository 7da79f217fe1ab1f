"""Several processes that train one network, started by ``torchrun``: who writes, and what they share.

Each process trains on its share of every batch. Gradients are averaged before each update, and losses over a batch sum
their statistics over all processes (``process_group``): the weights are those of one process on the joined batch. Only
the first process writes. With one process everything here does nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import distributed, nn


def started_together() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def local_number() -> int:
    """The number of this process on its machine, from 0: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if started_together() else 0


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Within the block the processes that ``torchrun`` started know each other (by nccl with GPUs, else by gloo)."""
    if not started_together() or _known():
        yield
        return
    import ignite.distributed as idist

    idist.initialize("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        idist.finalize()


def count() -> int:
    """How many processes train together; 1 outside of :func:`joined`."""
    return distributed.get_world_size() if _known() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if _known() else int(os.environ["RANK"]) if started_together() else 0


def number() -> int:
    """The number of this process among those that train together; 0 outside of :func:`joined`."""
    return rank() if count() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and talks."""
    return rank() == 0


def from_main(value: Any) -> Any:
    """The value that the first process has, for all of them; plain data."""
    if count() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def share(cases: int) -> list[int]:
    """The cases of this process: every so many-th."""
    return list(range(cases))[number() :: count()]


def gathered(mine: Sequence[Any], cases: int) -> list[Any]:
    """What each process has for its :func:`share` of the cases, in the order of the cases; plain data."""
    if count() == 1:
        return list(mine)
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, list(mine))
    return [parts[case % count()][case // count()] for case in range(cases)]


def mean(numbers: Mapping[str, float]) -> dict[str, float]:
    """The mean of each number over the processes that have it."""
    if count() == 1:
        return dict(numbers)
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, dict(numbers))
    names = dict.fromkeys(name for part in parts for name in part)
    found = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def same_start(network: nn.Module) -> None:
    """Every process gets the weights of the first. On GPUs batch norm takes its statistics over all of them."""
    if count() == 1:
        return
    if next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for tensor in network.state_dict().values():
        distributed.broadcast(tensor, src=0)


def average_gradients(network: nn.Module) -> None:
    """Every process gets the mean of all gradients, in one message."""
    if count() == 1:
        return
    trained = [each for each in network.parameters() if each.requires_grad]
    # a part that one process did not use has a gradient in another
    flat = torch.cat([(torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in trained])
    distributed.all_reduce(flat)
    parts = (flat / count()).split([each.numel() for each in trained])
    for each, part in zip(trained, parts, strict=True):
        each.grad = part.view_as(each).clone()


def average_statistics(network: nn.Module) -> None:
    """Every process gets the mean of the running statistics of batch norm: one state is measured and kept."""
    if count() == 1:
        return
    for tensor in network.buffers():
        if tensor.is_floating_point():
            distributed.all_reduce(tensor)
            tensor /= count()


def share_statistics(loss: nn.Module) -> None:
    """Losses that sum over the batch sum over the batches of all processes, too."""
    if count() == 1:
        return
    part: Any
    for part in loss.modules():
        if getattr(part, "process_group", "absent") is None:
            with contextlib.suppress(ValueError):  # it sums nothing over the batch: the mean of the processes is right
                part.process_group = "world"


def _known() -> bool:
    return distributed.is_available() and distributed.is_initialized()
