"""What kornia's losses share: their faults, checks, floating types, class weights and reductions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from medloss import checks
from medloss.ops.masking import accumulation_dtype
from medloss.reduction import REDUCTIONS, reduce


class BaseError(Exception):
    """What kornia calls so: a check that failed."""


class CheckError(BaseError, ValueError):
    """A bad value, where kornia raises a bare :class:`BaseError`."""


class ShapeError(BaseError, checks.ShapeError):
    """A tensor has the wrong shape."""


class TypeCheckError(BaseError, TypeError):
    """Something has the wrong type."""


class DeviceError(BaseError, ValueError):
    """Tensors lie on different devices."""


class LabelError(ValueError, RuntimeError):
    """A label outside the classes, where kornia leaves the check to PyTorch."""


class MisfitError(checks.ShapeError, RuntimeError):
    """An image too small for its window, where kornia leaves the check to PyTorch."""


def check(condition: bool, message: str, fault: type[Exception] = CheckError) -> None:
    """Raise where a condition does not hold."""
    if not condition:
        raise fault(message)


def plain(name: str, tensor: Any, fault: type[Exception] = TypeCheckError) -> Tensor:
    """A plain tensor, or the peer's kind of TypeError."""
    check(isinstance(tensor, Tensor), f"{name} is {type(tensor).__name__} and must be a torch.Tensor", fault)
    return checks.plain(name, tensor)


def ranked(name: str, tensor: Tensor, axes: str, fault: type[Exception] = ShapeError) -> None:
    """Raise where a tensor has another number of axes than the string has letters."""
    message = f"{name} has shape {checks.shape(tensor)}: expected {' '.join(axes)}"
    check(tensor.ndim == len(axes), message, fault)


def alike(name: str, tensor: Tensor, other: str, expected: Any, fault: type[Exception] = ShapeError) -> None:
    """Raise where a tensor has another shape than expected."""
    given = f"{name} has shape {checks.shape(tensor)}"
    check(list(tensor.shape) == list(expected), f"{given}: expected {list(expected)} for {other}", fault)


def together(name: str, tensor: Tensor, other: Tensor, fault: type[Exception] = CheckError) -> None:
    """Raise where two tensors lie on different devices."""
    message = f"{name} is on {tensor.device} and must be on {other.device}: move it with .to()"
    check(tensor.device == other.device, message, fault)


def pair(
    img1: Any, img2: Any, names: tuple[str, str] = ("img1", "img2"), fault: type[Exception] = TypeCheckError
) -> tuple[Tensor, Tensor]:
    """Two tensors in their common floating type; integers count as float32."""
    first, second = (plain(name, image, fault) for name, image in zip(names, (img1, img2), strict=True))
    for name, tensor in zip(names, (first, second), strict=True):
        check(not tensor.is_complex(), f"{name} is complex and must be real", TypeCheckError)
    dtype = torch.promote_types(floating_dtype(first), floating_dtype(second))
    return first.to(dtype), second.to(dtype)


def floating_dtype(tensor: Tensor) -> torch.dtype:
    """Its own, or float32 for integers."""
    return tensor.dtype if tensor.is_floating_point() else torch.float32


def reduced(values: Tensor, reduction: Any, dtype: torch.dtype) -> Tensor:
    """Reduced, then in the type of the inputs; an unknown reduction is told when it is called for, as in kornia."""
    check(
        reduction in REDUCTIONS, f"reduction={reduction!r} is unknown: choose one of {REDUCTIONS}", NotImplementedError
    )
    return reduce(values, reduction).to(dtype)


def indices(target: Tensor, classes: int, ignore_index: int | None = None, strict: bool = True) -> Tensor:
    """Labels B [spatial] as B 1 [spatial]; one outside the classes raises, on the CPU, where looking costs no wait."""
    check(not strict or target.dtype == torch.int64, f"target is {target.dtype} and must be torch.int64")
    target = target.long()
    if target.device.type == "cpu" and target.numel() and not torch.compiler.is_compiling():
        low, high = target.aminmax()
        if low < 0 or high >= classes:
            try:
                checks.labels_within(target, classes, ignore_index)
            except ValueError as fault:
                raise LabelError(str(fault)) from None
    return target.unsqueeze(1)


def per_class(name: str, weight: Any, pred: Tensor) -> Tensor:
    """A factor for each class of the prediction; without any, ones in the accumulation type."""
    if weight is None:
        return pred.new_ones(pred.shape[1], dtype=accumulation_dtype(pred))
    weight = plain(name, weight)
    given = f"{name} has shape {checks.shape(weight)} and pred {checks.shape(pred)}"
    check(weight.numel() == weight.shape[:1].numel() == pred.shape[1], f"{given}: give one value per class")
    together(name, weight, pred)
    return weight.reshape(-1).to(torch.promote_types(weight.dtype, accumulation_dtype(pred)))


def result_dtype(pred: Tensor, *weights: Tensor | None) -> torch.dtype:
    """The type that prediction and class weights have together."""
    dtype = pred.dtype
    for weight in weights:
        dtype = dtype if weight is None else torch.promote_types(dtype, weight.dtype)
    return dtype


def elements(tensor: Tensor) -> int:
    """How many, at least 1."""
    return max(1, math.prod(tensor.shape))


class WeightedLoss(nn.Module):
    """A drop-in with class weights: parameters if the caller's are, else buffers beyond ``state_dict()``."""

    weight: Tensor | None
    pos_weight: Tensor | None

    def _keep(self, name: str, weight: Tensor | None) -> None:
        if isinstance(weight, nn.Parameter):
            setattr(self, name, weight)
        else:
            self.register_buffer(name, weight, persistent=False)
