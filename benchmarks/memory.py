"""Peak memory of one forward and backward, each contestant in a fresh process: ``python benchmarks/memory.py``.

Told in units of the first tensor, beyond the inputs: 1.0 is the gradient and nothing else. The resident set's
high-water mark is reset before the measured step (Linux), after a step on tiny volumes has loaded everything; every
block above 64 KiB comes from the system and goes back there, so that no kept heap hides a map. ``--device cuda`` asks
torch's allocator instead, which knows to the byte.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gpu
import torch
from contestants import Row, step, tensors
from rows import BY_NAME
from speed import begun, contestants, results, rows_of

from medloss.apps.losses.measure import HEAP, peak


def measure_here(name: str, who: str) -> float:
    """The peak of one step in this process, in units of the first tensor."""
    warnings.simplefilter("ignore")
    row = BY_NAME[name]
    loss = row.ours() if who == "medloss" else row.peers[who]()
    small = tensors(replace(row, shape=tuple(min(size, row.warm) for size in row.shape)))
    return peak(loss, small, tensors(row))


def peaks_here(row: Row, dtype: torch.dtype, device: str) -> dict[str, float]:
    """The peak of one step of each contestant, by the GPU's allocator: a process for all of them will do.

    On the CPU, where this is rehearsed, every step runs and 0 stands for its peak.
    """
    found, inputs = {}, tensors(row, dtype, device=device)
    unit = inputs[0].numel() * inputs[0].element_size()
    count = gpu.peak if device == "cuda" else _run
    for name, loss in contestants(row, device).items():
        try:
            found[name] = count(lambda loss=loss: step(loss, inputs)) / unit
        except Exception as error:
            print(f"{row.name}, {name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    return found


def _run(call: Callable[[], object]) -> int:
    call()
    return 0


def peaks_in_processes(row: Row) -> dict[str, float]:
    """The peak of each contestant, in a fresh process each."""
    found = {}
    for who in ("medloss", *row.peers):
        done = subprocess.run(
            [sys.executable, __file__, "--one", row.name, who],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | HEAP,
        )
        if done.returncode == 0:
            found[who] = float(done.stdout.split()[-1])
        elif "ModuleNotFoundError" not in done.stderr:
            print(done.stderr[-300:], file=sys.stderr)
    return found


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "WHO"), help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="on a GPU")
    parser.add_argument("--edge", type=int, help="rehearse the rows of a GPU on the CPU, at most so many voxels wide")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.one:
        print(measure_here(*given.one))
        return
    known, half = rows_of(given.device, given.edge), "" if given.dtype == "float32" else given.dtype
    given.out = given.out or results("memory", given.device, half)
    report = begun(given, dtype=given.dtype)
    for name in given.rows or known:
        if given.device == "cuda" or given.edge:
            peaks = peaks_here(known[name], getattr(torch, given.dtype), given.device)
        else:
            peaks = peaks_in_processes(known[name])
        report["rows"][name] = peaks
        given.out.write_text(json.dumps(report, indent=1) + "\n")
        print(f"{name:24s} " + ", ".join(f"{who} {peak:.2f}" for who, peak in peaks.items()), flush=True)


if __name__ == "__main__":
    main()
