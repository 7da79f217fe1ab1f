"""The CPU paths of ``soft_morphology``: hand the maps to ``cpu_kernel.cpp``; the reference has what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype
from medloss.ops.soft_morphology import reference
from medloss.ops.soft_morphology.reference import (
    Arguments,
    BoundarySumsArguments,
    ErosionArguments,
    PoolArguments,
    SkeletonArguments,
    SkeletonSumsArguments,
    maps_of,
    misfits,
)

AXES = 3
CROSSED = [2, 3, 0, 1]
"""The sums with prediction and target changing places."""
M = TypeVar("M", bound=Arguments)
S = TypeVar("S", SkeletonSumsArguments, BoundarySumsArguments)


class NativeMorphology(native.NativePath[M], Generic[M]):
    """What the paths share.

    Attributes:
        reference: serves values that are NaN or infinite, which the kernels see and leave alone.
    """

    reference: Callable[[M], Tensor]

    def unfit(self, args: M) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return misfits(args)

    def run(self, kernel: str, args: M, *operands: Any) -> bool:
        """Call a kernel; whether all values that count were finite, without which its result is void."""
        odd = torch.zeros(1, dtype=torch.int64, device="cpu")
        native.call(kernel, accumulation_dtype(maps_of(args)[0]), *_volumes(args), *operands, odd)
        return not odd.item()

    def through_reference(self, name: str, grad: Tensor, args: M) -> Tensor:
        """The gradient of one map by autograd."""
        with torch.enable_grad():
            leaf = getattr(args, name).detach().requires_grad_()
            result = self.reference(cast(Any, args)._replace(**{name: leaf}))
            return torch.autograd.grad(result, leaf, grad)[0]

    def backward(self, grad: Tensor, args: M) -> Tensor:
        """The gradient of the first map, in its dtype."""
        return self.backward_of(args._fields[0], grad, args)


def _volumes(args: Arguments) -> tuple[Tensor | int | None, ...]:
    """Maps and weights as volumes of depth, height and width."""
    given = maps_of(args)
    map = given[0]
    dtype, shape = accumulation_dtype(map), map.shape
    maps = [each.detach().to(dtype).contiguous() for each in given]
    mask, shared = native.shared_weight(args.mask, map, dtype)
    return (*maps, mask, shape[0] * shape[1], shared, *[1] * (AXES + 2 - len(shape)), *shape[2:])


class NativeSkeleton(NativeMorphology[SkeletonArguments]):
    """The soft skeleton, plane by plane."""

    differentiable = ("map",)
    reference = staticmethod(reference.soft_skeleton)

    def forward(self, args: SkeletonArguments) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args.map.shape, dtype=accumulation_dtype(args.map), device="cpu")
        finite = self.run("soft_skeleton_forward", args, args.iterations, result)
        return result if finite else self.reference(args)

    def backward_of(self, name: str, grad: Tensor, args: SkeletonArguments) -> Tensor:
        """The gradient of the map, in its dtype."""
        result = torch.zeros(args.map.shape, dtype=accumulation_dtype(args.map), device="cpu")
        upstream = grad.to(result.dtype).contiguous()
        if self.run("soft_skeleton_backward", args, args.iterations, upstream, result):
            return result.to(args.map.dtype)
        return self.through_reference(name, grad, args)


class NativeSkeletonSums(NativeMorphology[SkeletonSumsArguments]):
    """The sums of both skeletons, neither of which is ever made."""

    differentiable = ("input", "target")
    reference = staticmethod(reference.skeleton_sums)

    def forward(self, args: SkeletonSumsArguments) -> Tensor:
        """B C 4."""
        sums = torch.empty((*args.input.shape[:2], 4), dtype=torch.float64, device="cpu")
        finite = self.run("skeleton_sums_forward", args, args.iterations, sums)
        return sums.to(accumulation_dtype(args.input)) if finite else self.reference(args)

    def backward_of(self, name: str, grad: Tensor, args: SkeletonSumsArguments) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        result = torch.zeros(args.input.shape, dtype=accumulation_dtype(args.input), device="cpu")
        given, own = _own_first(name, args, result.dtype)
        if self.run("skeleton_sums_backward", given, args.iterations, _rates(grad, name), result):
            return result.to(own.dtype)
        return self.through_reference(name, grad, args)


class NativeErosions(NativeMorphology[ErosionArguments]):
    """The erosions of the error, volume by volume."""

    differentiable = ("input", "target")
    reference = staticmethod(reference.erosion_hausdorff)

    def forward(self, args: ErosionArguments) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args.input.shape, dtype=accumulation_dtype(args.input), device="cpu")
        finite = self.run("erosion_hausdorff", args, args.input.ndim - 2, args.alpha, args.k, None, 1.0, result)
        return result if finite else self.reference(args)

    def backward_of(self, name: str, grad: Tensor, args: ErosionArguments) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        result = torch.empty(args.input.shape, dtype=accumulation_dtype(args.input), device="cpu")
        upstream = grad.to(result.dtype).contiguous()
        own, sign = (args.input, 1.0) if name == "input" else (args.target, -1.0)
        if self.run("erosion_hausdorff", args, args.input.ndim - 2, args.alpha, args.k, upstream, sign, result):
            return result.to(own.dtype)
        return self.through_reference(name, grad, args)


class NativeMaxPool(NativeMorphology[PoolArguments]):
    """The largest value in boxes, plane by plane."""

    differentiable = ("map",)
    reference = staticmethod(reference.max_pool)

    def forward(self, args: PoolArguments) -> Tensor:
        """B C [spatial]."""
        result = torch.empty(args.map.shape, dtype=accumulation_dtype(args.map), device="cpu")
        return result if self.run("max_pool", args, args.size, None, result) else self.reference(args)

    def backward_of(self, name: str, grad: Tensor, args: PoolArguments) -> Tensor:
        """The gradient of the map, in its dtype."""
        result = torch.empty(args.map.shape, dtype=accumulation_dtype(args.map), device="cpu")
        if self.run("max_pool", args, args.size, grad.to(result.dtype).contiguous(), result):
            return result.to(args.map.dtype)
        return self.through_reference(name, grad, args)


class NativeBoundarySums(NativeMorphology[BoundarySumsArguments]):
    """The sums of both boundaries, volume by volume."""

    differentiable = ("input", "target")
    reference = staticmethod(reference.boundary_sums)

    def forward(self, args: BoundarySumsArguments) -> Tensor:
        """B C 4."""
        sums = torch.empty((*args.input.shape[:2], 4), dtype=torch.float64, device="cpu")
        finite = self.run("boundary_sums", args, args.inner, args.outer, sums, None, None)
        return sums.to(accumulation_dtype(args.input)) if finite else self.reference(args)

    def backward_of(self, name: str, grad: Tensor, args: BoundarySumsArguments) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        result = torch.empty(args.input.shape, dtype=accumulation_dtype(args.input), device="cpu")
        given, own = _own_first(name, args, result.dtype)
        if self.run("boundary_sums", given, args.inner, args.outer, None, _rates(grad, name), result):
            return result.to(own.dtype)
        return self.through_reference(name, grad, args)


def _own_first(name: str, args: S, dtype: torch.dtype) -> tuple[S, Tensor]:
    """The arguments in the order in which the kernel has the maps, that of the gradient first, and that map."""
    if name == "input":
        return args, args.input
    return args._replace(input=args.target.to(dtype), target=args.input), args.target


def _rates(grad: Tensor, name: str) -> Tensor:
    """The gradients of the sums in the order in which the kernel has the maps, in double."""
    return (grad if name == "input" else grad[..., CROSSED]).to(torch.float64).contiguous()
