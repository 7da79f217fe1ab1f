"""What a type checker makes of code that uses medloss: `make check` reads this file, and nothing runs it.

A line that must be refused has a ``type: ignore`` with the code of the error; an ignore that is not needed is an error.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import medloss
from medloss.base import RegionLoss
from medloss.compat.monai import DiceLoss as PeersDiceLoss
from medloss.sums import RegionSums
from medloss.transforms import DistanceMap

x, y = torch.rand(1, 3, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8)

# options are keywords with types
dice = medloss.DiceLoss(softmax=True, to_onehot_y=True, weight=[1.0, 2.0, 0.5], ignore_index=255)
assert_type(dice, medloss.DiceLoss)
medloss.DiceLoss(softmx=True)  # type: ignore[call-arg]
medloss.DiceLoss("mean")  # type: ignore[call-arg]
medloss.DiceLoss(softmax="yes")  # type: ignore[arg-type]
medloss.LocalNormalizedCrossCorrelationLoss(kernel_size="7")  # type: ignore[arg-type]

# an option that is set later has the type of the keyword
dice.smooth_nr = 1.0
dice.smooth_nr = "one"  # type: ignore[assignment]
medloss.MultiScaleLoss(dice, scales=[1.0])
medloss.MultiScaleLoss(dice, scale=[1.0])  # type: ignore[call-arg]
both_terms = medloss.WeightedSum({"dice": dice})
both_terms.weights["dice"] = 0.5
both_terms.weights = {"dice": medloss.Schedule(0.0, 1.0, 10)}

# functions have the options of their losses
assert_type(medloss.functional.dice(x, y, softmax=True, to_onehot_y=True), Tensor)
medloss.functional.bending_energy(x, spacing=[1.0, 2.0, 2.0])
medloss.functional.dice(x, y, softmx=True)  # type: ignore[call-arg]
medloss.functional.dice(x, y, softmax="yes")  # type: ignore[arg-type]
medloss.functional.dice(x)  # type: ignore[call-arg]
medloss.functional.dices(x, y)  # type: ignore[attr-defined]

# a value is a tensor
assert_type(dice(x, y), Tensor)
assert_type(dice(x, y, mask=None), Tensor)
assert_type(dice.forward(x, y), Tensor)
dice.forward(x)  # type: ignore[call-arg]
dice.forward(x, y, weight=2)  # type: ignore[call-arg]
medloss.BoundaryLoss().forward(x, y, spacing=(1.0, 1.0, 2.0))
medloss.DiffusionLoss().forward(x, mask=None, spacing=2.0)
assert_type(medloss.DiceCELoss(softmax=True).terms(x, y)["dice"].value, Tensor)

# compounds take any module, and masks go through
both = medloss.WeightedSum({"dice": dice, "l2": nn.MSELoss()}, {"dice": 0.5})
assert_type(both.forward(x, y), Tensor)
assert_type(both.weight("dice"), float)
medloss.DeepSupervisionLoss(dice, weights="exp").forward([x], y)
PeersDiceLoss(softmax=True, include_background=False).forward(x, y)
DistanceMap()

with medloss.backend("reference"), medloss.check_values():
    dice(x, y)


class ForegroundErrorLoss(RegionLoss):
    """A loss of one's own, as CONTRIBUTING shows it."""

    factor: float = 1.0

    def finalise(self, sums: RegionSums) -> Tensor:
        assert_type(sums.overlap, Tensor)
        return self.factor * (sums.input + sums.target - 2 * sums.overlap) / (sums.input + self.smooth_dr)


assert_type(ForegroundErrorLoss(softmax=True, factor=2.0), ForegroundErrorLoss)
ForegroundErrorLoss(faktor=2.0)  # type: ignore[call-arg]
