"""Rows of the losses of fields, of pairs of fields, and of points."""

from typing import Any

import torch
from row import Row
from torch import Tensor


def gentle(
    case: Any, shape: tuple[int, ...], batch: int, dtype: torch.dtype, generator: torch.Generator
) -> list[Tensor]:
    """A field that folds here and there only."""
    return [0.3 * torch.randn(batch, len(shape), *shape, generator=generator, dtype=dtype)]


def inwards(
    case: Any, shape: tuple[int, ...], batch: int, dtype: torch.dtype, generator: torch.Generator
) -> list[Tensor]:
    """Two fields that move every voxel some of the way to the middle, and so out of no box around it."""
    axes = [torch.arange(size, dtype=dtype) for size in shape]
    way = torch.stack([(len(at) - 1) / 2 + 0.13 - at for at in torch.meshgrid(*axes, indexing="ij")])
    return [
        way * (0.1 + 0.8 * torch.rand(batch, len(shape), *shape, generator=generator, dtype=dtype)) for _ in range(2)
    ]


ITS_OWN = "the mask belongs to the input only, and the target has its own; a test of the loss covers both"

ROWS = {
    "CurvatureLoss": Row(options=[{"border": "replicate"}], none="interior", neighbourhood=True),
    "LinearElasticityLoss": Row(options=[{"lame_mu": 0.5}], none="interior", neighbourhood=True),
    "DivergenceLoss": Row(none="interior", neighbourhood=True),
    "FieldTotalVariationLoss": Row(none="interior", neighbourhood=True),
    "FieldGradientLoss": Row(options=[{"spacing": 2.0}], neighbourhood=True),
    "JacobianLoss": Row(
        options=[
            {},
            {"penalty": "sdlog", "stencil": "all", "border": "replicate"},
            {"penalty": "hinge", "stencil": "central", "margin": 0.9},
        ],
        none=lambda case: "sample" if case.options.get("penalty") == "sdlog" else "interior",
        neighbourhood=True,
        inputs=gentle,
    ),
    "InverseConsistencyLoss": Row(none="voxel", neighbourhood=True, inputs=inwards, saved=3.2),
    "GradICONLoss": Row(none="interior", neighbourhood=True, inputs=inwards, saved=3.2),
    "LandmarkLoss": Row(none="points"),
    "ChamferLoss": Row(none="sample", without={"box mask": ITS_OWN, "poisoned mask": ITS_OWN}),
}
