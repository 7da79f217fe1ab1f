"""Rows of losses that came after their group: errors with heavy tails, partial labels, deformations."""

from typing import Any

import torch
from row import Row
from torch import Tensor

from rows.field import gentle, inwards

MULTICLASS = {"softmax": True, "to_onehot_y": True}
WEIGHT = [1.0, 2.0, 0.5]


def there_and_back(
    case: Any, shape: tuple[int, ...], batch: int, dtype: torch.dtype, generator: torch.Generator
) -> list[Tensor]:
    """Two fields that leave no box around the middle, and an image of two channels."""
    image = torch.rand(batch, 2, *shape, generator=generator, dtype=dtype)
    return [*inwards(case, shape, batch, dtype, generator), image]


ROWS = {
    "TLoss": Row(options=[{**MULTICLASS, "weight": WEIGHT}, {"sigmoid": True, "nu": 3.0, "per_voxel": False}]),
    "TargetAdaptiveLoss": Row(
        options=[{**MULTICLASS, "labelled": [1], "weight": WEIGHT}],
        none="voxel",
        joined=True,
        saved=4.2,  # the merged logits, and what made them
    ),
    "HyperelasticLoss": Row(
        options=[{}, {"stencil": "central", "border": "replicate", "spacing": 2.0}],
        none="interior",
        neighbourhood=True,
        inputs=gentle,
    ),
    "CycleConsistencyLoss": Row(none="voxel", neighbourhood=True, inputs=there_and_back, saved=4.4),
}
