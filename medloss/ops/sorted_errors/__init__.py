"""``sorted_errors``: errors by rank, each times what it adds to the Jaccard loss."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.sorted_errors import reference

__all__ = ["sorted_errors"]


def _fake(args: reference.Arguments) -> Tensor:
    return args.errors.new_empty(args.errors.shape[:2], dtype=accumulation_dtype(args.errors))


OPERATOR = Operator("sorted_errors", reference.Arguments, reference.sorted_errors, _fake)


def sorted_errors(errors: Tensor, foreground: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Lovasz extension of the Jaccard loss at the errors of each row: :math:`\sum_k e_{(k)} (J_k - J_{k-1})`.

    With the errors in falling order, memberships g and weights w in that order and :math:`G = \sum w g`,

    .. math:: J_k = 1 - \frac{G - \sum_{j \le k} w_j g_j}{G + \sum_{j \le k} w_j (1 - g_j)}, \qquad J_0 = 0.

    That is piecewise linear in the errors; its gradient takes the steps :math:`J_k - J_{k-1}` for constants. Where
    errors are equal, voxels come in the order in which they lie, which changes the gradient and not the value.

    Args:
        errors: B N V, any floating dtype.
        foreground: how much each voxel belongs to the class, B N V, of any dtype.
        weight: weight of each voxel, at least 0, B 1 V or B N V. A voxel of weight 0 is not there.

    Returns:
        B N; float64 for double errors and float32 otherwise. Differentiable in ``errors`` alone; 0 for a row without
        voxels.

    >>> import torch
    >>> errors = torch.tensor([[[0.5, 1.0, 0.25]]])  # the voxel of the class, then two others
    >>> sorted_errors(errors, torch.tensor([[[1, 0, 0]]]))  # J = 1/2, 1, 1
    tensor([[0.7500]])
    """
    return OPERATOR(errors, foreground, weight)
