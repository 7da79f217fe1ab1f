"""The GPU path of ``components``: four launches of ``triton_kernels.py``, for which no host waits."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.components.reference import Arguments
from medloss.ops.misfits import dtype_misfits
from medloss.ops.triton_tiles import readable
from medloss.ops.triton_volume import MOST_VOXELS

AXES = 3
STEPS = {1: 0, 2: 3, 3: 12}
"""Neighbours in rows before a voxel's own, by the number of axes."""
TILE, PAIRS_TILE = 512, 256
"""Voxels of a program; fewer where it joins pairs: all threads wait for the longest search, and more would spill."""


class TritonComponents(triton_path.TritonPath[Arguments]):
    """Union and find by all voxels at once; nothing is stored beside the numbers but a count per tile."""

    differentiable = ()

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        mask = args.mask
        found = args.misfits() + dtype_misfits((torch.bool,), mask=mask)
        if args.connectivity < 1:
            found.append(f"connectivity is {args.connectivity}, the kernel takes 1 and more")
        if mask.numel() == 0:
            found.append("there are no voxels")
        if mask.shape[2:].numel() > MOST_VOXELS:
            found.append(f"a volume has more than {MOST_VOXELS} voxels")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """B C [spatial]."""
        from medloss.ops.components import triton_kernels as kernels

        mask, connectivity = readable(args.mask), args.connectivity
        _, height, width = (1,) * (AXES + 2 - mask.ndim) + mask.shape[2:]
        voxels, volumes = mask.shape[2:].numel(), mask.shape[0] * mask.shape[1]
        tiles = -(-voxels // TILE)
        grid = (volumes * tiles,)
        labels = torch.empty(mask.shape, dtype=torch.int64, device=mask.device)
        counts = torch.empty(volumes, tiles, dtype=torch.int64, device=mask.device)
        parts, steps = -(-voxels // PAIRS_TILE), STEPS[mask.ndim - 2]
        with triton_path.on_device(mask):
            kernels.start[grid](mask, labels, voxels, tiles, width, TILE=TILE)
            if steps:
                kernels.join[(volumes * parts,)](
                    mask, labels, voxels, parts, height, width, connectivity, STEPS=steps, TILE=PAIRS_TILE
                )
            kernels.settle[grid](mask, labels, counts, voxels, tiles, TILE=TILE)
            kernels.number[grid](mask, labels, counts.cumsum(1) - counts, voxels, tiles, TILE=TILE)
        return labels
