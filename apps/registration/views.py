"""What the losses of a registration compare, on one grid and on coarser ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from medloss.apps.registration.pyramid import resize
from medloss.apps.registration.transform import warp


class Views(NamedTuple):
    """Both images on the fixed grid, ``(1, C, *fixed)``, the moving side through the initial map alone.

    Labels are probabilities. A mask is 1 where an image is to be compared, each of its own image. Points are ``(1, n,
    3)`` in voxels of the fixed grid, those of the moving image through the inverse of the initial map.
    """

    fixed: Tensor
    moving: Tensor
    fixed_label: Tensor | None = None
    moving_label: Tensor | None = None
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None
    fixed_points: Tensor | None = None
    moving_points: Tensor | None = None

    def swapped(self) -> Views:
        """With the fixed for the moving side, and the other way round."""
        return Views(*(self[at ^ 1] for at in range(len(self))))  # type: ignore[arg-type]  # both images are there

    def at(self, shape: Sequence[int]) -> Views:
        """The same on a coarser grid; masks stay of 0 and 1."""
        if tuple(shape) == tuple(self.fixed.shape[2:]):
            return self
        images = [None if each is None else resize(each, shape) for each in self[:6]]
        masks = [None if each is None else (each > 0.5).float() for each in images[4:]]
        ratio = [(new - 1) / max(old - 1, 1) for new, old in zip(shape, self.fixed.shape[2:])]
        points = [None if each is None else each * each.new_tensor(ratio) for each in self[6:]]
        return Views(*images[:4], *masks, *points)  # type: ignore[arg-type]  # both images are there

    def through(self, ddf: Tensor) -> Views:
        """The moving image, labels and mask read through a displacement ``(1, d, *fixed)`` in voxels.

        Points of the moving image have no such view, and are left out.
        """
        label = None if self.moving_label is None else warp(self.moving_label, ddf)
        mask = None if self.moving_mask is None else (warp(self.moving_mask, ddf) > 0.5).float()
        return self._replace(
            moving=warp(self.moving, ddf), moving_label=label, moving_mask=mask, fixed_points=None, moving_points=None
        )

    @property
    def mask(self) -> Tensor | None:
        """Where both images are to be compared, None everywhere; the fixed mask where both have nothing in common."""
        if self.moving_mask is None:
            return self.fixed_mask
        both = self.moving_mask if self.fixed_mask is None else self.moving_mask * self.fixed_mask
        return both if bool((both > 0).any()) else self.fixed_mask

    def compared(self, ddf: Tensor) -> Tensor | None:
        """The :attr:`mask`, the moving side seen through a displacement ``(1, d, *fixed)`` in voxels."""
        if self.moving_mask is None:
            return self.fixed_mask
        return self._replace(moving_mask=(warp(self.moving_mask, ddf) > 0.5).float()).mask
