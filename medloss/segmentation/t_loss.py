"""T-Loss: the likelihood of a segmentation's errors under a distribution with heavy tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from medloss.base import RegionLoss
from medloss.labels import LabelView, view_labels
from medloss.ops import power_sums
from medloss.ops.masking import accumulation_dtype, spatial_axes, voxel_weight
from medloss.reduction import ratio
from medloss.sums import RegionSums


class TLoss(RegionLoss):
    r"""Minus the log-likelihood of all errors of a segmentation under one Student's t distribution (T-Loss).

    .. math::
        L = \frac{1}{D} \Bigl( \log \Gamma(\tfrac{\nu}{2}) - \log \Gamma(\tfrac{\nu + D}{2})
          + \tfrac{D}{2} \log(\pi \nu) + \tfrac{\nu + D}{2} \log \bigl( 1 + \tfrac{E}{\nu} \bigr) \Bigr)

    for each sample and class, with D voxels that count and :math:`E = \sum_i w_i (p_i - t_i)^2`, the weights w scaled
    to a mean of 1. The gradient is that of a squared error over :math:`\nu + E`: a sample that is far off, as one with
    a wrong mask is, pulls little at any voxel.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: (-inf, inf), least where prediction and target are equal.

    Limits: nu towards infinity is half the mean squared error plus :math:`\log(2 \pi) / 2`; of one voxel at nu = 1 it
    is :math:`\log \pi + \log(1 + (p - t)^2)`, the Cauchy distribution.

    Authors' code: equal with ``per_voxel=False``. Its defaults, degrees of freedom of e and a scale of 1 for both, have
    the energy of ``nu=1`` here, not of ``nu=e``; their gradient differs by a part of (e - 1) / (1 + D).

    Args:
        nu: degrees of freedom, above 0: the smaller, the less a sample counts that is far off.
        learn: make :math:`\log \nu` a parameter, ``log_nu``, that starts at nu: hand ``loss.parameters()`` to the
            optimizer. The paper does; here it is the one thing that a loss may keep in its ``state_dict()``.
        per_voxel: divide by D as above, so that the loss is of the size of others whatever the volume's. The paper does
            not.
        smooth_nr: nothing depends on it.
        smooth_dr: nothing depends on it, either.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a nu that is not above 0, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Gonzalez-Jimenez et al., Robust T-Loss for medical image segmentation, MICCAI 2023.

    >>> import torch, medloss
    >>> medloss.TLoss()(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))  # log pi + log 2
    tensor(1.8379)
    """

    nu: float = 1.0
    learn: bool = False
    per_voxel: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.nu < math.inf:
            raise ValueError(f"nu={self.nu!r} must be above 0")
        if self.learn:
            self.log_nu = nn.Parameter(torch.tensor(math.log(self.nu)))

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self.evaluate(view_labels(input, target, mask, **self.sweep), None)

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The formula on the squared errors, summed as such: as a difference of sums they would lose their digits."""
        columns = power_sums(
            view.input,
            view.target,
            view.mask,
            error="difference",
            exponent=2.0,
            activation=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            regions=True,
        )
        return super().evaluate(view, RegionSums(torch.cat([columns, _count(view).to(columns.dtype)], -1)))

    def finalise(self, sums: RegionSums) -> Tensor:
        """Minus the log-likelihood."""
        errors, count = sums.columns[..., -3] + sums.columns[..., -2], sums.columns[..., -1]
        nu = self.log_nu.to(count.dtype).exp() if self.learn else count.new_full((), self.nu)
        energy = ratio(errors * count, sums.voxels)
        constant = torch.lgamma(nu / 2) - torch.lgamma((nu + count) / 2) + count / 2 * (math.pi * nu).log()
        value = constant + (nu + count) / 2 * torch.log1p(energy / nu)
        return ratio(value, count) if self.per_voxel else value


def _count(view: LabelView) -> Tensor:
    """How many voxels count, whatever they weigh, B N 1."""
    weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, accumulation_dtype(view.input))
    shape = view.input.shape
    if weight is None:
        return torch.full((*shape[:2], 1), math.prod(shape[2:]), device=view.input.device)
    return (weight > 0).sum(spatial_axes(weight)).expand(shape[:2]).unsqueeze(-1)
