"""The CPU path of ``components``: calls ``cpu_kernel.c``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native

AXES = 3


class NativeComponents(native.NativePath):
    """Union and find, voxel by voxel."""

    told = "mask is"
    wants_avx2 = False

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        mask = args[0]
        found = []
        if not 1 <= mask.ndim - 2 <= AXES:
            found.append(f"mask has {mask.ndim - 2} spatial axes, the kernel takes 1 to {AXES}")
        if needs is not None:
            found.append("a number of a component has no gradient")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C [spatial]."""
        mask, connectivity = args
        labels = torch.empty(mask.shape, dtype=torch.int64, device="cpu")
        sizes = [1] * (AXES + 2 - mask.ndim) + list(mask.shape[2:])
        volumes = mask.shape[0] * mask.shape[1]
        native.call("components", torch.float32, mask.contiguous(), volumes, *sizes, connectivity, labels)
        return labels

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """There is none."""
        raise NotImplementedError("components have no gradient")
