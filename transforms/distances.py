"""Distance maps from label maps, in millimetres."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medloss.ops import border_distance, signed_distance
from medloss.options import frozen
from medloss.transforms.inputs import as_tensor, checked_spacing, like, naming, one_for_each, spatial_shape, voxel_sizes
from medloss.transforms.labels import whole_numbers
from medloss.transforms.resampling import watched
from medloss.transforms.subjects import copied, opened, put

INSIDE = 0.5


class DistanceMap(Transform):
    """The distance of every voxel to the border of each class, as the distance losses take it: ``distance_map=``.

    Signed, it is the map of :class:`medloss.BoundaryLoss` and :class:`medloss.GeneralizedSurfaceLoss`: outside the
    distance to the nearest voxel of the class, inside minus that to the nearest other voxel, less one voxel. Unsigned,
    it is that of :class:`medloss.HausdorffDTLoss`: the distance to the nearest voxel on the other side. A class that is
    empty or full has no border, and distance 0.

    **Put it after every spatial augmentation**: a distance map that is itself scaled, rotated or deformed, as labels
    are, holds distances no more. After an intensity augmentation or before one makes no difference.

    Args:
        to_onehot: number of classes of a label map of class indices, which gives one channel per class; None where the
            label has one channel per class already (a voxel is inside above 0.5).
        signed: see above.
        spacing: size of a voxel along each axis (one number for all). By default it is read from the affine of a
            MetaTensor, and 1 for other arrays.
        clip: the largest distance; farther ones become this one. None for no limit.
        normalise: divide each channel by its largest distance, so that it lies within [-1, 1]. A loss of normalised
            maps has no unit, and weighs small and large structures alike.

    Shape:
        label ``C[spatial]`` (``1[spatial]`` with ``to_onehot``), mask ``1[spatial]``; the result is ``C[spatial]``
        (``N[spatial]`` with ``to_onehot``) of type float32, in the unit of the spacing.

    Raises:
        ValueError: a label of several channels with ``to_onehot``, labels outside the classes, or an option out of
            range.

    Example:
        >>> import torch
        >>> from medloss.transforms import DistanceMap
        >>> label = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
        >>> DistanceMap(spacing=2)(label)
        tensor([[[ 4.,  2.,  0., -2.,  0.,  2.]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self,
        to_onehot: int | None = None,
        signed: bool = True,
        spacing: Sequence[float] | float | None = None,
        clip: float | None = None,
        normalise: bool = False,
    ) -> None:
        to_onehot, clip = frozen("to_onehot", to_onehot), frozen("clip", clip)
        if to_onehot is not None and to_onehot < 2:
            raise ValueError(f"to_onehot={to_onehot!r} must be the number of classes, background included: at least 2")
        if clip is not None and not clip > 0:
            raise ValueError(f"clip={clip!r} must be above 0")
        self.to_onehot = to_onehot
        self.signed = signed
        self.spacing = checked_spacing(spacing)
        self.clip = clip
        self.normalise = normalise

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """The distances of ``img``, of the same kind.

        Args:
            img: the label map.
            mask: voxels that count, ``1[spatial]``: the others are neither inside nor outside, as in a loss that is
                given the same mask.
        """
        shape = spatial_shape(img, "label")
        inside = self._inside(as_tensor(img, "label"))
        valid = None
        if mask is not None:
            if spatial_shape(mask, "mask") != shape:
                raise ValueError(f"the mask has shape {tuple(mask.shape)}, but the label has {tuple(img.shape)}")
            valid = (as_tensor(mask, "mask") > 0)[None].to(inside.device)
        measure = signed_distance if self.signed else border_distance
        distance = measure(inside[None], valid, voxel_sizes(img, self.spacing))[0]
        if self.clip is not None:
            distance = distance.clamp(-self.clip, self.clip)
        if self.normalise:
            largest = distance.abs().flatten(1).amax(1).view(-1, *[1] * len(shape))
            distance = distance / torch.where(largest > 0, largest, 1)
        return like(distance, img, torch.float32)

    def _inside(self, label: Tensor) -> Tensor:
        if self.to_onehot is None:
            return label > INSIDE
        if label.shape[0] != 1:
            raise ValueError(f"to_onehot={self.to_onehot} takes class indices in one channel, not {label.shape[0]}")
        index = torch.arange(self.to_onehot, device=label.device).view(-1, *[1] * (label.ndim - 1))
        return whole_numbers(label) == index


class DistanceMapd(MapTransform):
    """:class:`DistanceMap` for the label maps ``keys`` of a dictionary; each gets a map of its own.

    **Put it after every spatial augmentation**, and keep its result out of the keys of any that follow: where the map
    of a MetaTensor is resampled later on, a warning says so. Mirroring, turning by 90 degrees, cropping and padding
    keep the distances.

    A subject of TorchIO is taken too: ``keys`` are its label maps, and the distance map becomes a ``ScalarImage`` of
    it.

    Args:
        keys: keys of the label maps.
        distance_keys: where the distance maps are put, one for each of ``keys``.
        to_onehot, signed, spacing, clip, normalise: as in :class:`DistanceMap`.
        mask_key: key of a loss mask, whose zeros are neither inside nor outside.

    Example:
        >>> import torch
        >>> from medloss.transforms import DistanceMapd
        >>> DistanceMapd("label")({"label": torch.tensor([[[0, 0, 1, 1]]])})["distance_map"]
        tensor([[[ 2.,  1.,  0., -1.]]])
    """

    backend = DistanceMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        distance_keys: KeysCollection = "distance_map",
        to_onehot: int | None = None,
        signed: bool = True,
        spacing: Sequence[float] | float | None = None,
        clip: float | None = None,
        normalise: bool = False,
        mask_key: Hashable | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.distance_keys = one_for_each(distance_keys, self.keys, "distance_keys")
        self.mask_key = mask_key
        self.distance = DistanceMap(to_onehot, signed, spacing, clip, normalise)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = copied(data)
        if self.mask_key is not None and self.mask_key not in result:
            raise KeyError(f"the data has no mask {self.mask_key!r}: its keys are {sorted(map(str, result))}")
        for key, distance_key in self.key_iterator(result, self.distance_keys):
            with naming(key):
                mask = result.get(self.mask_key)
                found = self.distance(opened(result[key]), None if mask is None else opened(mask))
                put(result, distance_key, watched(found, f"the distance map {distance_key!r}"), result[key])
        return result
