"""Rows of losses that came after their group: errors with heavy tails, partial labels, deformations."""

from typing import Any

import torch
from row import Row
from torch import Tensor

from rows.field import gentle, inwards
from rows.morphology import NEIGHBOURS

MULTICLASS = {"softmax": True, "to_onehot_y": True}
WEIGHT = [1.0, 2.0, 0.5]


def there_and_back(
    case: Any, shape: tuple[int, ...], batch: int, dtype: torch.dtype, generator: torch.Generator
) -> list[Tensor]:
    """Two fields that leave no box around the middle, and an image of two channels."""
    image = torch.rand(batch, 2, *shape, generator=generator, dtype=dtype)
    return [*inwards(case, shape, batch, dtype, generator), image]


ROWS = {
    "TLoss": Row(options=[{**MULTICLASS, "weight": WEIGHT, "nu": 3.0}]),
    "TargetAdaptiveLoss": Row(
        options=[{**MULTICLASS, "labelled": [1], "weight": WEIGHT}],
        none="voxel",
        joined=True,
        saved=4.2,  # the merged logits, and what made them
    ),
    "SizeConstraintLoss": Row(
        leaves={
            "false branch": "it knows sizes alone",
            "missed lesion": "it knows sizes alone",
            "false lesion": "it knows sizes alone",
        },
        options=[{**MULTICLASS, "tolerance": 0.0, "upper": [0.3, 0.2, 0.5], "weight": WEIGHT}],
    ),
    "ActiveContourLoss": Row(
        options=[{**MULTICLASS, "mu": 0.5, "spacing": 2.0, "weight": WEIGHT}],
        neighbourhood=True,
        saved=4.2,  # probabilities and memberships
        without={"certain": NEIGHBOURS},
    ),
    "CenterlineBoundaryDiceLoss": Row(
        leaves={
            "empty slice": "skeletons say little of a slice without any",
            "missed lesion": "what is below one half has no region",
        },
        options=[{**MULTICLASS, "smooth_nr": 1e-5, "smooth_dr": 1e-5, "iter_": 1, "spacing": 2.0}],
        neighbourhood=True,
        saved=7.6,  # of both maps: depths, skeletons and weights
        without={"certain": NEIGHBOURS},
    ),
    "TukeyLoss": Row(options=[{"scale": 0.5}], none="element"),
    "LocalMutualInformationLoss": Row(
        options=[{"block": 5, "num_bins": 6}],
        none="sample",
        neighbourhood=True,
        saved=3.1,  # the blocks, of which those at the far ends are filled up
        without={
            "window mask": "blocks begin at the volume's corner, not the box's; a test covers a box of blocks",
        },
    ),
    "HyperelasticLoss": Row(
        options=[{}, {"stencil": "central", "border": "replicate", "spacing": 2.0}],
        none="interior",
        neighbourhood=True,
        inputs=gentle,
    ),
    "CycleConsistencyLoss": Row(none="voxel", neighbourhood=True, inputs=there_and_back, saved=4.4),
}
