"""Instructions of the kernels that bind, from their machine code for sm_90, and what they may be.

The disassembler takes a second a kernel: those of ``BUDGETS`` are counted and no others. docs/gpu.md has the table,
which ``python tests/machine_code.py`` prints.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass

LABEL = re.compile(r"\s*(\.L_x_\d+):")
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9_]*)(.*);")


@dataclass(frozen=True)
class Budget:
    """A kernel of a launch of a test file, and its instructions.

    Attributes:
        file: of tests/ops/triton, without ``test_`` and ``.py``.
        launch: the label in its ``LAUNCHES``.
        kernel: the kernel's name.
        what: what it does, for the table.
        warps: of a program.
        voxels: of a program, or of one turn of the loop that is counted.
        trips: turns of the longest loop for that many voxels, if the rest is to be counted once; 0: the loop alone.
        before: instructions of a warp for a voxel, and registers, before this was counted; None where it was so.
        most: instructions that it may have from now on.
        registers: that it may have.
    """

    file: str
    launch: str
    kernel: str
    what: str
    warps: int
    voxels: int
    trips: int
    before: tuple[float, int] | None
    most: float
    registers: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Of a compiled kernel."""
        return self.file, self.launch, self.kernel

    def per_voxel(self, instructions: int, loop: int) -> float:
        """Instructions of a warp for a voxel."""
        executed = instructions + (self.trips - 1) * loop if self.trips else loop
        return executed * self.warps / self.voxels


BUDGETS = (
    Budget(
        "region_sums", "sums, 14 classes", "forward", "Dice + CE, value, 14 classes", 4, 256, 0, (12.2, 168), 17.6, 168
    ),
    Budget("region_sums", "gradient, 14 classes", "backward", "Dice + CE, gradient", 4, 256, 0, (10.2, 128), 15.6, 128),
    Budget("joint_histogram", "gaussian 32", "counts", "mutual information, value", 2, 64, 0, (154.9, 201), 44.0, 232),
    Budget("joint_histogram", "gaussian 32, gradient", "gradient", "its gradient", 4, 64, 1, (107.8, 115), 61.0, 128),
    Budget("differences", "bending", "energies", "bending, value", 8, 1024, 1, (21.7, 64), 6.6, 104),
    Budget("differences", "bending, gradient", "inner_gradient", "its inside", 8, 1024, 1, (45.4, 42), 7.0, 88),
    Budget("soft_morphology", "map", "begin", "clDice, first erosion", 8, 1024, 1, (24.1, 37), 4.4, 64),
    Budget("soft_morphology", "map", "advance", "clDice, erosion and opening", 8, 1024, 9, (32.3, 39), 13.5, 64),
)


def count(cubin: bytes) -> tuple[int, int]:
    """All instructions of a kernel, and those of its longest loop (0 without one)."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.nvdisasm.path, "-c", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return counted(text)


def counted(text: str) -> tuple[int, int]:
    """As :func:`count`, of a listing. A jump back closes a loop; the one onto itself is how a program ends."""
    total, labels, loops = 0, {}, [0]
    for line in text.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = total
        elif (found := INSTRUCTION.search(line)) and found[1] != "NOP":
            to = re.search(r"`\((\.L_x_\d+)\)", found[2])
            if found[1] == "BRA" and to and labels.get(to[1], total) < total:
                loops.append(total - labels[to[1]] + 1)
            total += 1
    return total, max(loops)


def table() -> str:
    """Markdown: the budgets."""
    lines = [
        "| kernel | what | instructions: before | at most now | registers: before | at most now |",
        "|---|---|---|---|---|---|",
    ]
    for row in BUDGETS:
        before = (f"{row.before[0]:.1f}", str(row.before[1])) if row.before else ("as now", "as now")
        cells = [f"`{row.file}: {row.kernel}`", row.what, before[0], f"{row.most:.1f}", before[1], str(row.registers)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table())
