"""Numbering the connected components of label maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medloss.ops import components
from medloss.options import frozen
from medloss.transforms.inputs import as_tensor, like, naming, one_for_each, spatial_shape
from medloss.transforms.labels import whole_numbers


class ComponentLabels(Transform):
    """Number the connected components of a label map, as the instance losses take it: ``instances=``.

    Voxels of equal label above 0 that touch are one component. In a label of one channel the numbers run through, from
    label to label in rising order; with several channels each is numbered by itself. Components of one label are in the
    order of their first voxels.

    **Put it after every spatial augmentation**: cropping and deforming split components, and remove some.

    Args:
        connectivity: along how many axes at once voxels may touch: 1 for faces alone, None for all (3 in a volume).

    Shape:
        label ``C[spatial]``; the result is ``C[spatial]`` of type int32, 0 where the label is not above 0.

    Raises:
        ValueError: a label that is no whole number, or a connectivity below 1.

    Example:
        >>> import torch
        >>> from medloss.transforms import ComponentLabels
        >>> ComponentLabels()(torch.tensor([[[2, 0, 1, 1, 2, 0, 1]]]))
        tensor([[[3, 0, 1, 1, 4, 0, 2]]], dtype=torch.int32)
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, connectivity: int | None = None) -> None:
        connectivity = frozen("connectivity", connectivity)
        if connectivity is not None and connectivity < 1:
            raise ValueError(f"connectivity={connectivity!r} must be at least 1, or None for all neighbours")
        self.connectivity = connectivity

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """The components of ``img``, of the same kind."""
        spatial_shape(img, "label")
        label = whole_numbers(as_tensor(img, "label"))
        numbers = torch.cat([label_components(channel[None], self.connectivity) for channel in label])
        return like(numbers.to(torch.int32), img, torch.int32)


class ComponentLabelsd(MapTransform):
    """:class:`ComponentLabels` for the label maps ``keys`` of a dictionary; each gets a map of its own.

    **Put it after every spatial augmentation.**

    Args:
        keys: keys of the label maps.
        instance_keys: where the numbers are put, one for each of ``keys``.
        connectivity: as in :class:`ComponentLabels`.

    Example:
        >>> import torch
        >>> from medloss.transforms import ComponentLabelsd
        >>> ComponentLabelsd("label")({"label": torch.tensor([[[1, 0, 1]]])})["instances"]
        tensor([[[1, 0, 2]]], dtype=torch.int32)
    """

    backend = ComponentLabels.backend

    def __init__(
        self,
        keys: KeysCollection,
        instance_keys: KeysCollection = "instances",
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.instance_keys = one_for_each(instance_keys, self.keys, "instance_keys")
        self.components = ComponentLabels(connectivity)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, instance_key in self.key_iterator(result, self.instance_keys):
            with naming(key):
                result[instance_key] = self.components(result[key])
        return result


def label_components(label: Tensor, connectivity: int | None) -> Tensor:
    """The components of equal label above 0 of a map 1[spatial] of whole numbers, numbered through."""
    result = torch.zeros_like(label)
    last = 0
    for value in label.unique().tolist():
        if value > 0:
            found = components((label == value)[None], connectivity)[0]
            result = torch.where(found > 0, found + last, result)
            last += int(found.max())
    return result
