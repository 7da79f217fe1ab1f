"""How often each class occurs: in one label map, and over a data set."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medloss.options import frozen
from medloss.transforms.class_weights import class_indices, class_weights
from medloss.transforms.inputs import naming, one_for_each


class ClassCounts(Transform):
    """The number of voxels of each class in a label map.

    Args:
        classes: number of classes, the background included.
        ignore: label of voxels that do not count.

    Shape:
        label ``1[spatial]``; the result is a tensor of ``N`` int64, on the label's device.

    Raises:
        ValueError: several channels, or a label that is no class.

    Example:
        >>> import torch
        >>> from medloss.transforms import ClassCounts
        >>> ClassCounts(3, ignore=255)(torch.tensor([[[0, 0, 2, 255]]]))
        tensor([2, 0, 1])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, classes: int, ignore: int | None = None) -> None:
        self.classes, self.ignore = frozen("classes", classes), frozen("ignore", ignore)

    def __call__(self, img: NdarrayOrTensor) -> Tensor:
        """The counts of ``img``."""
        label, counted = class_indices(img, self.classes, self.ignore)
        return torch.bincount(label[counted], minlength=self.classes)


class ClassCountsd(MapTransform):
    """:class:`ClassCounts` for the label maps ``keys`` of a dictionary.

    Args:
        keys: keys of the label maps.
        classes, ignore: as in :class:`ClassCounts`.
        count_keys: where the counts are put, one for each of ``keys``.

    Example:
        >>> import torch
        >>> from medloss.transforms import ClassCountsd
        >>> ClassCountsd("label", classes=2)({"label": torch.tensor([[[0, 0, 1]]])})["class_counts"]
        tensor([2, 1])
    """

    backend = ClassCounts.backend

    def __init__(
        self,
        keys: KeysCollection,
        classes: int,
        count_keys: KeysCollection = "class_counts",
        ignore: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.count_keys = one_for_each(count_keys, self.keys, "count_keys")
        self.counts = ClassCounts(classes, ignore)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, count_key in self.key_iterator(result, self.count_keys):
            with naming(key):
                result[count_key] = self.counts(result[key])
        return result


@dataclass(frozen=True)
class ClassStats:
    """The classes of a data set, case by case.

    Args:
        counts: voxels, cases x classes, int64.

    Example:
        >>> import torch
        >>> from medloss.transforms import ClassStats
        >>> stats = ClassStats.of([torch.tensor([[[0, 0, 0, 1]]]), torch.tensor([[[0, 0, 0, 0]]])], classes=2)
        >>> stats.share
        tensor([0.8750, 0.1250])
        >>> stats.present
        tensor([2, 1])
        >>> stats.weights("inverse")
        tensor([0.5714, 4.0000])
    """

    counts: Tensor

    @classmethod
    def of(
        cls, data: Iterable[Any], classes: int, key: Hashable | None = None, ignore: int | None = None
    ) -> ClassStats:
        """Count a data set: an iterable of label maps ``1[spatial]``, or of dictionaries that hold one under ``key``.

        A MONAI data set with its transforms will do; leave the random ones out.

        Raises:
            ValueError: no case, a label that is no class, or several channels.
        """
        count = ClassCounts(classes, ignore)
        rows = []
        for number, item in enumerate(data):
            try:
                rows.append(count(item if key is None else item[key]).cpu())
            except ValueError as error:
                raise ValueError(f"case {number}: {error}") from error
        if not rows:
            raise ValueError("there is no case to count")
        return cls(torch.stack(rows))

    @property
    def total(self) -> Tensor:
        """Voxels of each class, N: what ``counts=`` of :class:`ClassBalanceMap` takes, by ``.tolist()``."""
        return self.counts.sum(0)

    @property
    def share(self) -> Tensor:
        """Share of each class of all voxels that count, N."""
        return (self.total.double() / self.total.sum().clamp(min=1)).float()

    @property
    def present(self) -> Tensor:
        """In how many cases each class occurs, N."""
        return (self.counts > 0).sum(0)

    def weights(self, method: str = "inverse", beta: float = 0.9999, largest: float | None = None) -> Tensor:
        """The weight of each class, N, for a loss's ``weight=``; see :func:`class_weights`."""
        return class_weights(self.total, method, beta, largest)
