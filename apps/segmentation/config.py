"""The YAML of ``medloss segment``: every key with its default. ``data`` and ``loss`` are all that must be given."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from medloss.apps.common.compute import Device, Threads
from medloss.apps.common.config import LossMapping, Model, Seed
from medloss.apps.common.training import TrainConfig
from medloss.apps.segmentation.data_config import Data, Intensity, Size, Split
from medloss.apps.segmentation.losses import Facts, by_name, check_losses

__all__ = ["Config", "Data", "DeepSupervision", "Inference", "Intensity", "Network", "SegmentationTrain", "Split"]


class DeepSupervision(Model):
    """Training on ``outputs`` coarser outputs of the network beside the finest one; 0 for that alone.

    ``weights``: ``exp`` (1, 1/2, 1/4, ...), ``same``, ``two`` (1, then 1/2), or one number for each output, the finest
    first; they are divided by their sum. ``resize``: how the labels become as coarse as an output, ``nearest``, or
    ``max``, which loses no small lesion.
    """

    outputs: int = pydantic.Field(0, ge=0, le=16)
    weights: Literal["exp", "same", "two"] | list[Annotated[float, pydantic.Field(ge=0)]] = "exp"
    resize: Literal["nearest", "max"] = "nearest"

    @pydantic.model_validator(mode="after")
    def _check(self) -> DeepSupervision:
        if isinstance(self.weights, list) and len(self.weights) != self.outputs + 1:
            raise ValueError(
                f"weights has {len(self.weights)} numbers for {self.outputs} coarser outputs and the finest"
            )
        if isinstance(self.weights, list) and not sum(self.weights) > 0:
            raise ValueError("weights: at least one must be above 0")
        return self


class Network(Model):
    """A network of MONAI by name; ``channels`` per level, the first at full resolution, each level half of the last.

    ``norm: batch`` keeps a patch's intensities relative to those of the others, where they tell the classes apart;
    ``norm: instance`` takes them away, which suits small batches and images of unlike contrast.
    """

    name: Literal["unet", "basicunet", "dynunet", "segresnet"] = "unet"
    channels: list[Size] = pydantic.Field([16, 32, 64, 128], min_length=2, max_length=10)
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    norm: Literal["instance", "batch"] = "instance"
    deep_supervision: DeepSupervision = DeepSupervision()  # of dynunet and segresnet

    @pydantic.model_validator(mode="after")
    def _check_supervision(self) -> Network:
        outputs, count = self.deep_supervision.outputs, len(self.channels)
        most = max(count - 2, 0)
        if outputs and self.name not in ("dynunet", "segresnet"):
            raise ValueError(f"deep_supervision: {self.name} has one output; dynunet and segresnet have more")
        if outputs > max(most, 0):
            raise ValueError(
                f"deep_supervision.outputs: {outputs}, and {len(self.channels)} channels leave {max(most, 0)}"
            )
        if outputs and self.name == "segresnet" and self.dropout:
            raise ValueError("deep_supervision: segresnet has no dropout then; set dropout to 0, or take dynunet")
        return self

    @pydantic.model_validator(mode="after")
    def _check(self) -> Network:
        count, first = len(self.channels), self.channels[0]
        if self.name == "basicunet" and count != 6:
            raise ValueError("basicunet takes six channels, five levels and the last one: [32, 32, 64, 128, 256, 32]")
        if self.name == "dynunet" and count < 3:
            raise ValueError(f"dynunet takes at least three channels, got {self.channels}")
        doubled = [first * 2**level for level in range(count)]
        if self.name == "segresnet" and (self.channels != doubled or first % 8 or count > 6):
            raise ValueError("segresnet doubles its channels from a multiple of 8, six levels at most: [16, 32, 64]")
        return self


class SegmentationTrain(TrainConfig):
    """Training, and what is done to the volumes at random: ``augment``, and mirroring along the axes in ``mirror``.

    Mirroring is off by default: it makes left and right organs the same. Axes 0, 1, 2 are left-right,
    posterior-anterior, inferior-superior. ``medloss segment predict --tta`` averages over the same mirrored copies.
    """

    augment: Literal["default", "none"] = "default"
    mirror: list[Literal[0, 1, 2]] = []


class Validate(Model):
    """Validation every so many epochs, by Dice on whole volumes; the ``keep`` best checkpoints stay."""

    every: int = pydantic.Field(1, ge=1, le=10**6)
    keep: int = pydantic.Field(1, ge=1, le=1000)
    previews: int = pydantic.Field(1, ge=0)  # cases drawn whenever the network is the best so far


class Inference(Model):
    """The sliding window: overlap of neighbouring windows (share of the patch) and windows per forward pass."""

    overlap: float = pydantic.Field(0.5, ge=0, le=0.95)
    batch: int = pydantic.Field(2, ge=1, le=4096)


def _check_losses(mapping: LossMapping, info: pydantic.ValidationInfo) -> LossMapping:
    data: Data | None = info.data.get("data")
    if data is not None:  # else its faults are told
        check_losses(mapping, Facts(exclusive=not data.overlaps, channels=max(len(data.labels) + 1, 2)))
    return mapping


Losses = Annotated[
    LossMapping,
    pydantic.BeforeValidator(by_name),
    pydantic.Field(min_length=1),
    pydantic.AfterValidator(_check_losses),
]


class Config(Model):
    """Everything that a segmentation training needs; a run folder's config.yaml is one of these, complete."""

    seed: Seed = 0
    device: Device = "auto"
    threads: Threads | None = None
    data: Data
    loss: Losses  # names (``dice``, ``[dice, focal]``) or {name: options}; the run's file has what the data add
    model: Network = Network()
    train: SegmentationTrain = SegmentationTrain()
    validate_: Validate = pydantic.Field(Validate(), alias="validate")
    predict: Inference = Inference()
