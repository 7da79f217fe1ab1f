"""The CPU path of ``components``: calls ``cpu_kernel.cpp``."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.components.reference import Arguments

AXES = 3


class NativeComponents(native.NativePath[Arguments]):
    """Union and find, voxel by voxel."""

    differentiable = ()
    wants_avx2 = False

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """B C [spatial]."""
        mask = args.mask
        labels = torch.empty(mask.shape, dtype=torch.int64, device="cpu")
        sizes = [1] * (AXES + 2 - mask.ndim) + list(mask.shape[2:])
        volumes = mask.shape[0] * mask.shape[1]
        native.call("components", torch.float32, mask.contiguous(), volumes, *sizes, args.connectivity, labels)
        return labels
