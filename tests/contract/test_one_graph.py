"""Point 10: one graph for inputs of any size, by torch.compile and by torch.export."""

from __future__ import annotations

import pytest
import torch
from cases import LossCase, box_mask, cases, is_first

SHAPES = {1: ((24,), (17,), (31,)), 2: ((9, 10), (11, 8), (12, 13)), 3: ((9, 8, 10), (8, 11, 9), (10, 9, 12))}
"""By rank: every axis changes from one shape to the next, lest one is taken for a constant."""
CASES = [case for case in cases(cell="compile") if is_first(case)]


def several(case: LossCase) -> list[list[torch.Tensor]]:
    """Inputs of three shapes and batch sizes."""
    rank = max(2, case.row.least)
    return [case.inputs_of(shape, batch) for shape, batch in zip(SHAPES[rank], (2, 3, 4), strict=True)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_second_shape_makes_sizes_free(case: LossCase) -> None:
    """By itself: the first graph is of one shape, the second of any. Under a mask."""
    loss = case.make()
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    for tensors in several(case):
        mask, _ = box_mask(tensors[0], case.kind)
        torch.testing.assert_close(compiled(*tensors, mask=mask), loss(*tensors, mask=mask))


# TODO with a pooling that does not ask whether an axis is odd: MultiScaleSSIMLoss is exported for one parity
@pytest.mark.parametrize("case", [case for case in CASES if case.name != "MultiScaleSSIMLoss"], ids=str)
def test_an_exported_loss_takes_every_shape(case: LossCase) -> None:
    loss, shapes = case.make(), several(case)
    free = tuple({at: torch.export.Dim.AUTO for at in range(tensor.ndim) if at != 1} for tensor in shapes[0])
    exported = torch.export.export(loss, tuple(shapes[0]), dynamic_shapes=free).module()
    for tensors in shapes:
        torch.testing.assert_close(exported(*tensors), loss(*tensors))
