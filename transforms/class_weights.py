"""Weights of classes from how often they occur: of one label map, voxel by voxel, or of a data set."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medloss import checks
from medloss.options import frozen
from medloss.transforms.inputs import as_tensor, like, naming, one_for_each, spatial_shape
from medloss.transforms.labels import whole_numbers

METHODS = ("inverse", "inverse_sqrt", "effective")


def class_weights(
    counts: Tensor, method: str = "inverse", beta: float = 0.9999, largest: float | None = None
) -> Tensor:
    r"""The weight of each class from its number of voxels; their mean over the voxels is 1.

    With the counts :math:`n_c`: ``"inverse"`` :math:`1 / n_c`, ``"inverse_sqrt"`` :math:`1 / \sqrt{n_c}`,
    ``"effective"`` :math:`(1 - \beta) / (1 - \beta^{n_c})` (Cui et al., CVPR 2019, eq. 4). A class without a voxel has
    weight 0: nothing says how rare it is.

    Args:
        counts: voxels of each class, N.
        method: see above.
        beta: of ``"effective"``, within [0, 1).
        largest: no class weighs more than so many times what the most frequent one does; None for no limit.

    Returns:
        float32, N.

    Example:
        >>> import torch
        >>> from medloss.transforms import class_weights
        >>> class_weights(torch.tensor([6, 2, 0]))  # 8 voxels in 2 classes
        tensor([0.6667, 2.0000, 0.0000])
    """
    checks.choice("method", method, METHODS)
    if not 0 <= beta < 1 or (largest is not None and largest < 1):
        raise ValueError(f"beta must be within [0, 1) and largest at least 1, not {beta!r} and {largest!r}")
    n = counts.double()
    if method == "effective":
        weight = (1 - beta) / (1 - beta ** n.clamp(min=1))
    else:
        weight = n.clamp(min=1) ** (-1.0 if method == "inverse" else -0.5)
    weight = torch.where(n > 0, weight, 0)
    if largest is not None and bool((n > 0).any()):
        weight = weight.clamp(max=largest * float(weight[n.argmax()]))
    mean = (weight * n).sum() / n.sum().clamp(min=1)
    return (weight / torch.where(mean > 0, mean, 1)).float()


class ClassBalanceMap(Transform):
    """Weights of the voxels that balance the classes of a label map, for ``loss(input, target, mask)``.

    Each voxel has the weight of its class, by :func:`class_weights`; their mean over the voxels that count is 1, so
    that a loss keeps its size. A loss takes the map as its mask: it weighs every voxel.

    Args:
        classes: number of classes, the background included.
        method, beta, largest: as in :func:`class_weights`.
        counts: voxels of each class in a data set, as :class:`ClassStats` finds them: the weights are then those of the
            data set, and the same in every map. None counts the label map itself.
        ignore: label of voxels that do not count: their weight is 0.

    Shape:
        label ``1[spatial]``, result ``1[spatial]`` of type float32.

    Raises:
        ValueError: several channels, a label that is no class, or an option out of range.

    Example:
        >>> import torch
        >>> from medloss.transforms import ClassBalanceMap
        >>> ClassBalanceMap(2, ignore=255)(torch.tensor([[[0, 0, 0, 1, 255]]]))
        tensor([[[0.6667, 0.6667, 0.6667, 2.0000, 0.0000]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self,
        classes: int,
        method: str = "inverse",
        beta: float = 0.9999,
        largest: float | None = None,
        counts: Sequence[int] | None = None,
        ignore: int | None = None,
    ) -> None:
        counts = frozen("counts", counts)
        if counts is not None and len(counts) != classes:
            raise ValueError(f"counts has {len(counts)} numbers for {classes} classes")
        self.classes, self.ignore = frozen("classes", classes), frozen("ignore", ignore)
        self.method, self.beta, self.largest = method, beta, largest
        class_weights(torch.ones(classes), method, beta, largest)  # the options are checked here, not at the first map
        self.counts = None if counts is None else torch.tensor(counts)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """The weights of ``img``, of the same kind."""
        label, counted = class_indices(img, self.classes, self.ignore)
        counts = torch.bincount(label[counted], minlength=self.classes) if self.counts is None else self.counts
        weight = class_weights(counts, self.method, self.beta, self.largest).to(label.device)
        return like(weight[label] * counted, img, torch.float32)


class ClassBalanceMapd(MapTransform):
    """:class:`ClassBalanceMap` for the label maps ``keys`` of a dictionary; each gets a map of its own.

    Args:
        keys: keys of the label maps.
        classes, method, beta, largest, counts, ignore: as in :class:`ClassBalanceMap`.
        weight_keys: where the weights are put, one for each of ``keys``.

    Example:
        >>> import torch
        >>> from medloss.transforms import ClassBalanceMapd
        >>> ClassBalanceMapd("label", classes=2)({"label": torch.tensor([[[0, 0, 0, 1]]])})["class_weight"]
        tensor([[[0.6667, 0.6667, 0.6667, 2.0000]]])
    """

    backend = ClassBalanceMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        classes: int,
        weight_keys: KeysCollection = "class_weight",
        method: str = "inverse",
        beta: float = 0.9999,
        largest: float | None = None,
        counts: Sequence[int] | None = None,
        ignore: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.weight_keys = one_for_each(weight_keys, self.keys, "weight_keys")
        self.balance = ClassBalanceMap(classes, method, beta, largest, counts, ignore)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, weight_key in self.key_iterator(result, self.weight_keys):
            with naming(key):
                result[weight_key] = self.balance(result[key])
        return result


def class_indices(img: Any, classes: int, ignore: int | None) -> tuple[Tensor, Tensor]:
    """A label map ``1[spatial]`` as int64 with 0 where it is ignored, and which voxels count.

    Raises:
        ValueError: several channels, or a value that is neither a class nor the ignored one.
    """
    spatial_shape(img, "label")
    label = whole_numbers(as_tensor(img, "label"))
    if label.shape[0] != 1:
        raise ValueError(f"the label must hold class indices in one channel, not {label.shape[0]} channels")
    counted = torch.ones_like(label, dtype=torch.bool) if ignore is None else label != ignore
    label = torch.where(counted, label, 0)
    if bool(((label < 0) | (label >= classes)).any()):
        low, high = int(label.min()), int(label.max())
        raise ValueError(f"the label holds values from {low} to {high}: expected the classes 0 to {classes - 1}")
    return label, counted
