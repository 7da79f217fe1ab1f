"""Skeletons of label maps, for the losses that follow vessels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from medloss import checks
from medloss.ops.tubes import TUBES, widened
from medloss.options import frozen
from medloss.transforms.inputs import as_tensor, like, naming, one_for_each, spatial_shape, type_of
from medloss.transforms.labels import whole_numbers
from medloss.transforms.lee_thinning import lee
from medloss.transforms.thinning import thinned

METHODS = {"parallel": thinned, "lee": lee}


class SkeletonMap(Transform):
    """The centreline of what is labelled, widened to a tube, as :class:`medloss.SkeletonRecallLoss` takes it.

    The region of all labels above 0 together is thinned to lines of one voxel: as connected as the region, with its
    loops. The tube around them keeps the labels, so that a vessel that changes its name has one line through it.

    **Put it after every spatial augmentation**: resampling breaks thin lines.

    Args:
        radius: by how many voxels the line is widened, within the region; 0 for the line itself.
        tube: what it is widened by: ``"cross"``, the voxels within ``radius`` steps along the axes (a diamond, as in
            the paper's own code), or ``"box"``, those within ``radius`` along every axis, corners and all.
        method: how the region is thinned. ``"parallel"``: from all sides alike, all voxels at once that do not touch; a
            blob leaves one voxel. ``"lee"``: by Lee et al. (1994), the very voxels of scikit-image's
            ``skeletonize(method="lee")``, which the paper's own code calls for volumes; a block of 2 x 2 x 2 voxels
            leaves nothing, as there. For planes that code takes Zhang's method, of which there is no counterpart here.

    Shape:
        label ``C[spatial]``; the result is the same, with 0 off the skeleton. With several channels each is a region of
        its own.

    Raises:
        ValueError: a label that is no whole number, a negative radius, or an unknown tube or method.

    Example:
        >>> import torch
        >>> from medloss.transforms import SkeletonMap
        >>> SkeletonMap(radius=0)(torch.tensor([[[1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [0, 0, 0, 0, 0]]]))
        tensor([[[0, 0, 0, 0, 0],
                 [1, 1, 1, 2, 0],
                 [0, 0, 0, 0, 0],
                 [0, 0, 0, 0, 0]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, radius: int = 2, tube: str = "cross", method: str = "parallel") -> None:
        radius = frozen("radius", radius)
        if not isinstance(radius, int) or radius < 0:
            raise ValueError(f"radius={radius!r} must be a number of voxels, at least 0")
        checks.choice("tube", tube, TUBES)
        checks.choice("method", method, tuple(METHODS))
        self.radius = radius
        self.tube = tube
        self.method = method

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """The skeleton of ``img``, of the same kind and type."""
        spatial_shape(img, "label")
        label = as_tensor(img, "label")
        whole_numbers(label)  # or it is no label
        lines = torch.stack([METHODS[self.method](channel > 0) for channel in label])
        tube = widened(lines.float()[None], self.radius, self.tube)[0] > 0
        skeleton = torch.where(tube & (label > 0), label, torch.zeros_like(label))
        return like(skeleton, img, type_of(img))


class SkeletonMapd(MapTransform):
    """:class:`SkeletonMap` for the label maps ``keys`` of a dictionary; each gets a map of its own.

    **Put it after every spatial augmentation.**

    Args:
        keys: keys of the label maps.
        skeleton_keys: where the skeletons are put, one for each of ``keys``.
        radius, tube, method: as in :class:`SkeletonMap`.

    Example:
        >>> import torch
        >>> from medloss.transforms import SkeletonMapd
        >>> SkeletonMapd("label", radius=0)({"label": torch.ones(1, 3, 5, dtype=torch.uint8)})["skeleton"]
        tensor([[[0, 0, 0, 0, 0],
                 [1, 1, 1, 1, 0],
                 [0, 0, 0, 0, 0]]], dtype=torch.uint8)
    """

    backend = SkeletonMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        skeleton_keys: KeysCollection = "skeleton",
        radius: int = 2,
        tube: str = "cross",
        allow_missing_keys: bool = False,
        method: str = "parallel",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.skeleton_keys = one_for_each(skeleton_keys, self.keys, "skeleton_keys")
        self.skeleton = SkeletonMap(radius, tube, method)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, skeleton_key in self.key_iterator(result, self.skeleton_keys):
            with naming(key):
                result[skeleton_key] = self.skeleton(result[key])
        return result
