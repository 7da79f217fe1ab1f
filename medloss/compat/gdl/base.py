"""What the losses of segmentation-models-pytorch share: modes, and targets that fit the prediction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.ops.masking import holds

BINARY_MODE: str = "binary"
MULTICLASS_MODE: str = "multiclass"
MULTILABEL_MODE: str = "multilabel"
MODES = (BINARY_MODE, MULTICLASS_MODE, MULTILABEL_MODE)


class ModeError(ValueError, AssertionError):
    """An option that the peer asserts."""


class MisfitError(checks.ShapeError, RuntimeError):
    """Tensors that do not fit, where the peer leaves the check to PyTorch."""


class LabelError(ValueError, RuntimeError):
    """A label outside the classes, where the peer leaves the check to PyTorch."""


def check_mode(mode: Any, class_weights: Any = None, classes: Any = None) -> None:
    """Raise where the mode is unknown, or has one class alone and is given options of several."""
    if mode not in MODES:
        raise ModeError(f"mode={mode!r} is unknown: choose one of {', '.join(map(repr, MODES))}")
    if mode == BINARY_MODE and class_weights is not None:
        raise ValueError("class_weights need several classes: mode is 'binary'")
    if mode == BINARY_MODE and classes is not None:
        raise ModeError("classes choose among several: mode is 'binary'")


def floating(tensor: Any, name: str = "y_pred") -> Tensor:
    """A plain tensor, integers made float."""
    tensor = checks.plain(name, tensor)
    return tensor if tensor.is_floating_point() else tensor.float()


def flattened(mode: str, y_pred: Any, y_true: Any, ignore_index: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Prediction B C V, target B C V (or labels B 1 V), and which voxels count, or None where all do."""
    y_pred, y_true = floating(y_pred), checks.plain("y_true", y_true)
    if len(y_pred) != len(y_true):
        raise checks.ShapeError(f"y_pred has {len(y_pred)} samples and y_true {len(y_true)}")
    channels = 1 if mode == BINARY_MODE else y_pred.shape[1]
    y_pred = y_pred.reshape(len(y_pred), channels, -1)
    expected = (len(y_pred), 1 if mode == MULTICLASS_MODE else channels, y_pred.shape[2])
    if y_true.numel() != torch.Size(expected).numel():
        raise MisfitError(f"y_true has shape {checks.shape(y_true)}: expected the voxels of {list(expected)}")
    y_true = y_true.reshape(expected)
    mask = None if ignore_index is None else ~holds(y_true, ignore_index)
    if mode == MULTICLASS_MODE:
        within(y_true, channels, ignore_index)
    elif mask is not None:
        y_true = torch.where(mask, y_true, torch.zeros_like(y_true))
    return y_pred, y_true, mask


def within(target: Tensor, classes: int, ignore_index: int | None) -> None:
    """Raise where a label lies outside the classes; on the CPU, where looking costs no waiting."""
    if target.device.type == "cpu" and target.numel() and not torch.compiler.is_compiling():
        low, high = target.aminmax()
        if low < 0 or high >= classes:
            try:
                checks.labels_within(target, classes, ignore_index)
            except ValueError as fault:
                raise LabelError(str(fault)) from None
