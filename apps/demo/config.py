"""What the demo runs, as the configuration that its run folder keeps; ``quick`` is the smoke version of it."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from medloss.apps.common.config import LossMapping, Model, losses
from medloss.apps.common.training import TrainConfig
from medloss.apps.registration.config import PairConfig, Search
from medloss.apps.segmentation.config import Network

# Dice over the whole batch (batch: true): with Dice per patch the rare CSF, absent from many patches, is given up.
TISSUE_LOSS = {"dice_ce": {"softmax": True, "to_onehot_y": True, "batch": True}}
TISSUE_TRAIN = {"epochs": 10, "batch": 4, "optimizer": {"lr": 2e-3}, "schedule": {"name": "cosine", "warmup": 0.5}}
# Bending keeps the field from following the noise: without it the error is twice as large.
WARP_LOSS = {
    "image": {"lncc": {"kernel_size": 7}},
    "field": {"diffusion": {"weight": 0.1}, "bending": {"weight": 10.0}},
}
# The known warp is an integrated velocity field: so is what is sought, in one direction and from the identity.
VELOCITY: dict[str, Any] = {"transform": "dvf", "symmetric": False, "search": Search(use=False)}


class TissueConfig(Model):
    """Training of the tissue segmentation: network, side of a patch in voxels, steps per epoch, loss."""

    model: Network = Network(name="unet", channels=[16, 32, 64], norm="batch")
    patch: tuple[int, int, int] = (32, 32, 32)
    steps_per_epoch: int = pydantic.Field(100, ge=1)
    loss: Annotated[LossMapping, losses("label")] = TISSUE_LOSS
    train: TrainConfig = TrainConfig.model_validate(TISSUE_TRAIN)


class DemoConfig(Model):
    """``medloss demo``: seeds, the template's voxel size in mm, and both tasks."""

    quick: bool = False  # a smoke version, whose numbers mean nothing
    seed: int = 0
    spacing_mm: int = pydantic.Field(2, ge=1)
    segmentation: TissueConfig = TissueConfig()
    registration: PairConfig = PairConfig(iterations=[100, 80, 10], loss=WARP_LOSS, **VELOCITY)


def quick() -> DemoConfig:
    """Seconds instead of minutes, on a coarser template: shows that everything runs, not how well it does."""
    few: dict[str, Any] = {"epochs": 2, "batch": 2, "optimizer": {"lr": 2e-3}}
    return DemoConfig(
        quick=True,
        spacing_mm=4,
        segmentation=TissueConfig(
            model=Network(name="unet", channels=[8, 16], norm="batch"),
            patch=(16, 16, 16),
            steps_per_epoch=10,
            train=TrainConfig(**few),
        ),
        registration=PairConfig(pyramid=[2, 1], iterations=[20, 2], loss=WARP_LOSS, **VELOCITY),
    )
