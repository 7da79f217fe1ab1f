"""Local mutual information: of each block of the images by itself, where contrast changes from place to place."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from medloss.ops.masking import present
from medloss.registration.mutual_information import GlobalMutualInformationLoss


class LocalMutualInformationLoss(GlobalMutualInformationLoss):
    r"""Minus the mutual information of two images in each block of voxels, averaged over the blocks.

    .. math:: L = \frac{\sum_k V_k L_k}{\sum_k V_k}

    for each sample, with the loss L of :class:`GlobalMutualInformationLoss` in block k and the sum V of its weights.
    The same tissue may be bright in one block and dark in the next, as under the field of a coil. The blocks do not
    overlap; those at the far end of an axis may be cut short.

    Shape: input and target B C [spatial], mask B 1 [spatial]; ``"none"`` gives B.

    Range: [-log(num_bins), 0]. Blocks with few voxels per bin look as if they informed of each other: take few bins.

    Limits: with blocks as large as the images it is :class:`GlobalMutualInformationLoss`.

    Args:
        block: voxels of a block along every axis, at least 2.
        kernel_type, num_bins, sigma_ratio, smooth_nr, smooth_dr: see :class:`GlobalMutualInformationLoss`.
        intensity_range: of the whole input, as there.
        target_range: of the whole target, as there.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: a block of less than 2 voxels, or the faults of :class:`GlobalMutualInformationLoss`.

    References:
        [1] Studholme et al., Deformation-based mapping of volume change from serial brain MRI in the presence of local
        tissue contrast change, IEEE TMI 2006 (regional mutual information).

    >>> import torch, medloss
    >>> x = torch.tensor([[[0.0, 1.0, 0.0, 1.0]]])
    >>> y = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])  # alike in the first half, inverted in the second
    >>> loss = medloss.LocalMutualInformationLoss(block=2, sigma_ratio=0.1)
    >>> round(loss(x, y).item(), 4)  # log 2 in both, and nothing in the whole
    -0.6931
    """

    num_bins: int = 16
    block: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.block, int) or self.block < 2:
            raise ValueError(f"block={self.block!r} must be a whole number of voxels, at least 2")

    def _compared(self, input: Tensor, target: Tensor, mask: Tensor | None, ranges: Tensor) -> tuple[Tensor, Tensor]:
        if mask is None and any(size % self.block for size in input.shape[2:]):
            mask = torch.ones_like(input[:, :1], dtype=torch.bool)
        input, target = self._blocks(input), self._blocks(target)
        count = input.shape[0] // ranges.shape[0]
        mask = None if mask is None else self._blocks(mask)
        values, mass = super()._compared(input, target, mask, ranges.repeat_interleave(count, 0))
        values, mass = values.view(-1, count), mass.view(-1, count)
        whole = mass.sum(1)
        return (values * mass).sum(1) / torch.where(present(whole), whole, torch.ones_like(whole)), whole

    def _blocks(self, image: Tensor) -> Tensor:
        """B C [spatial] as blocks of each sample, one after the other, C [block]; zeros beyond the far ends."""
        ends = [[0, -size % self.block] for size in reversed(image.shape[2:])]
        kind = image.dtype
        image = F.pad(image.to(torch.uint8) if kind == torch.bool else image, list(itertools.chain(*ends))).to(kind)
        rank = image.ndim - 2
        for axis in range(rank):
            image = image.unflatten(2 + 2 * axis, (-1, self.block))
        grid, inside = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
        return image.permute(0, *grid, 1, *inside).flatten(0, rank)
