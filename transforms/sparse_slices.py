"""Sparse annotation, simulated: only some slices of a volume keep their labels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends

from medloss.options import frozen
from medloss.transforms.inputs import as_tensor, like, naming, spatial_shape, type_of
from medloss.transforms.labels import exact_range


class RandSparseSlices(RandomizableTransform):
    """Keep the labels of every n-th slice, or of a number of slices, and mark all others as not annotated.

    It shows what a method makes of cheap annotations: train with the ``ignore`` label, or with the mask that
    :class:`LossMaskd` makes of it.

    Args:
        ignore: label of voxels that nobody annotated.
        every: each ``every``-th slice stays; the first one is drawn at random.
        count: so many slices stay, drawn at random, all of them where there are fewer; in place of ``every``.
        axis: spatial axis across which the slices lie: 0, 1, 2, or -1 for the last one.
        prob: share of the samples that this happens to.

    Shape:
        label ``C[spatial]``, result the same, with its type. It is drawn by ``set_random_state``, as all of MONAI's.

    Raises:
        ValueError: neither or both of ``every`` and ``count``, an option out of range, an axis that the label does not
            have, or a type that cannot hold the ignore label.

    Example:
        >>> import torch
        >>> from medloss.transforms import RandSparseSlices
        >>> sparse = RandSparseSlices(ignore=255, every=3).set_random_state(0)
        >>> sparse(torch.ones(1, 1, 6, dtype=torch.uint8))
        tensor([[[255, 255,   1, 255, 255,   1]]], dtype=torch.uint8)
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self, ignore: int, every: int | None = None, count: int | None = None, axis: int = -1, prob: float = 1.0
    ) -> None:
        super().__init__(prob)
        every, count = frozen("every", every), frozen("count", count)
        if (every is None) == (count is None):
            raise ValueError(f"give one of every and count, not every={every!r} and count={count!r}")
        if (every or count or 0) < 1:
            raise ValueError(f"every and count must be at least 1, not every={every!r} and count={count!r}")
        self.ignore, self.every, self.count, self.axis = ignore, every, count, axis
        self.first, self.order = 0.0, np.zeros(0)

    def randomize(self, data: Any = None) -> None:
        """Draw the slices of a volume with ``data`` slices."""
        super().randomize(None)
        if self._do_transform:
            self.first = float(self.R.uniform())
            self.order = self.R.uniform(size=int(data))

    def kept(self, size: int) -> np.ndarray:
        """Which of ``size`` slices keep their labels: bool, as last drawn."""
        if self.every is not None:
            return np.arange(size) % self.every == int(self.first * self.every)
        return self.order[:size].argsort().argsort() < (self.count or 0)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """``img`` with few slices annotated, of the same kind."""
        axis = self._axis(img)
        if randomize:
            self.randomize(img.shape[axis])
        if not self._do_transform:
            return img
        low, high = exact_range(type_of(img))
        if not low <= self.ignore <= high:
            raise ValueError(f"a label of type {type_of(img)} cannot hold the ignore label {self.ignore}")
        label = as_tensor(img, "label")
        lost = torch.from_numpy(~self.kept(img.shape[axis])).to(label.device)
        lost = lost.view([-1 if each == axis else 1 for each in range(label.ndim)])
        return like(label.masked_fill(lost, self.ignore), img, type_of(img))

    def _axis(self, img: Any) -> int:
        """The axis of the array."""
        axes = len(spatial_shape(img, "label"))
        if not -axes <= self.axis < axes:
            raise ValueError(f"axis={self.axis} is none of the label's {axes} spatial axes")
        return self.axis % axes + 1


class RandSparseSlicesd(RandomizableTransform, MapTransform):
    """:class:`RandSparseSlices` for the label maps ``keys`` of a dictionary: the same slices stay in all of them.

    Args:
        keys: keys of the label maps.
        ignore, every, count, axis, prob: as in :class:`RandSparseSlices`.

    Example:
        >>> import torch
        >>> from medloss.transforms import RandSparseSlicesd
        >>> sparse = RandSparseSlicesd("label", ignore=9, count=1).set_random_state(0)
        >>> sparse({"label": torch.ones(1, 1, 4, dtype=torch.uint8)})["label"].eq(1).sum()
        tensor(1)
    """

    backend = RandSparseSlices.backend

    def __init__(
        self,
        keys: KeysCollection,
        ignore: int,
        every: int | None = None,
        count: int | None = None,
        axis: int = -1,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.sparse = RandSparseSlices(ignore, every, count, axis)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandSparseSlicesd:
        super().set_random_state(seed, state)
        self.sparse.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        sizes: set[int] = set()
        for key in self.key_iterator(result):
            with naming(key):
                size = result[key].shape[self.sparse._axis(result[key])]
                if not sizes:
                    self.sparse.randomize(size)
                sizes.add(size)
                if len(sizes) > 1:
                    raise ValueError(f"the label maps have {sorted(sizes)} slices along axis {self.sparse.axis}")
                result[key] = self.sparse(result[key], randomize=False)
        return result
