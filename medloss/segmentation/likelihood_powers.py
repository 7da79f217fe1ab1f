"""Powers of the log-likelihood of each voxel, for the compounds that have such a term."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.base import LabelLoss
from medloss.labels import LabelView
from medloss.ops import Terms, power_sums
from medloss.ops.region_sums import COLUMNS
from medloss.reduction import ratio, times
from medloss.segmentation.compound import CompoundLoss
from medloss.sums import RegionSums, all_reduced


class LikelihoodPowerLoss(LabelLoss):
    """Mean of a power of each log-likelihood, over voxels and channels.

    Args:
        exponent: of each log-likelihood.
        positive: factor on what a voxel is of.
        negative: factor on what it is not of.
        per_voxel: mean over the voxels and sum over the channels.
    """

    exponent: float = 1.0
    positive: float = 1.0
    negative: float = 0.0
    per_voxel: bool = False
    process_group: Any = None

    def powers(self, view: LabelView, regions: bool) -> Tensor:
        """The sums of the powers, B N 2, behind those of the regions where they are asked for."""
        return power_sums(
            view.input,
            view.target,
            view.mask,
            error="likelihood",
            exponent=self.exponent,
            activation=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            regions=regions,
            both=self.negative != 0,
        )

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """The weighted sums of the powers, over the number of voxels."""
        classes = view.input.shape[1]
        factors, first = self._factors(classes), self._first(classes)
        powers = sums.columns if sums.columns.shape[-1] > COLUMNS else self.powers(view, regions=False)
        total = self.positive * powers[..., -2] + self.negative * powers[..., -1]
        if factors is not None:
            total = total * factors.to(total)
        joined = RegionSums(torch.stack([total, sums.voxels], -1)).over_batch().classes_from(first)
        if self.reduction == "mean":
            joined = all_reduced(joined, self.process_group)
        total, voxels = (joined.columns[..., column].sum() for column in (0, 1))
        if self.reduction == "sum":
            return total
        return times(classes - first if self.per_voxel else 1, ratio(total, voxels))


class LikelihoodPowerCompound(CompoundLoss):
    """A region loss and the part ``"cross_entropy"``, a :class:`LikelihoodPowerLoss`: one sweep, and one gradient."""

    def _sums(self, view: LabelView) -> RegionSums:
        """The sums of the regions, and behind them those of the powers; two sweeps for columns that only one has."""
        if any(part.needs & ~Terms.ERRORS for part in self._parts.values()):
            return super()._sums(view)
        likelihood: Any = self._parts["cross_entropy"]
        columns = likelihood.powers(view, regions=True)
        return RegionSums(columns, target_grad=view.target_grad(), whole=view.whole())
