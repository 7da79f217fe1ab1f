"""The YAML of ``medloss segment``: every key with its default. ``data`` and ``loss`` are all that must be given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from medloss.apps.common.compute import Device, Threads
from medloss.apps.common.config import LossMapping, Model, Seed
from medloss.apps.common.training import TrainConfig
from medloss.apps.segmentation.data_config import Data, Intensity, Size, Split
from medloss.apps.segmentation.losses import Facts, check_losses

__all__ = ["Config", "Data", "DeepSupervision", "Inference", "Intensity", "Network", "SegmentationTrain", "Split"]

Stride = Literal[1, 2]


class DeepSupervision(Model):
    """The loss also sees ``outputs`` coarser outputs of the network; 0: the finest output only.

    ``weights``: ``exp`` (1, 1/2, 1/4, ...), ``same``, ``two`` (1, then 1/2), or one number for each output, the finest
    first; they are divided by their sum. ``resize``: how labels are made as coarse as an output: ``nearest``;
    ``max``, which loses no small lesion; or ``soft``, the share of each class in a cell, for losses that take
    memberships (Dice, cross entropy and their sums).
    """

    outputs: int = pydantic.Field(0, ge=0, le=16)
    """Number of coarser outputs that the loss sees beside the finest one."""
    weights: Literal["exp", "same", "two"] | list[Annotated[float, pydantic.Field(ge=0)]] = "exp"
    """Weight of each output, the finest first; divided by their sum."""
    resize: Literal["nearest", "max", "soft"] = "nearest"
    """How labels are made as coarse as an output."""

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

    ``dynunet``: nnU-Net's plain network, or with ``residual`` blocks; ``strides`` halve each axis from level to level,
    or leave it where voxels are thick: ``[[2, 2, 1], [2, 2, 2]]`` for three levels. ``unet``: MONAI's, which halves its
    input at once: its first channels are at half resolution, fast, and its masks are coarser. ``segresnet`` and
    ``swinunetr`` (channels from a multiple of 12, doubled over four levels; patches in multiples of 32).

    ``norm: batch`` keeps a patch's intensities relative to those of the others, where they tell the classes apart;
    ``norm: instance`` takes them away, which suits small batches and images of unlike contrast.
    """

    name: Literal["unet", "basicunet", "dynunet", "segresnet", "swinunetr"] = "dynunet"
    """Which network of MONAI."""
    channels: list[Size] = pydantic.Field([16, 32, 64, 128], min_length=2, max_length=10)
    """Channels of each level, the first at full resolution."""
    strides: list[tuple[Stride, Stride, Stride]] | None = None
    """Of ``dynunet``: how each level divides the axes; all axes are halved by default."""
    residual: bool = False
    """Of ``dynunet``: residual blocks in place of plain ones."""
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    """Share of the features that are set to zero at random in training."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation after each convolution; see above."""
    deep_supervision: DeepSupervision = DeepSupervision()
    """For dynunet and segresnet."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _two_levels(cls, given: Any) -> Any:
        """Two channels without a name are those of a ``unet``: dynunet has three levels or more."""
        channels = given.get("channels") if isinstance(given, dict) and "name" not in given else None
        return {**given, "name": "unet"} if isinstance(channels, (list, tuple)) and len(channels) == 2 else given

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
        if self.name == "swinunetr" and (self.channels != [first * 2**level for level in range(4)] or first % 12):
            raise ValueError("swinunetr doubles its channels over four levels from a multiple of 12: [24, 48, 96, 192]")
        if self.strides is not None and (self.name != "dynunet" or len(self.strides) != count - 1):
            raise ValueError(
                f"strides: for dynunet alone, one triple for each of the {count - 1} levels below the first"
            )
        if self.residual and self.name != "dynunet":
            raise ValueError(f"residual: for dynunet alone; {self.name} has blocks of its own")
        return self


class SegmentationTrain(TrainConfig):
    """Training, and what is done to the volumes at random.

    ``augment: default`` has the range of nnU-Net: rotation, size, noise, blur, brightness, contrast, low resolution,
    gamma. ``mirror`` adds copies mirrored along axes: 0 left-right, 1 posterior-anterior, 2 inferior-superior. It is
    off by default: where left and right organs are two labels, mirroring makes them the same. ``medloss segment predict
    --tta`` averages over the same mirrored copies. ``foreground``: share of the patches that are centred on a voxel of
    a class; all classes are equally frequent.
    """

    augment: Literal["default", "none"] = "default"
    """Random changes of patches, in nnU-Net's range, or none."""
    mirror: list[Literal[0, 1, 2]] = []
    """Axes along which patches are mirrored at random."""
    foreground: float = pydantic.Field(0.5, ge=0, le=1)
    """Share of the patches that are centred on a voxel of a class."""


class Validate(Model):
    """Validation by Dice on whole volumes; the ``keep`` best checkpoints stay.

    It runs after every ``every`` epochs, but less often if it would take more than ``share`` of the time (validations
    below two seconds are never left out), and always after the last epoch. ``patience``: the training ends after this
    number of validations in a row without an improvement.
    """

    every: int = pydantic.Field(1, ge=1, le=10**6)
    """Epochs from one validation to the next."""
    share: float = pydantic.Field(0.2, gt=0, le=1)
    """Share of the time that validation may take."""
    patience: int | None = pydantic.Field(None, ge=1, le=10**6)
    """Number of validations in a row without an improvement after which training ends; null: never."""
    keep: int = pydantic.Field(1, ge=1, le=1000)
    """Number of best checkpoints that are kept."""
    previews: int = pydantic.Field(1, ge=0)
    """Number of cases that are drawn as a picture when a validation is the best so far."""


class Inference(Model):
    """The sliding window: overlap of neighbouring windows (share of the patch) and windows per forward pass."""

    overlap: float = pydantic.Field(0.5, ge=0, le=0.95)
    """Overlap of neighbouring windows, as a share of the patch."""
    batch: int = pydantic.Field(2, ge=1, le=4096)
    """Windows in one forward pass."""


def _check_losses(mapping: LossMapping, info: pydantic.ValidationInfo) -> LossMapping:
    data: Data | None = info.data.get("data")
    if data is not None:  # else its faults are told
        check_losses(mapping, Facts(exclusive=not data.overlaps, channels=max(len(data.labels) + 1, 2)))
    return mapping


Losses = Annotated[
    LossMapping,
    pydantic.Field(min_length=1),
    pydantic.AfterValidator(_check_losses),
]


class Config(Model):
    """Everything that a segmentation training needs; a run folder's config.yaml is one of these, complete."""

    seed: Seed = 0
    """Seed of all random numbers."""
    device: Device = "auto"
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    threads: Threads | None = None
    """Threads of the processor; null: as many as PyTorch uses."""
    data: Data
    loss: Losses  # names (``dice``, ``[dice, focal]``) or {name: options}; the run's file has what the data add
    """Losses by name with their options and weights: `dice_ce`, `[dice, focal]`, or `{dice: {weight: 1, ...}}`."""
    model: Network = Network()
    train: SegmentationTrain = SegmentationTrain()
    validate_: Validate = pydantic.Field(Validate(), alias="validate")
    predict: Inference = Inference()
