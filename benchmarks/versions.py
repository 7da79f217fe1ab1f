"""Our own losses in two versions of this repository, in turn: what a change costs or gives.

    python benchmarks/versions.py ../before . dice_ce dice --rounds 15 --threads 1

Each version is a checkout that ``make check`` has set up, and runs in a process of its own: its Python, its rows, its
library. Both processes stay; each round gives either a turn, and the first of a round changes from round to round.
Printed are the medians of one forward and backward, in milliseconds of processor time, and their ratio. Rows that one
of the versions does not know are left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from pathlib import Path

SERVE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from contestants import step, tensors
from rows import BY_NAME
torch.set_num_threads(int(sys.argv[1]))
print(json.dumps(sorted(BY_NAME)), flush=True)
name, loss, inputs = None, None, None
for line in sys.stdin:
    wanted = line.strip()
    if wanted != name:
        name, inputs = wanted, None
        loss, inputs = BY_NAME[name].ours(), tensors(BY_NAME[name])
    step(loss, inputs)
    taken, began = [], time.perf_counter()
    while len(taken) < 20 and (not taken or time.perf_counter() - began < 0.3):
        start = time.process_time()
        step(loss, inputs)
        taken.append(time.process_time() - start)
    print(json.dumps(taken), flush=True)
"""


class Version:
    """A process in which the losses of one checkout run."""

    def __init__(self, tree: Path, threads: int) -> None:
        command = [str(tree.resolve() / ".venv/bin/python"), "-c", SERVE, str(threads)]
        self.process = subprocess.Popen(
            command, cwd=tree / "benchmarks", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.rows: list[str] = self.answer()

    def answer(self) -> list:
        """The next line that the process writes."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process {self.process.args[0]} ended: see its message above")  # type: ignore[index]
        return json.loads(line)

    def measure(self, row: str) -> list[float]:
        """Processor seconds of some steps."""
        assert self.process.stdin is not None
        self.process.stdin.write(row + "\n")
        self.process.stdin.flush()
        return self.answer()


def compare(versions: list[Version], row: str, rounds: int) -> list[float]:
    """The medians of a row, in milliseconds, of either version."""
    taken: list[list[float]] = [[] for _ in versions]
    for n in range(rounds):
        for at in (0, 1) if n % 2 == 0 else (1, 0):
            taken[at] += versions[at].measure(row)
    return [1e3 * statistics.median(each) for each in taken]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("rows", nargs="*", help="rows to measure, all without any")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    versions = [Version(tree, given.threads) for tree in (given.before, given.after)]
    known = [row for row in versions[1].rows if row in versions[0].rows]
    print("| row | before, ms | after, ms | after / before |\n|---|---|---|---|", flush=True)
    for row in [row for row in given.rows if row in known] or known:
        before, after = compare(versions, row, given.rounds)
        print(f"| {row} | {before:.3g} | {after:.3g} | {after / before:.2f} |", flush=True)


if __name__ == "__main__":
    main()
