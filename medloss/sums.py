"""The sums of the regions by name, over the batch, and over the processes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss.ops import Column


def _column(column: Column, meaning: str) -> Any:
    return property(lambda sums: sums.columns.select(-1, int(column)), doc=meaning)


def _column_of_target(column: Column, meaning: str) -> Any:
    return property(lambda sums: sums.given.select(-1, int(column)), doc=meaning)


class RegionSums:
    """What ``region_sums`` returned, B N columns, and each column by name as B N.

    Sums over the voxels, with voxel weight w, prediction p and membership t; minus logarithms of the likelihood; q the
    probability of what is true.

    Args:
        columns: the sums.
        target_grad: whether the columns of the target alone pass on a gradient.
        whole: whether it is known, without a look, that every class has voxels.
    """

    def __init__(self, columns: Tensor, target_grad: bool = True, whole: bool = False) -> None:
        self.columns, self.target_grad, self.whole = columns, target_grad, whole
        # what no gradient can reach stays out of the graph, each node of which costs as much as a small volume
        self.given = columns if target_grad else columns.detach()

    overlap: Tensor = _column(Column.OVERLAP, "w p t")
    input: Tensor = _column(Column.INPUT, "w p")
    target: Tensor = _column_of_target(Column.TARGET, "w t")
    voxels: Tensor = _column_of_target(Column.VOXELS, "w")
    input_squares: Tensor = _column(Column.INPUT_SQUARES, "w p p")
    target_squares: Tensor = _column_of_target(Column.TARGET_SQUARES, "w t t")
    surplus: Tensor = _column(Column.SURPLUS, "w max(p - t, 0)")
    nll_true: Tensor = _column(Column.NLL_TRUE, "w t (-log p)")
    nll_false: Tensor = _column(Column.NLL_FALSE, "w (1 - t) (-log(1 - p)), of the sigmoid")
    nll_all: Tensor = _column(Column.NLL_ALL, "w (-log p)")
    focal_true: Tensor = _column(Column.FOCAL_TRUE, "w t (1 - q)^gamma (-log p)")
    focal_false: Tensor = _column(Column.FOCAL_FALSE, "w (1 - t) (1 - q)^gamma (-log(1 - p)), of the sigmoid")
    false_positive: Tensor = _column(Column.FALSE_POSITIVE, "w p (1 - t)")
    false_negative: Tensor = _column(Column.FALSE_NEGATIVE, "w (1 - p) t")
    true_negative: Tensor = _column(Column.TRUE_NEGATIVE, "w (1 - p) (1 - t)")
    common: Tensor = _column(Column.COMMON, "w min(p, t)")
    lack: Tensor = _column(Column.LACK, "w max(t - p, 0)")
    squared_error: Tensor = _column(Column.SQUARED_ERROR, "w (p - t)^2")

    def column(self, column: int) -> Tensor:
        """A column by its number."""
        of_target = column in (Column.TARGET, Column.VOXELS, Column.TARGET_SQUARES)
        return (self.given if of_target else self.columns).select(-1, column)

    def classes_from(self, first: int) -> RegionSums:
        """Without the classes before ``first``."""
        return RegionSums(self.columns[:, first:], self.target_grad, self.whole) if first else self

    def over_batch(self) -> RegionSums:
        """Summed over the samples, 1 N."""
        return RegionSums(self.columns.sum(0, keepdim=True), self.target_grad, self.whole)


def all_reduced(sums: RegionSums, process_group: Any) -> RegionSums:
    """The sums of all processes; its gradient is the sum of theirs, which averaging gradients then makes exact."""
    if process_group is None:
        return sums
    from torch import distributed
    from torch.distributed.nn.functional import all_reduce

    group = distributed.group.WORLD if process_group == "world" else process_group
    return RegionSums(all_reduce(sums.columns, group=group), sums.target_grad, sums.whole)
