"""Weights of voxels by how narrow the gap between objects is around them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medloss.ops import distance_map
from medloss.options import frozen
from medloss.transforms.components import label_components
from medloss.transforms.inputs import as_tensor, checked_spacing, like, naming, one_for_each, spatial_shape, voxel_sizes
from medloss.transforms.labels import whole_numbers


class BorderWeightMap(Transform):
    r"""Weights of the voxels that are high in the gaps between neighbouring objects, for ``loss(input, target, mask)``.

    :math:`w = w_c + w_0 \exp\bigl(-(d_1 + d_2)^2 / 2 \sigma^2\bigr)`, with the distances :math:`d_1, d_2` of a voxel to
    the nearest and to the second nearest object (0 inside it). Objects are the connected components of equal, non-zero
    label, so that cells which touch are told apart by different labels. With fewer than two objects the second term
    is 0. A loss takes the map as its mask: it weighs every voxel.

    **Put it after every spatial augmentation**: its distances are those of the grid that the loss sees.

    Args:
        w0: weight of the borders, at least 0.
        sigma: how wide a gap still counts, in the unit of the spacing, above 0.
        class_weights: :math:`w_c` for each label value 0, 1, ..., for instance to balance their frequencies; labels
            beyond the last take the last one. None weighs all with 1.
        spacing: as in :class:`DistanceMap`.
        connectivity: as in :class:`ComponentLabels`.

    Shape:
        label ``1[spatial]``, result ``1[spatial]`` of type float32.

    Raises:
        ValueError: a label of several channels, or an option out of range.

    References:
        Ronneberger et al., U-Net, MICCAI 2015, eq. 2 (there w0 = 10 and sigma = 5 pixels).

    Example:
        >>> import torch
        >>> from medloss.transforms import BorderWeightMap
        >>> label = torch.tensor([[[1, 0, 2, 0, 0, 0]]])
        >>> BorderWeightMap(w0=10, sigma=2)(label)  # d1 + d2 = 2 from the one to the other object, then 4, 6, 8
        tensor([[[7.0653, 7.0653, 7.0653, 2.3534, 1.1111, 1.0034]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: Sequence[float] | None = None,
        spacing: Sequence[float] | float | None = None,
        connectivity: int | None = None,
    ) -> None:
        w0, sigma = frozen("w0", w0), frozen("sigma", sigma)
        class_weights = frozen("class_weights", class_weights)
        if not w0 >= 0 or not sigma > 0:
            raise ValueError(f"w0 must be at least 0 and sigma above 0, not {w0!r} and {sigma!r}")
        if class_weights is not None and (not class_weights or min(class_weights) < 0):
            raise ValueError(f"class_weights must be numbers of at least 0, not {class_weights!r}")
        self.w0 = w0
        self.sigma = sigma
        self.class_weights = class_weights
        self.spacing = checked_spacing(spacing)
        self.connectivity = frozen("connectivity", connectivity)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """The weights of ``img``, of the same kind."""
        spatial_shape(img, "label")
        label = whole_numbers(as_tensor(img, "label"))
        if label.shape[0] != 1:
            raise ValueError(f"the label must have one channel, not {label.shape[0]}")
        weight = torch.ones_like(label, dtype=torch.float32)
        if self.class_weights is not None:
            table = torch.tensor(self.class_weights, dtype=torch.float32, device=label.device)
            weight = table[label.clamp(0, len(table) - 1)]
        objects = label_components(label, self.connectivity)
        nearest, second = self._two_nearest(objects, voxel_sizes(img, self.spacing))
        weight = weight + self.w0 * torch.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))
        return like(weight, img, torch.float32)

    def _two_nearest(self, objects: Tensor, sizes: list[float]) -> tuple[Tensor, Tensor]:
        """The distances to the nearest and to the second nearest object, infinite where there is none."""
        nearest = torch.full(objects.shape, torch.inf, device=objects.device)
        second = nearest
        for number in range(1, int(objects.max()) + 1):
            distance = distance_map((objects == number)[None], sizes)[0]
            second = torch.minimum(second, torch.maximum(nearest, distance))
            nearest = torch.minimum(nearest, distance)
        return nearest, second


class BorderWeightMapd(MapTransform):
    """:class:`BorderWeightMap` for the label maps ``keys`` of a dictionary; each gets a map of its own.

    **Put it after every spatial augmentation.**

    Args:
        keys: keys of the label maps.
        weight_keys: where the weights are put, one for each of ``keys``.
        w0, sigma, class_weights, spacing, connectivity: as in :class:`BorderWeightMap`.

    Example:
        >>> import torch
        >>> from medloss.transforms import BorderWeightMapd
        >>> BorderWeightMapd("label", sigma=1)({"label": torch.tensor([[[1, 0, 1]]])})["border_weight"]
        tensor([[[2.3534, 2.3534, 2.3534]]])
    """

    backend = BorderWeightMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        weight_keys: KeysCollection = "border_weight",
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: Sequence[float] | None = None,
        spacing: Sequence[float] | float | None = None,
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.weight_keys = one_for_each(weight_keys, self.keys, "weight_keys")
        self.border = BorderWeightMap(w0, sigma, class_weights, spacing, connectivity)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, weight_key in self.key_iterator(result, self.weight_keys):
            with naming(key):
                result[weight_key] = self.border(result[key])
        return result
