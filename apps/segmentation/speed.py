"""How long a training step takes on this machine, measured: what decides how large a planned network is."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from medloss.apps.common.compute import pick_device, placed
from medloss.apps.segmentation.config import Network
from medloss.apps.segmentation.network import build_network

TIMED = 2  # steps after the first, which allocates and compiles
LONG = 8.0  # seconds after which one step has told enough


def seconds_of_step(
    network: Network, outputs: int, inputs: int, patch: Sequence[int], batch: int, device: str, threads: int | None
) -> float:
    """Seconds on the clock of a step of the network, forward and backward: the shortest of a few.

    Losses, augmentation and the optimizer are not in it; they take a few hundredths of it. No random number is drawn
    from the generators of the training.
    """
    where = pick_device(device, threads)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        model = placed(build_network(network, outputs, inputs), where).train()
        volume = torch.randn(batch, inputs, *patch).to(where)
    shortest = float("inf")
    for number in range(1 + TIMED):
        started = time.perf_counter()
        found = model(volume)
        levels = found if isinstance(found, (list, tuple)) else [found]
        sum(level.square().mean() for level in levels).backward()
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        taken = time.perf_counter() - started
        if number or taken > LONG:
            shortest = min(shortest, taken)
        if taken > LONG:
            break
    return shortest
