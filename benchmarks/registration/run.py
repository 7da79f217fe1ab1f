"""Registration of pairs, ours beside ANTs: Dice, TRE, folding, seconds alone and beside a busy process, peak memory.

    python benchmarks/registration/run.py DATA --method medloss ants_syn --set hippocampus --part report --threads 2

DATA is a folder of volumes as `pairs.py` names them. ANTs comes with ``pip install --target FOLDER antspyx``, FireANTs
with ``pip install --target FOLDER --no-deps fireants SimpleITK``, beside PYTHONPATH=FOLDER. Each pair runs in a process
of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import queue
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from methods import METHODS, register
from pairs import SETS, Case, cases


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """The mean over all labels of either map but 0."""
    labels = np.setdiff1d(np.union1d(one, other), [0])
    both = [(one == label, other == label) for label in labels]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in both]))


def measure(case: Case, ddf: np.ndarray) -> dict[str, float]:
    """Labels and places read through the displacement, and what it does to space."""
    from scipy.ndimage import map_coordinates

    from medloss.apps.common.deformation import folding_percent, jacobian_determinant

    at = np.indices(case.fixed.shape) + ddf
    moved = map_coordinates(case.moving_label, at, order=0, mode="constant")
    jacobian = jacobian_determinant(ddf)
    found = {
        "dice_before": dice(case.moving_label, case.fixed_label),
        "dice": dice(moved, case.fixed_label),
        "folding": folding_percent(jacobian),
        "folding_inside": folding_percent(jacobian, border=1),
    }
    if case.places is not None:
        landed = np.stack([map_coordinates(each, at, order=1, mode="nearest") for each in case.places[1]])
        error = np.linalg.norm(landed - case.places[0], axis=0)
        found["tre_mm"] = float(error[case.fixed_label > 0].mean())
    return found


def _forget_peak() -> None:
    """Linux counts the peak of the process that started this one, too, until it is told to begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_kib() -> int:
    """As medloss.apps.losses.measure reads it, which needs torch: in the process of a peer it would count."""
    with contextlib.suppress(OSError):
        return int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def one(case: Case, method: str, threads: int, answers: Any) -> None:
    """A pair in a process of its own; a small pair first, so that no time is for imports."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command medloss sets it
    middle = tuple(slice(n // 2 - 12, n // 2 + 12) for n in case.fixed.shape)
    if method.startswith("medloss"):
        register(method, case.fixed[middle], case.moving[middle], case.spacing, threads)
    else:
        __import__("ants" if method.startswith("ants") else "fireants.registration.greedy")  # not counted
    _forget_peak()
    begin, processor = time.perf_counter(), time.process_time()
    ddf = register(method, case.fixed, case.moving, case.spacing, threads)
    seconds = {"seconds": time.perf_counter() - begin, "processor_seconds": time.process_time() - processor}
    peak = _peak_kib() / 2**20
    answers.put({"pair": case.name, "method": method, **measure(case, ddf), **seconds, "peak_gib": peak})


def run(case: Case, method: str, threads: int, busy: bool, together: bool) -> dict[str, Any]:
    """One row; with ``busy`` beside a process that takes all of one processor, ``together`` in this process."""
    if together:
        kept: Any = queue.SimpleQueue()
        one(case, method, threads, kept)
        return kept.get() | {"busy": False}
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        process = context.Process(target=one, args=(case, method, threads, answers))
        process.start()
        row = answers.get(timeout=7200)
        process.join()
    finally:
        if load is not None:
            load.kill()
    return row | {"busy": busy}


def main() -> None:
    """Rows as JSON lines, and the means of each set and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--method", nargs="+", choices=METHODS, default=["medloss", "ants_syn"])
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--part", choices=("tune", "report"), default="report")
    parser.add_argument("--pairs", type=int, default=100, help="at most so many of each set")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--busy", action="store_true", help="also beside a busy process")
    parser.add_argument(
        "--together", action="store_true", help="all pairs in one process: peak memory is the largest's"
    )
    parser.add_argument("--out", type=Path, help="a file for the rows, one JSON object per line")
    options = parser.parse_args()
    for name in options.set:
        chosen = list(cases(options.data, name, options.part))[: options.pairs]
        for method in options.method:
            for busy in (False, True)[: 1 + options.busy]:
                rows = []
                for case in chosen:
                    rows.append(run(case, method, options.threads, busy, options.together))
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(rows[-1]) + "\n")
                print(name, method, "beside a busy process" if busy else "alone", *_means(rows), flush=True)


def _means(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{key} {statistics.mean(r[key] for r in rows):.4g}" for key in rows[0] if isinstance(rows[0][key], float)]


if __name__ == "__main__":
    main()
