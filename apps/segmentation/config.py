"""The YAML of ``medloss segment``: every key with its default. ``data`` and ``loss`` are all that must be given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from medloss.apps.common.compute import Device, Threads
from medloss.apps.common.config import LossMapping, Model, Seed, losses
from medloss.apps.common.reading import Reading
from medloss.apps.common.training import TrainConfig
from medloss.apps.segmentation.losses import complete_losses

Millimetres = Annotated[float, pydantic.Field(ge=0.01, le=1000)]
Size = Annotated[int, pydantic.Field(ge=1, le=4096)]
Id = Annotated[int, pydantic.Field(ge=-(2**31), lt=2**31)]


def _absolute(path: Path) -> Path:
    # A run's config.yaml must load from any working folder.
    return Path(path).expanduser().absolute()


DataPath = Annotated[Path, pydantic.AfterValidator(_absolute)]


class Intensity(Model):
    """How each volume is brought to a common scale.

    ``zscore``: mean 0 and deviation 1 over its non-zero voxels (MR). ``window``: ``low``..``high`` to 0..1, clipped
    (CT, in HU). ``percentile``: the ``low``-th to ``high``-th percentile to 0..1, clipped (1 and 99 by default).
    """

    rule: Literal["zscore", "window", "percentile"] = "zscore"
    low: float | None = None
    high: float | None = None

    @pydantic.model_validator(mode="after")
    def _check(self) -> Intensity:
        if self.rule == "window" and (self.low is None or self.high is None):
            raise ValueError("rule window needs low and high, for instance {rule: window, low: -160, high: 240}")
        if self.rule == "zscore" and (self.low is not None or self.high is not None):
            raise ValueError("rule zscore takes no low and high; did you mean rule: window?")
        low, high = self.bounds()
        if low >= high or (self.rule == "percentile" and not 0 <= low < high <= 100):
            raise ValueError(f"low {low:g} must lie below high {high:g} (percentiles: within 0 to 100)")
        return self

    def bounds(self) -> tuple[float, float]:
        """The lower and upper bound, with the defaults of the percentiles."""
        return (1.0 if self.low is None else self.low, 99.0 if self.high is None else self.high)


class Split(Model):
    """The cases held out for validation: the LAST ``fraction`` of the sorted ids, or the ``ids`` themselves.

    The fraction is one contiguous block, never a random draw: neighbouring ids are often two scans of one person, and a
    random split then tests on what was trained. ``ids`` is a list, or a range ``first..last`` with both ends included.
    """

    fraction: float = pydantic.Field(0.2, ge=0, lt=1)
    ids: list[str] | str | None = None

    @pydantic.field_validator("ids", mode="before")
    @classmethod
    def _as_text(cls, ids: Any) -> Any:  # YAML reads the id 001 as a number
        return [str(each) for each in ids] if isinstance(ids, Sequence) and not isinstance(ids, str) else ids


class Data(Model):
    """Where the volumes are and how they are prepared.

    ``folders``: ``root`` holds images/ and labels/ (or imagesTr/ and labelsTr/), or both folders are named; names are
    equal, but for nnU-Net's ``_0000``. ``msd``: ``root`` holds the dataset.json of the Decathlon or of nnU-Net.
    ``csv``: ``file`` has the columns image and label, and may have id and split (train or valid).
    """

    kind: Literal["folders", "msd", "csv"] = "folders"
    root: DataPath | None = None
    images: DataPath | None = None
    masks: DataPath | None = None
    file: DataPath | None = None
    labels: dict[str, Id | list[Id]] = {}  # name: id in the files; empty: as found, or as dataset.json says
    ignore: Id | None = None  # label of voxels that nobody annotated: neither loss nor Dice counts them
    valid: Split = Split()
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None  # mm along the axes right, anterior, superior
    patch: tuple[Size, Size, Size] | None = None  # voxels; none: from the median shape, at most 96
    intensity: Intensity = Intensity()
    cache: float = pydantic.Field(1.0, ge=0, le=1)  # share of the volumes kept in memory

    @property
    def settled_patch(self) -> tuple[int, int, int]:
        """The patch of a configuration that :func:`~medloss.apps.segmentation.data.prepare` has completed."""
        assert self.patch is not None, "the configuration is not complete yet"
        return self.patch

    read: Reading = Reading()  # what to do with files that can be read in more than one way

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_ignore_out(cls, data: Any) -> Any:
        labels = data.get("labels") if isinstance(data, dict) else None
        if isinstance(labels, dict) and "ignore" in labels and data.get("ignore") is None:
            kept = {name: value for name, value in labels.items() if name != "ignore"}
            return {**data, "labels": kept, "ignore": labels["ignore"]}
        return data

    @pydantic.model_validator(mode="after")
    def _check(self) -> Data:
        if self.kind == "csv" and self.file is None:
            raise ValueError("kind csv needs file: the CSV with the columns image and label")
        if self.kind == "msd" and self.root is None:
            raise ValueError("kind msd needs root: the folder that holds dataset.json")
        if self.kind == "folders" and self.root is None and (self.images is None or self.masks is None):
            raise ValueError("kind folders needs root (with images/ and labels/ in it), or both images and masks")
        ids = [each for value in self.labels.values() for each in (value if isinstance(value, list) else [value])]
        repeated = sorted({each for each in ids if ids.count(each) > 1})
        if repeated or 0 in ids or self.ignore in ids:
            raise ValueError(f"labels: each id once, without 0 (background) and without ignore; got {self.labels}")
        return self


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


class Config(Model):
    """Everything that a segmentation training needs; a run folder's config.yaml is one of these, complete."""

    seed: Seed = 0
    device: Device = "auto"
    threads: Threads | None = None
    data: Data
    loss: Annotated[LossMapping, losses("label", complete_losses)] = pydantic.Field(min_length=1)
    model: Network = Network()
    train: SegmentationTrain = SegmentationTrain()
    validate_: Validate = pydantic.Field(Validate(), alias="validate")
    predict: Inference = Inference()
