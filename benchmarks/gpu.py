"""Clock, memory and bandwidth of a GPU. Work there is not done when a call returns: events on its stream tell when."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable

import torch

COPIED = 2**31
"""Bytes that are copied to find the bandwidth: far more than any cache holds."""


def clocked(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds between two events around a call, which is waited for, and processor seconds until it has returned."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    cpu = time.process_time()
    start.record()
    run()
    end.record()
    cpu = time.process_time() - cpu  # before the wait, which keeps the processor busy
    end.synchronize()
    return start.elapsed_time(end) / 1e3, cpu


def peak(run: Callable[[], object]) -> int:
    """Most bytes that a call has beyond those that are there when it begins. It is called once before, to load all."""
    run()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = run()
    torch.cuda.synchronize()
    found = torch.cuda.max_memory_allocated() - before
    del kept
    return found


def bandwidth(count: int = 20) -> float:
    """Bytes read and written per second by a large copy on the device."""
    here = torch.empty(COPIED, dtype=torch.uint8, device="cuda").random_()
    there = torch.empty_like(here)
    times = [clocked(lambda: there.copy_(here))[0] for _ in range(count + 3)]
    return 2 * here.numel() / statistics.median(times[3:])


def least_bytes(inputs: list[torch.Tensor]) -> int:
    """What a loss moves that keeps nothing for the way back: all inputs, twice, and the gradient of the first."""
    sizes = [tensor.numel() * tensor.element_size() for tensor in inputs]
    return 2 * sum(sizes) + sizes[0]


def slug(name: str) -> str:
    """A GPU's name as part of a file's: ``NVIDIA H200`` is ``nvidia-h200``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
