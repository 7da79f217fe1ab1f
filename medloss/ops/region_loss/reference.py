"""``region_loss`` in plain torch: the specification of the operator, and what second derivatives go through.

A loss is a quotient of linear forms of each region's columns, averaged over the regions; or one linear form of all
columns over another; or both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import present
from medloss.ops.region_sums import reference as region_sums
from medloss.ops.region_sums.columns import COLUMNS, Column

OF_POSITIVES = (Column.TARGET, Column.NLL_TRUE, Column.NLL_ALL, Column.FOCAL_TRUE)
"""What the factor of a class on its positives multiplies in a share."""
OF_NEGATIVES = (Column.NLL_FALSE, Column.FOCAL_FALSE)


class Arguments(NamedTuple):
    """What ``region_loss`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    activation: str
    indexed: bool
    ignore_index: int | None
    terms: int
    gamma: float
    quotient: Sequence[float]
    factors: Tensor | None
    first: int
    joined: bool
    skip: bool
    share: Sequence[float]
    positive: Tensor | None
    negative: Tensor | None
    share_first: int
    mean: bool

    @property
    def volume(self) -> region_sums.Arguments:
        """The first arguments, which are those of ``region_sums``."""
        return region_sums.Arguments._make(self[: len(region_sums.Arguments._fields)])


def region_loss(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.region_loss.region_loss`."""
    columns = region_sums.region_sums(args.volume)
    total = columns.new_zeros(())
    if args.quotient:
        total = total + args.quotient[0] * _quotients(columns[:, args.first :], args)
    if args.share:
        kept, first = columns[:, args.share_first :], args.share_first
        above, below = share_sums(lambda column: kept[..., column], args.share, args.positive, args.negative, first)
        some = present(below)
        ratio = torch.where(some, above, 0.0) / torch.where(some, below, 1.0)
        total = total + args.share[0] * (ratio if args.mean else above)
    return total


def _quotients(columns: Tensor, args: Arguments) -> Tensor:
    """The quotient of each region, weighted and added over those that count."""
    columns = columns.sum(0, keepdim=True) if args.joined else columns
    _, offset, nr, dr = args.quotient[:4]
    above, below = (_linear(columns, args.quotient[at : at + COLUMNS]) for at in (4, 4 + COLUMNS))
    values = offset + (above + nr) / (below + dr)
    if args.factors is not None:
        values = values * args.factors[args.first :].to(values)
    valid = present(columns[..., Column.VOXELS])
    if args.skip:
        valid = valid & present(columns[..., Column.TARGET])
    total = torch.where(valid, values, 0.0).sum()
    return total / valid.sum().clamp_min(1) if args.mean else total


def _linear(columns: Tensor, coefficients: Sequence[float]) -> Tensor:
    used = [value * columns[..., column] for column, value in enumerate(coefficients) if value]
    return sum(used[1:], start=used[0]) if used else torch.zeros_like(columns[..., 0])


def share_sums(
    column: Callable[[int], Tensor],
    share: Sequence[float],
    positive: Tensor | None,
    negative: Tensor | None,
    first: int,
) -> tuple[Tensor, Tensor]:
    """The two linear forms of a share, of the classes from ``first`` on; ``column`` gives B N of each column."""
    found = []
    for start in (1, 1 + COLUMNS):
        # numbers meet tensors with axes alone: the forward-mode derivative of a 0-d tensor would take their dtype
        terms = [
            (value * _scaled(column(at), at, positive, negative, first)).sum()
            for at, value in enumerate(share[start : start + COLUMNS])
            if value
        ]
        found.append(sum(terms[1:], start=terms[0]) if terms else column(0).new_zeros(()))
    above, below = found
    return above, below


def _scaled(sums: Tensor, column: int, positive: Tensor | None, negative: Tensor | None, first: int) -> Tensor:
    factors = positive if column in OF_POSITIVES else negative if column in OF_NEGATIVES else None
    return sums if factors is None else sums * factors[first:].to(sums)
