"""Point 10: one graph for inputs of any size, by torch.compile and by torch.export."""

from __future__ import annotations

import pytest
import torch
from cases import KINDS, LossCase, box_mask, cases, is_first
from torch._dynamo.utils import counters
from turns import preparation, representatives

SHAPES = {1: ((24,), (17,), (31,)), 2: ((9, 10), (11, 8), (12, 13)), 3: ((9, 8, 10), (8, 11, 9), (10, 9, 12))}
"""By rank: every axis changes from one shape to the next, lest one is taken for a constant."""
ALONE = {"automatic_dynamic_shapes": False, "recompile_limit": 1000, "accumulated_recompile_limit": 1000}
CASES = [case for case in cases(cell="compile") if is_first(case)]


def several(case: LossCase, batches: tuple[int, ...] = (2, 3, 4)) -> list[list[torch.Tensor]]:
    """Inputs of three shapes and batch sizes."""
    rank = max(2, case.row.least)
    return [case.inputs_of(shape, batch) for shape, batch in zip(SHAPES[rank], batches, strict=True)]


def mark(*tensors: torch.Tensor) -> None:
    """Say that every size but that of the channels may change: the first graph is then of any shape."""
    for tensor in tensors:
        for axis in range(tensor.ndim):
            if axis != 1:
                torch._dynamo.maybe_mark_dynamic(tensor, axis)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_graph_takes_every_shape(case: LossCase) -> None:
    """Under a mask. A size that the loss takes for a constant makes a second graph, which is an error.

    What torch keeps of functions that losses share is left to it, but for sizes that it has seen, which it would take
    for free: each loss has a graph of its own.
    """
    loss = case.make()
    counters.clear()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    for number, tensors in enumerate(several(case)):
        mask, _ = box_mask(tensors[0], case.kind)
        mark(*tensors, mask)
        with torch._dynamo.config.patch(error_on_recompile=number > 0, **ALONE):
            found = compiled(*tensors, mask=mask)
        torch.testing.assert_close(found, loss(*tensors, mask=mask))
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_second_shape_makes_sizes_free(kind: str, dynamic: bool | None) -> None:
    """By itself: the first graph is of one shape, the second of any; with ``dynamic=True`` the first is. One loss of a
    kind, as this is torch's doing. (Batches of other sizes than the channels: torch takes equal sizes for one.)"""
    case = next(case for case in CASES if case.kind == kind)
    loss = case.make()
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="eager")
    for number, tensors in enumerate(several(case, (5, 6, 7))):
        with torch._dynamo.config.patch(error_on_recompile=number > (0 if dynamic else 1)):
            found = compiled(*tensors)
        torch.testing.assert_close(found, loss(*tensors))


EXPORTED = representatives(CASES)
"""One loss for all that prepare and sum their tensors by the same functions; the formula on the sums is held above."""


@pytest.mark.parametrize("case", EXPORTED, ids=str)
def test_an_exported_loss_takes_every_shape(case: LossCase) -> None:
    loss, shapes = case.make(), several(case)
    free = tuple({at: torch.export.Dim.AUTO for at in range(tensor.ndim) if at != 1} for tensor in shapes[0])
    exported = torch.export.export(loss, tuple(shapes[0]), dynamic_shapes=free).module()
    for tensors in shapes:
        torch.testing.assert_close(exported(*tensors), loss(*tensors))


def test_every_loss_is_exported_or_shares_all_but_its_formula_with_one_that_is() -> None:
    held = {preparation(case) for case in EXPORTED}
    assert all(preparation(case) in held for case in CASES)
    assert len(EXPORTED) > len(CASES) / 3
