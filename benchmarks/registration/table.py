"""Writes docs/registration.md from the rows of run.py: python benchmarks/registration/table.py"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "benchmarks" / "results" / "registration.jsonl"
PAGE = ROOT / "docs" / "registration.md"
SETS = {
    "hippocampus": "Hippocampus, MR crops of different people, 64 x 64 x 64, 2 labels",
    "painted": "Brain, anatomies of SynthSeg painted like T1, about 80 x 100 x 95, 30 labels",
    "brain": "Brain, OASIS at half resolution, 80 x 96 x 72, 2 crude labels",
    "full": "Brain, OASIS at full resolution, 160 x 192 x 144, 2 crude labels",
    "lung": "Lung CT, one volume warped twice by two different known maps, 80 x 80 x 64, both lungs",
    "cord": "Spinal cord, T1 warped by a known map to T2 of the same person, 52 x 60 x 55, the cord",
}
METHODS = {
    "medloss": "`register pair`, defaults",
    "medloss_dvf": "`register pair` with a velocity field, one direction and no search",
    "medloss_mind": "`register pair loss.image={mind_ssc: {}}`",
    "medloss_mi": "`register pair loss.image={global_mutual_information: {}}`",
    "ants_syn": "ANTs SyN (antspyx)",
    "ants_syncc": "ANTs SyNCC (antspyx)",
    "fireants": "FireANTs, affine and greedy",
}
HEAD = """<!-- written by benchmarks/registration/table.py; do not edit -->

# Registration of pairs, compared with other tools

Each method has one setting for all sets and all pairs. Settings were chosen on other pairs (`--part tune`) than those
of these tables (`--part report`, see `benchmarks/registration/pairs.py`). Each method got the same two arrays and voxel
sizes, and two threads.

* **Dice** is the mean over all labels; the labels were moved with nearest-neighbour interpolation.
* **Folding** is the percentage of voxels whose Jacobian determinant (central differences) is 0 or less.
* **TRE** is the mean error of the displacement in mm inside the lungs. It is known for phantoms only.
* **Seconds** are those of the registration, without imports and files, on a virtual machine with two cores (AMD EPYC,
  AVX-512). During the runs of `register pair` and ANTs SyN, on one day, the machine had no other work. *Busy*: while
  another process took one of the two cores, on two pairs. The other methods ran beside other work and on other days, so
  only their processor seconds can be compared.

ANTs' numbers differ from run to run: a little, and on the spinal cord much. There its mean Dice was 0.644, 0.676,
0.688, 0.858 and 0.858 in five runs, 0.745 on average; the table has the last one. ANTs SyNCC takes half an hour of a
core for one pair of the lung, so it ran on few pairs.

"""
Rows = dict[tuple[str, str], list[dict[str, Any]]]
ALONE = ("medloss", "medloss_mi", "medloss_mind", "ants_syn")
"""What was timed with nothing beside it."""


def rows(busy: bool) -> Rows:
    """The last row of each pair and method, by set and method, ``busy`` or alone."""
    last = {}
    for line in ROWS.read_text().splitlines():
        row = json.loads(line)
        if row["busy"] == busy:
            last[row["pair"], row["method"]] = row
    found = defaultdict(list)
    for row in last.values():
        found[row["pair"].rsplit("_", 1)[0], row["method"]].append(row)
    return found


def mean(each: list[dict[str, Any]], key: str) -> float:
    """Of one number of all rows."""
    return statistics.mean(row[key] for row in each)


def table(name: str, found: Rows, busy: Rows) -> str:
    """The table of a set: a row for each method that registered all pairs, the best Dice first; then the others."""
    mine = {method: each for (of, method), each in found.items() if of == name}
    count = max(map(len, mine.values()))
    whole = {method: each for method, each in mine.items() if len(each) == count}
    known = all("tre_mm" in row for each in whole.values() for row in each)
    before = mean(next(iter(whole.values())), "dice_before")
    lines = [f"## {SETS[name]}", "", f"{count} pair{'s' * (count > 1)}, Dice before {before:.3f}.", ""]
    lines.append(
        "| method | Dice | worst pair | folding % |"
        + " TRE mm |" * known
        + " seconds | busy | processor s | peak GiB |"
    )
    lines.append("|---|---|---|---|" + "---|" * known + "---|---|---|---|")
    for method, each in sorted(whole.items(), key=lambda item: -mean(item[1], "dice")):
        tre = f" {mean(each, 'tre_mm'):.2f} |" if known else ""
        seconds = f"{mean(each, 'seconds'):.1f}" if method in ALONE else ""
        beside = f"{mean(busy[name, method], 'seconds'):.1f}" if (name, method) in busy else ""
        lines.append(
            f"| {METHODS[method]} | **{mean(each, 'dice'):.3f}** | {min(row['dice'] for row in each):.3f} "
            f"| {mean(each, 'folding'):.4f} |{tre} {seconds} | {beside} "
            f"| {mean(each, 'processor_seconds'):.1f} | {mean(each, 'peak_gib'):.2f} |"
        )
    lines += [of_some(method, each, whole["medloss"]) for method, each in mine.items() if method not in whole]
    return "\n".join(lines) + "\n"


def of_some(method: str, each: list[dict[str, Any]], ours: list[dict[str, Any]]) -> str:
    """A sentence on a method that registered a part of the pairs, beside ours on the same."""
    names = {row["pair"] for row in each}
    same = [row for row in ours if row["pair"] in names]
    return (
        f"\n{METHODS[method]}, on {len(each)} of the pairs: Dice {mean(each, 'dice'):.3f}, folding "
        f"{mean(each, 'folding'):.4f} %, {mean(each, 'processor_seconds'):.1f} processor s; `register pair` on the "
        f"same pairs: {mean(same, 'dice'):.3f}."
    )


def main() -> None:
    """Write the page."""
    found, busy = rows(False), rows(True)
    there = [name for name in SETS if any(of == name for of, _ in found)]
    absent = [METHODS[method] for method in METHODS if not any(of == method for _, of in found)]
    told = f"The benchmark can also run: {'; '.join(absent)}.\n\n" if absent else ""
    PAGE.write_text(HEAD + told + "\n".join(table(name, found, busy) for name in there))


if __name__ == "__main__":
    main()
