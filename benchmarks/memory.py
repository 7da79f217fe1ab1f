"""Peak memory of one forward and backward, each contestant in a fresh process: ``python benchmarks/memory.py``.

Told in units of the first tensor, beyond the inputs: 1.0 is the gradient and nothing else. The resident set's
high-water mark is reset before the measured step (Linux), after a step on tiny volumes has loaded everything; every
block above 64 KiB comes from the system and goes back there, so that no kept heap hides a map.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import machine
from contestants import step, tensors
from rows import BY_NAME, ROWS

RESULTS = Path(__file__).resolve().parent / "results"


def status(key: str) -> int:
    """Bytes from the process's status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def measure_here(name: str, who: str) -> float:
    """The peak of one step in this process, in units of the first tensor."""
    warnings.simplefilter("ignore")
    row = BY_NAME[name]
    loss = row.ours() if who == "medloss" else row.peers[who]()
    step(loss, tensors(replace(row, shape=tuple(min(size, row.warm) for size in row.shape))))
    inputs = tensors(row)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again here
    step(loss, inputs)
    return (status("VmHWM") - before) / (inputs[0].numel() * inputs[0].element_size())


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *BY_NAME])
    parser.add_argument("--one", nargs=2, metavar=("ROW", "WHO"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json")
    given = parser.parse_args()
    if given.one:
        print(measure_here(*given.one))
        return
    report = {"machine": machine.describe(), "rows": {}}
    if given.rows and given.out.is_file():  # measured again: the other rows stay
        report["rows"] = json.loads(given.out.read_text())["rows"]
    for row in [BY_NAME[name] for name in given.rows] or ROWS:
        peaks = {}
        for who in ("medloss", *row.peers):
            done = subprocess.run(
                [sys.executable, __file__, "--one", row.name, who],
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
            )
            if done.returncode == 0:
                peaks[who] = float(done.stdout.split()[-1])
            elif "ModuleNotFoundError" not in done.stderr:
                print(done.stderr[-300:], file=sys.stderr)
        report["rows"][row.name] = peaks
        print(f"{row.name:24s} " + ", ".join(f"{who} {peak:.2f}" for who, peak in peaks.items()), flush=True)
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
