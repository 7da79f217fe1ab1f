"""The ``data:`` section of a segmentation: where the volumes are, what their values mean, how they are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from medloss.apps.common.config import Model
from medloss.apps.common.labels import layered_ids
from medloss.apps.common.reading import Reading

Millimetres = Annotated[float, pydantic.Field(ge=0.01, le=1000)]
Size = Annotated[int, pydantic.Field(ge=1, le=4096)]
Id = Annotated[int, pydantic.Field(ge=-(2**31), lt=2**31)]


def _absolute(path: Path) -> Path:
    # A run's config.yaml must load from any working folder.
    return Path(path).expanduser().absolute()


DataPath = Annotated[Path, pydantic.AfterValidator(_absolute)]


class Intensity(Model):
    """How each volume is brought to a common scale.

    ``auto``: ``ct`` for a channel that is named CT, else ``zscore``. ``zscore``: mean 0 and deviation 1 over its
    non-zero voxels (MR). ``ct``: clipped to ``low``..``high``, minus ``mean``, over ``std``; by default the 0.5th and
    99.5th percentile, mean and deviation of the foreground of the training cases, as in nnU-Net. ``window``:
    ``low``..``high`` to 0..1, clipped (CT, in HU). ``percentile``: the ``low``-th to ``high``-th percentile to 0..1,
    clipped (1 and 99 by default). ``none``: left as it is.
    """

    rule: Literal["auto", "zscore", "ct", "window", "percentile", "none"] = "auto"
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = pydantic.Field(None, gt=0)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Intensity:
        if self.rule == "window" and (self.low is None or self.high is None):
            raise ValueError("rule window needs low and high, for instance {rule: window, low: -160, high: 240}")
        if self.rule in ("auto", "zscore", "none") and (self.low is not None or self.high is not None):
            raise ValueError(f"rule {self.rule} takes no low and high; did you mean rule: window?")
        if self.rule == "ct" and len({each is None for each in (self.low, self.high, self.mean, self.std)}) > 1:
            raise ValueError("rule ct takes low, high, mean and std, or none of them: then they come from the data")
        if self.rule != "ct" and (self.mean is not None or self.std is not None):
            raise ValueError(f"rule {self.rule} takes no mean and std; did you mean rule: ct?")
        low, high = self.bounds()
        if low >= high or (self.rule == "percentile" and not 0 <= low < high <= 100):
            raise ValueError(f"low {low:g} must lie below high {high:g} (percentiles: within 0 to 100)")
        return self

    def bounds(self) -> tuple[float, float]:
        """The lower and upper bound, with the defaults of the percentiles."""
        return (1.0 if self.low is None else self.low, 99.0 if self.high is None else self.high)


class Split(Model):
    """The cases held out for validation: the LAST ``fraction`` of the sorted ids, or the ``ids`` themselves.

    The fraction is one contiguous block and not random: neighbouring ids are often two scans of one person, and a
    random split would validate on persons that it has trained on. ``ids`` is a list, or a range ``first..last`` with
    both ends included. ``folds: 5, fold: 0`` (to 4) hold out one of five such blocks; ``medloss segment predict
    --also`` joins the runs.
    """

    fraction: float = pydantic.Field(0.2, ge=0, lt=1)
    """Share of the sorted cases, from the end, that is held out."""
    ids: list[str] | str | None = None
    """The cases that are held out: a list, or `first..last`."""
    folds: int | None = pydantic.Field(None, ge=2, le=1000)
    """Number of blocks that the sorted ids are cut into; one block is held out."""
    fold: int | None = pydantic.Field(None, ge=0)
    """Number of the block that is held out, counted from 0."""

    @pydantic.model_validator(mode="after")
    def _check_folds(self) -> Split:
        if (self.folds is None) != (self.fold is None) or (self.folds or 1) <= (self.fold or 0):
            raise ValueError(f"folds and fold go together, fold from 0 to folds - 1; got {self.folds} and {self.fold}")
        if self.folds is not None and self.ids is not None:
            raise ValueError("ids and folds both say what is held out: drop one")
        return self

    @pydantic.field_validator("ids", mode="before")
    @classmethod
    def _as_text(cls, ids: Any) -> Any:  # YAML reads the id 001 as a number
        return [str(each) for each in ids] if isinstance(ids, Sequence) and not isinstance(ids, str) else ids


class Data(Model):
    """Where the volumes are and how they are prepared.

    ``folders``: ``root`` holds images/ and labels/ (or imagesTr/ and labelsTr/), or ``images`` and ``masks`` name both
    folders. An image and its label map have the same file name, except for nnU-Net's channel numbers ``_0000``,
    ``_0001``, ... ``msd``: ``root`` holds the dataset.json of the Decathlon or of nnU-Net. ``csv``: ``file`` has the
    columns image (or one per channel, ``image_flair``, ``image_t1``) and label, and may have id, split (train or
    valid), classes (those that the case annotates, ``liver;spleen``) and within (a mask). A 4D image holds one channel
    per volume.

    Labels whose ids overlap are regions: ``{whole: [1, 2, 3], core: [2, 3], enhancing: 3}``. The network then answers
    region by region, and ``region_order`` has the id that is written for each (nnU-Net's ``regions_class_order``).
    """

    kind: Literal["folders", "msd", "csv"] = "folders"
    """How the data set is laid out."""
    root: DataPath | None = None
    """The folder of the data set."""
    images: DataPath | None = None
    """The folder of the images, where it is not in `root`."""
    masks: DataPath | None = None
    """The folder of the label maps, where it is not in `root`."""
    file: DataPath | None = None
    """The table of `kind: csv`."""
    labels: dict[str, Id | list[Id]] = {}
    """Name of each class and its number in the files; empty: the numbers that are found, or those of dataset.json."""
    ignore: Id | None = None
    """Label value of voxels that nobody annotated: the loss and the Dice leave them out."""
    region_order: list[Id] | None = None
    """The id that `predict` writes for each region, in the order of the regions; later ones overwrite."""
    channels: list[str] = []
    """Names of the image's channels; empty: those of dataset.json or of the CSV's columns."""
    label_channels: list[str] = pydantic.Field([], max_length=8)
    """Names of the volumes of 4D label files; each volume is 1 in its region, and regions may overlap."""
    within: DataPath | None = None
    """Folder of masks (brain, field of view): the loss and the Dice count only voxels inside."""
    annotated: dict[str, list[str]] = {}
    """Pattern of case names (such as "siteA_*"), and the only classes that these cases annotate."""
    valid: Split = Split()
    spacing: Literal["median", "none"] | tuple[Millimetres, Millimetres, Millimetres] = "median"
    """In mm along the axes right, anterior, superior; median: the median of the training cases; none: that of each
    file."""
    patch: tuple[Size, Size, Size] | None = None
    """Voxels along each axis; null: from the median shape, at most 96."""
    intensity: Intensity | list[Intensity] = Intensity()
    """One for all channels, or one for each."""
    cache: float = pydantic.Field(1.0, ge=0, le=1)
    """Share of the volumes kept in memory."""
    cache_folder: DataPath | None = None
    """Folder on disk for the prepared volumes, in place of memory."""

    @property
    def settled_patch(self) -> tuple[int, int, int]:
        """The patch of a configuration that :func:`~medloss.apps.segmentation.data.prepare` has completed."""
        assert self.patch is not None, "the configuration is not complete yet"
        return self.patch

    @property
    def settled_spacing(self) -> tuple[float, float, float] | None:
        """The spacing to resample to (mm); None where the files' own is kept, or where nothing is settled yet."""
        return None if isinstance(self.spacing, str) else self.spacing

    @property
    def overlaps(self) -> bool:
        """Whether the labels are regions, as far as this section says."""
        ids = [each for value in self.labels.values() for each in (value if isinstance(value, list) else [value])]
        return len(set(ids)) < len(ids) or bool(self.region_order)

    @property
    def intensities(self) -> list[Intensity]:
        """The rule of each channel."""
        return self.intensity if isinstance(self.intensity, list) else [self.intensity] * self.count_channels

    @property
    def count_channels(self) -> int:
        """Channels of an image."""
        return max(len(self.channels), 1)

    read: Reading = Reading()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_ignore_out(cls, data: Any) -> Any:
        labels = data.get("labels") if isinstance(data, dict) else None
        if isinstance(labels, dict) and "ignore" in labels and data.get("ignore") is None:
            kept = {name: value for name, value in labels.items() if name != "ignore"}
            return {**data, "labels": kept, "ignore": labels["ignore"]}
        return data

    @pydantic.model_validator(mode="before")
    @classmethod
    def _layers_are_regions(cls, data: Any) -> Any:
        names = data.get("label_channels") if isinstance(data, dict) else None
        if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
            return data
        ids = layered_ids(names)
        given = {
            str(name): value if isinstance(value, list) else [value]
            for name, value in (data.get("labels") or {}).items()
        }
        if given not in ({}, ids) or data.get("ignore") is not None or len(ids) < len(names):
            raise ValueError(
                "label_channels: each name once, and labels and ignore stay empty; for voxels that do not "
                "count give masks (within)"
            )
        return {**data, "labels": ids, "region_order": [1 << number for number in range(len(names))]}

    @pydantic.field_validator("spacing", mode="before")
    @classmethod
    def _no_spacing(cls, spacing: Any) -> Any:
        return "none" if spacing is None else spacing

    @pydantic.model_validator(mode="after")
    def _check(self) -> Data:
        if self.kind == "csv" and self.file is None:
            raise ValueError("kind csv needs file: the CSV with the columns image and label")
        if self.kind == "msd" and self.root is None:
            raise ValueError("kind msd needs root: the folder that holds dataset.json")
        if self.kind == "folders" and self.root is None and (self.images is None or self.masks is None):
            raise ValueError("kind folders needs root (with images/ and labels/ in it), or both images and masks")
        if self.kind == "csv" and self.within is not None:
            raise ValueError("kind csv names the masks in its column within, not in data.within")
        groups = [frozenset(value if isinstance(value, list) else [value]) for value in self.labels.values()]
        ids = set().union(*groups)
        if len(set(groups)) < len(groups) or not all(groups) or 0 in ids or self.ignore in ids:
            raise ValueError(
                f"labels: each id once (or regions that differ), without 0 (background) and ignore; got {self.labels}"
            )
        if isinstance(self.intensity, list) and self.channels and len(self.intensity) != len(self.channels):
            raise ValueError(f"intensity has {len(self.intensity)} entries for the channels {self.channels}")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels: each name once, got {self.channels}")
        return self
