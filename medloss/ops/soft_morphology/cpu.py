"""The CPU paths of ``soft_morphology``: hand the maps to ``cpu_kernel.c``, and what is not finite to the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype
from medloss.ops.soft_morphology import reference

AXES = 3
CROSSED = [2, 3, 0, 1]
"""The sums with prediction and target changing places."""


class NativeMorphology(native.NativePath):
    """What the paths share.

    Args:
        reference: serves values that are NaN or infinite, which the kernels see and leave alone.
        tensors: how many maps come before the mask.
    """

    told = "the map is"

    def __init__(self, reference: Callable[..., Tensor], tensors: int) -> None:
        self.reference, self.tensors = reference, tensors

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        map = args[0]
        found = []
        if not 1 <= map.ndim - 2 <= AXES:
            found.append(f"the map has {map.ndim - 2} spatial axes, the kernel takes 1 to {AXES}")
        if map.numel() == 0:
            found.append("there are no voxels")
        if needs is not None and any(needs[self.tensors :]):
            found.append("a gradient of the mask is asked for")
        return found

    def volumes(self, args: tuple[Any, ...]) -> tuple[Tensor | int | None, ...]:
        """Maps and weights as volumes of depth, height and width."""
        mask = args[self.tensors]
        dtype, shape = accumulation_dtype(args[0]), args[0].shape
        maps = [map.detach().to(dtype).contiguous() for map in args[: self.tensors]]
        shared = 1
        if mask is not None:
            shared = shape[1] if mask.shape[1] == 1 else 1
            mask = mask.to(dtype).expand(shape[0], mask.shape[1], *shape[2:]).contiguous()
        return (*maps, mask, shape[0] * shape[1], shared, *[1] * (AXES + 2 - len(shape)), *shape[2:])

    def run(self, kernel: str, args: tuple[Any, ...], *operands: Any) -> bool:
        """Call a kernel; whether all values that count were finite, without which its result is void."""
        odd = torch.zeros(1, dtype=torch.int64, device="cpu")
        native.call(kernel, accumulation_dtype(args[0]), *self.volumes(args), *operands, odd)
        return not odd.item()

    def through_reference(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of one map by autograd."""
        with torch.enable_grad():
            leaf = args[index].detach().requires_grad_()
            result = self.reference(*args[:index], leaf, *args[index + 1 :])
            return torch.autograd.grad(result, leaf, grad)[0]

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the first map, in its dtype."""
        return self.backward_of(0, grad, args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the map at a place among the arguments, in its dtype."""
        raise NotImplementedError


class NativeSkeleton(NativeMorphology):
    """The soft skeleton, plane by plane."""

    def __init__(self) -> None:
        super().__init__(reference.soft_skeleton, 1)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args[0].shape, dtype=accumulation_dtype(args[0]), device="cpu")
        return result if self.run("soft_skeleton_forward", args, args[2], result) else self.reference(*args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the map, in its dtype."""
        map, _, iterations = args
        result = torch.zeros(map.shape, dtype=accumulation_dtype(map), device="cpu")
        upstream = grad.to(result.dtype).contiguous()
        if self.run("soft_skeleton_backward", args, iterations, upstream, result):
            return result.to(map.dtype)
        return self.through_reference(index, grad, args)


class NativeSkeletonSums(NativeMorphology):
    """The sums of both skeletons, neither of which is ever made."""

    def __init__(self) -> None:
        super().__init__(reference.skeleton_sums, 2)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C 4."""
        sums = torch.empty((*args[0].shape[:2], 4), dtype=torch.float64, device="cpu")
        finite = self.run("skeleton_sums_forward", args, args[3], sums)
        return sums.to(accumulation_dtype(args[0])) if finite else self.reference(*args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        input, target, mask, iterations = args
        result = torch.zeros(input.shape, dtype=accumulation_dtype(input), device="cpu")
        sums = (grad if index == 0 else grad[..., CROSSED]).to(torch.float64).contiguous()
        pair = (input, target) if index == 0 else (target.to(result.dtype), input)
        if self.run("skeleton_sums_backward", (*pair, mask), iterations, sums, result):
            return result.to(args[index].dtype)
        return self.through_reference(index, grad, args)


class NativeErosions(NativeMorphology):
    """The erosions of the error, volume by volume."""

    def __init__(self) -> None:
        super().__init__(reference.erosion_hausdorff, 2)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C [spatial]."""
        input, _, _, alpha, k = args
        result = torch.empty(input.shape, dtype=accumulation_dtype(input), device="cpu")
        finite = self.run("erosion_hausdorff", args, input.ndim - 2, alpha, k, None, 1.0, result)
        return result if finite else self.reference(*args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        input, _, _, alpha, k = args
        result = torch.empty(input.shape, dtype=accumulation_dtype(input), device="cpu")
        upstream, sign = grad.to(result.dtype).contiguous(), 1.0 if index == 0 else -1.0
        if self.run("erosion_hausdorff", args, input.ndim - 2, alpha, k, upstream, sign, result):
            return result.to(args[index].dtype)
        return self.through_reference(index, grad, args)


class NativeMaxPool(NativeMorphology):
    """The largest value in boxes, plane by plane."""

    def __init__(self) -> None:
        super().__init__(reference.max_pool, 1)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args[0].shape, dtype=accumulation_dtype(args[0]), device="cpu")
        return result if self.run("max_pool", args, args[2], None, result) else self.reference(*args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the map, in its dtype."""
        result = torch.empty(args[0].shape, dtype=accumulation_dtype(args[0]), device="cpu")
        if self.run("max_pool", args, args[2], grad.to(result.dtype).contiguous(), result):
            return result.to(args[0].dtype)
        return self.through_reference(index, grad, args)


class NativeBoundarySums(NativeMorphology):
    """The sums of both boundaries, volume by volume."""

    def __init__(self) -> None:
        super().__init__(reference.boundary_sums, 2)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C 4."""
        sums = torch.empty((*args[0].shape[:2], 4), dtype=torch.float64, device="cpu")
        finite = self.run("boundary_sums", args, *args[3:], sums, None, None)
        return sums.to(accumulation_dtype(args[0])) if finite else self.reference(*args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        input, target, mask, *sizes = args
        result = torch.empty(input.shape, dtype=accumulation_dtype(input), device="cpu")
        sums = (grad if index == 0 else grad[..., CROSSED]).to(torch.float64).contiguous()
        pair = (input, target) if index == 0 else (target.to(result.dtype), input)
        if self.run("boundary_sums", (*pair, mask), *sizes, None, sums, result):
            return result.to(args[index].dtype)
        return self.through_reference(index, grad, args)
