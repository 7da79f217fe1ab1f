"""``region_loss``: a loss that is arithmetic on the sums of the regions, as one operator.

Autograd spends more time on ten nodes of arithmetic on B N numbers than a sweep takes on a small volume; here value and
slopes of all of them come from one kernel behind the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.region_loss import reference
from medloss.ops.region_loss.cpu import NativeRegionLoss
from medloss.ops.region_loss.reference import share_sums
from medloss.ops.region_loss.triton_launch import TritonRegionLoss
from medloss.ops.region_sums.columns import COLUMNS

__all__ = ["region_loss", "share_sums"]


def _fake(args: reference.Arguments) -> Tensor:
    return args.input.new_empty((), dtype=accumulation_dtype(args.input))


OPERATOR = Operator(
    "region_loss", reference.Arguments, reference.region_loss, _fake, (NativeRegionLoss(), TritonRegionLoss())
)


def region_loss(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    activation: str = "none",
    indexed: bool = False,
    ignore_index: int | None = None,
    terms: int = 0,
    gamma: float = 0.0,
    quotient: Sequence[float] = (),
    factors: Tensor | None = None,
    first: int = 0,
    joined: bool = False,
    skip: bool = False,
    share: Sequence[float] = (),
    positive: Tensor | None = None,
    negative: Tensor | None = None,
    share_first: int = 0,
    mean: bool = True,
) -> Tensor:
    r"""A quotient of each region, a share of all regions, or their sum, from the columns of :func:`region_sums`.

    .. math::
        \lambda \operatorname{mean}_{bc} f_c \left(o + \frac{n \cdot s_{bc} + nr}{d \cdot s_{bc} + dr}\right)
        + \mu \frac{\sum_{bc} u \cdot s_{bc}}{\sum_{bc} v \cdot s_{bc}}

    with the columns s of a sample b and class c.

    Args:
        input, target, mask, activation, indexed, ignore_index, terms, gamma: see :func:`region_sums`.
        quotient: :math:`\lambda, o, nr, dr`, then n and d of :data:`COLUMNS` entries each; empty for none.
        factors: f, one per class of the input.
        first: the first class whose quotient counts.
        joined: whether the batch is one image.
        skip: whether a region without target leaves the mean. One without voxels always does.
        share: :math:`\mu`, then u and v; empty for none. Without any mass below, it is 0.
        positive: factor of each class on the columns of what is true, and on that of the target.
        negative: factor of each class on the columns of what is false.
        share_first: the first class of the share.
        mean: divide by the regions that count, and by the share's mass; else add up.

    Returns:
        a scalar, float64 for double input and float32 otherwise.

    Raises:
        ValueError: a quotient or share of another length.

    >>> import torch
    >>> from medloss.ops.region_sums import Column
    >>> one = [float(column == Column.OVERLAP) for column in range(COLUMNS)]
    >>> two = [float(column in (Column.INPUT, Column.TARGET)) for column in range(COLUMNS)]
    >>> p, t = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    >>> region_loss(p, t, quotient=[1, 1, 0, 0, *(-2 * value for value in one), *two])  # Dice: 1 - 2 / 4
    tensor(0.5000)
    """
    if len(quotient) not in (0, 4 + 2 * COLUMNS) or len(share) not in (0, 1 + 2 * COLUMNS):
        raise ValueError(f"quotient has {len(quotient)} numbers, not {4 + 2 * COLUMNS}; or share {len(share)}")
    tables = (factors, positive, negative)
    factors, positive, negative = (None if each is None else each.to(input.device) for each in tables)
    return OPERATOR(
        input, target, mask, activation, indexed, ignore_index, int(terms), float(gamma), quotient, factors, first,
        joined, skip, share, positive, negative, share_first, mean,
    )  # fmt: skip
