"""Where a class is certain the kernels' gradients are those of float64, as the contract wants of the other paths."""

from __future__ import annotations

import pytest
import torch
from certain import hold_to_float64

import medloss

MULTI = {"softmax": True, "to_onehot_y": True}
LOSSES = {
    "region_sums": lambda: medloss.DiceCELoss(**MULTI),
    "region_sums, focal": lambda: medloss.DiceFocalLoss(**MULTI),
    "region_sums, squares": lambda: medloss.DiceLoss(squared_pred=True, **MULTI),
    "region_sums, errors": lambda: medloss.MCCLoss(**MULTI),
    "confusion": lambda: medloss.GeneralizedWassersteinDiceLoss(dist_matrix=1 - torch.eye(3)),
    "power_sums": lambda: medloss.NoiseRobustDiceLoss(**MULTI),
    "pointwise": lambda: medloss.GeneralizedCrossEntropyLoss(to_onehot_y=True),
}
"""By the operator whose kernels serve it. Lovasz is not held to it: errors that are equal in float32 change places."""


@pytest.mark.parametrize("distance", [10.0, 18.0])
@pytest.mark.parametrize("name", LOSSES)
def test_a_certain_class(name: str, distance: float) -> None:
    hold_to_float64(LOSSES[name], True, distance, ["triton"], few=3)
