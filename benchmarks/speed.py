"""Time of one forward and backward, ours and the peers' in turn in one process: ``python benchmarks/speed.py``.

Machines are noisy: every round gives each contestant a turn, and the table holds minimum and median of their calls,
wall clock and processor time. Ratios are of the medians. A turn is one call that does not count and then up to five
that do, as many as half a second takes: the first finds the memory that the contestant before gave back, which a
virtual machine may have returned to its host, and pays to fetch it again (up to 250 ms for 117 MB where 10 ms are
usual). A training step meets its own memory of the step before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import machine
import torch
from contestants import Row, floor, step, tensors
from rows import BY_NAME, ROWS

RESULTS = Path(__file__).resolve().parent / "results"


def clocked(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def contestants(row: Row) -> dict[str, Callable[..., torch.Tensor]]:
    """The losses of a row; a peer that is not installed is left out."""
    found = {"medloss": row.ours()}
    for name, make in row.peers.items():
        try:
            found[name] = make()
        except ImportError:
            continue
    return found


def measure(row: Row, rounds: int, dtype: torch.dtype, device: str, longest: float = 60.0) -> dict[str, object]:
    """The times of every contestant. Rounds of more than ``longest`` seconds in all are fewer, at least 3."""
    inputs = [tensor.to(device) for tensor in tensors(row, dtype)]
    calls = {name: (lambda loss=loss: step(loss, inputs)) for name, loss in contestants(row).items()}
    calls["floor"] = lambda: floor(inputs)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for name, call in list(calls.items()):
        try:
            repeat = max(1, round(0.01 / max(clocked(call)[0], 1e-6)))  # warm, and short calls in groups
        except NotImplementedError:  # a peer may lack the dtype
            del calls[name], times[name]
            continue
        calls[name] = lambda call=call, repeat=repeat: [call() for _ in range(repeat)]
        times[name] = [(0.0, float(repeat))]
    repeats = {name: taken.pop()[1] for name, taken in times.items()}
    once = 2 * sum(clocked(call)[0] for call in calls.values())
    for _ in range(max(3, min(rounds, int(longest / once)))):
        for name, call in calls.items():
            for _ in range(max(1, min(5, int(0.5 / clocked(call)[0])))):
                wall, cpu = clocked(call)
                times[name].append((wall / repeats[name], cpu / repeats[name]))
    return {name: summary(taken) for name, taken in times.items()}


def summary(taken: list[tuple[float, float]]) -> dict[str, float]:
    """Milliseconds."""
    wall, cpu = zip(*taken)
    return {
        "min_ms": 1e3 * min(wall),
        "median_ms": 1e3 * statistics.median(wall),
        "cpu_median_ms": 1e3 * statistics.median(cpu),
    }


def main() -> None:
    """Measure, print, and write JSON with the machine described."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *BY_NAME], help="rows to measure, all without any")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds of a row, for at least three rounds")
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.json")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    report = {"machine": machine.describe(), "dtype": given.dtype, "rounds": given.rounds, "rows": {}}
    if given.rows and given.out.is_file():  # measured again: the other rows stay
        report["rows"] = json.loads(given.out.read_text())["rows"]
    for row in [BY_NAME[name] for name in given.rows] or ROWS:
        result = measure(row, given.rounds, getattr(torch, given.dtype), given.device, given.longest)
        report["rows"][row.name] = result
        ours = result["medloss"]["median_ms"]
        told = [
            f"{name} {taken['median_ms']:.1f} ms ({taken['median_ms'] / ours:.1f}x)" for name, taken in result.items()
        ]
        print(f"{row.name:24s} " + ", ".join(told), flush=True)
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
