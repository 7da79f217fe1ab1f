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
    "hippocampus": "Hippocampus, MR crops of unlike people, 64 x 64 x 64, 2 labels",
    "painted": "Brain, anatomies of SynthSeg painted like T1, about 80 x 100 x 95, 30 labels",
    "brain": "Brain, OASIS at half resolution, 80 x 96 x 72, 2 crude labels",
    "lung": "Lung CT, one volume warped twice by known maps of unlike poses, 80 x 80 x 64, both lungs",
    "cord": "Spinal cord, T1 warped by a known map to T2 of the same person, 52 x 60 x 55, the cord",
}
METHODS = {
    "medloss": "`register pair`, defaults",
    "medloss_dvf": "the same, a velocity field, one direction, no search",
    "medloss_mind": "`register pair loss.image={mind_ssc: {}}`",
    "medloss_mi": "`register pair loss.image={global_mutual_information: {}}`",
    "ants_syn": "ANTs SyN (antspyx)",
    "ants_syncc": "ANTs SyNCC (antspyx)",
    "fireants": "FireANTs, affine and greedy",
}
HEAD = """<!-- written by benchmarks/registration/table.py; do not edit -->

# Registration of pairs beside its peers

One setting for each method and for all sets, none chosen by pair; where settings were chosen, it was on other pairs
(`--part tune`) than those of this table (`--part report`, see `benchmarks/registration/pairs.py`). Each method was
given the same two arrays and voxel sizes, and one thread. Dice is the mean over all labels, read by nearest neighbour
through the displacement; folding is the share of voxels whose Jacobian determinant, by central differences, is not
above 0; TRE is the mean distance in mm inside the lungs, known for phantoms alone.

**Seconds are processor seconds** of the registration alone (imports and files left out), on a virtual machine with two
cores that other work shared at the time: a busy neighbour makes them longer, by up to a half. Compare them within a set
and not to the second. Dice, folding and memory do not depend on that.

"""


def rows() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The last row of each pair and method, by set and method."""
    last = {}
    for line in ROWS.read_text().splitlines():
        row = json.loads(line)
        last[row["pair"], row["method"]] = row
    found = defaultdict(list)
    for row in last.values():
        found[row["pair"].rsplit("_", 1)[0], row["method"]].append(row)
    return found


def table(name: str, found: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """The table of a set: a row for each method, the best Dice first."""
    mine = {method: each for (of, method), each in found.items() if of == name}
    shared = set.intersection(*({row["pair"] for row in each} for each in mine.values()))
    mine = {method: [row for row in each if row["pair"] in shared] for method, each in mine.items()}

    def mean(each: list[dict[str, Any]], key: str) -> float:
        return statistics.mean(row[key] for row in each)

    count, before = (len(next(iter(mine.values()))), mean(next(iter(mine.values())), "dice_before"))
    known = all("tre_mm" in row for each in mine.values() for row in each)
    lines = [f"## {SETS[name]}", "", f"{count} pair{'s' * (count > 1)}, Dice before {before:.3f}.", ""]
    lines.append("| method | Dice | worst pair | folding % |" + " TRE mm |" * known + " processor s | peak GiB |")
    lines.append("|---|---|---|---|" + "---|" * known + "---|---|")
    for method, each in sorted(mine.items(), key=lambda item: -mean(item[1], "dice")):
        worst = min(row["dice"] for row in each)
        tre = f" {mean(each, 'tre_mm'):.2f} |" if known else ""
        lines.append(
            f"| {METHODS[method]} | **{mean(each, 'dice'):.3f}** | {worst:.3f} | {mean(each, 'folding'):.4f} |{tre} "
            f"{mean(each, 'processor_seconds'):.1f} | {mean(each, 'peak_gib'):.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    found = rows()
    there = [name for name in SETS if any(of == name for of, _ in found)]
    absent = [METHODS[method] for method in METHODS if not any(of == method for _, of in found)]
    told = f"Known to the benchmark, and not in these rows: {'; '.join(absent)}.\n\n" if absent else ""
    PAGE.write_text(HEAD + told + "\n".join(table(name, found) for name in there))


if __name__ == "__main__":
    main()
