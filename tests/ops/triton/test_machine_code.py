"""The kernels that bind keep to their budgets of instructions and registers, and the documentation has these."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_code import BUDGETS, Budget, counted, table

FOLDER = Path(__file__).resolve().parent


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: f"{budget.file}-{budget.kernel}")
def test_instructions_ahead_of_time(budget: Budget, compile_ahead) -> None:
    kernels = compile_ahead(str(FOLDER / f"test_{budget.file}.py"), 90)[budget.launch]
    kernel = next(kernel for kernel in kernels if kernel.name == budget.kernel)
    assert kernel.instructions, "was not counted"
    assert kernel.warps == budget.warps
    found = budget.per_voxel(kernel.instructions, kernel.loop)
    assert found <= budget.most, f"{found:.1f} instructions for a voxel"
    assert found > 0.8 * budget.most, f"{found:.1f} instructions for a voxel: lower the budget"
    assert kernel.registers <= budget.registers
    assert not kernel.stack


def test_the_documentation_has_the_budgets() -> None:
    assert table() in (FOLDER.parents[2] / "docs" / "gpu.md").read_text(), "python tests/machine_code.py prints them"


def test_loops_are_found_by_their_jump_back() -> None:
    listing = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   IADD3 R0, R0, 0x1, RZ ;
        /*0020*/              @P0  LDG.E R2, [R4.64] ;
        /*0030*/             @!P1  BRA `(.L_x_1) ;
        /*0040*/                   EXIT ;
.L_x_2:
        /*0050*/                   BRA `(.L_x_2);
        /*0060*/                   NOP;
    """
    assert counted(listing) == (6, 3)
