"""What a target is: class indices or memberships, seen with the input through one view that copies nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss import checks
from medloss.checks import ShapeError, shape
from medloss.ops.masking import holds


class LabelView(NamedTuple):
    """An input and a target that fit, with the activation still to come and no one-hot made.

    Attributes:
        input: logits B C [spatial], or probabilities where ``activation`` is ``"none"``.
        target: class indices B 1 [spatial] where ``indexed``, else memberships B C [spatial].
        mask: weight of each voxel B 1 [spatial] or B C [spatial], or None.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``.
        indexed: whether the target holds class indices.
        ignore_index: the index whose voxels do not count; for memberships it has become part of the mask.
    """

    input: Tensor
    target: Tensor
    mask: Tensor | None
    activation: str
    indexed: bool
    ignore_index: int | None

    def target_grad(self) -> bool:
        """Whether a gradient can reach the target, or the mask that weighs it."""
        return self.target.requires_grad or (self.mask is not None and self.mask.requires_grad)

    def whole(self) -> bool:
        """Whether it is known, without a look, that voxels count in every class.

        No property: torch.compile of torch 2.6 cannot read one of a named tuple.
        """
        return self.mask is None and self.ignore_index is None and 0 not in self.input.shape


def view_labels(
    input: Any,
    target: Any,
    mask: Any = None,
    *,
    activation: str = "none",
    other_act: Callable[[Tensor], Tensor] | None = None,
    to_onehot_y: bool = False,
    ignore_index: int | None = None,
) -> LabelView:
    """Check the three tensors against each other and against the options.

    Raises:
        TypeError: not a tensor, or an input of integers.
        ShapeError: batch, channels or spatial axes do not fit; the message says which option would make them fit.
        ValueError: an option makes no sense for this number of channels, or tensors lie on different devices.
    """
    if getattr(target, "dtype", None) == torch.uint64:
        ignore_index = _in_int64(ignore_index)
    input, target = checks.image_like("input", input), checks.plain("target", target)
    checks.same_device("target", target, input)
    if input.ndim == 2:  # batch x classes: one voxel each
        input = input.unsqueeze(-1)
        target = target.unsqueeze(-1)
        mask = None if mask is None else checks.plain("mask", mask).unsqueeze(-1)
    classes = input.shape[1]
    if classes == 1 and (activation == "softmax" or to_onehot_y):
        option = "softmax" if activation == "softmax" else "to_onehot_y"
        raise ValueError(f"{option}=True makes no sense with one channel: use sigmoid=True and a target of 0 and 1")
    target = _fit_target(target, input, to_onehot_y)
    mask = checks.mask_like(mask, input)
    if other_act is not None:
        input = other_act(input)
    if checks.checking_values():
        if to_onehot_y:
            checks.labels_within(target, classes, ignore_index)
        if activation == "none":
            checks.probabilities(input, mask)
    if to_onehot_y:
        return LabelView(input, target, mask, activation, True, ignore_index)
    if ignore_index is not None:
        mask = _ignoring(target, mask, ignore_index, together=activation == "softmax")
    return LabelView(input, target, mask, activation, False, None)


def _in_int64(label: int | None) -> int | None:
    """What a label of 64 bits without a sign is among those with one; a negative one is nowhere."""
    if label is None or label < 0:
        return None
    return label - 2**64 if label >= 2**63 else label


def _fit_target(target: Tensor, input: Tensor, to_onehot_y: bool) -> Tensor:
    channels = 1 if to_onehot_y else input.shape[1]
    if target.ndim == input.ndim - 1 and channels == 1:
        target = target.unsqueeze(1)
    if target.ndim != input.ndim or target.shape[0] != input.shape[0] or target.shape[2:] != input.shape[2:]:
        expected = "x".join(map(str, [input.shape[0], channels, *input.shape[2:]]))
        raise ShapeError(f"target has shape {shape(target)} and input {shape(input)}: expected a target of {expected}")
    if target.shape[1] != channels:
        given = f"target has {target.shape[1]} channels and input {input.shape[1]}"
        if to_onehot_y:
            raise ShapeError(f"{given}: with to_onehot_y=True it must be one channel of class indices (B1[spatial])")
        raise ShapeError(f"{given}: pass to_onehot_y=True for index maps (B1[spatial])")
    return target


def _ignoring(target: Tensor, mask: Tensor | None, ignore_index: int, together: bool) -> Tensor:
    """The mask without the ignored voxels of a membership target.

    A class number ignores the voxels of that class; any other number is a value that marks voxels in the target itself,
    channel by channel, or voxel by voxel where a softmax ties the channels together.
    """
    if target.shape[1] > 1 and 0 <= ignore_index < target.shape[1]:
        kept = (target[:, ignore_index : ignore_index + 1] != 1).expand(-1, 1, *target.shape[2:])
    else:
        kept = ~holds(target, ignore_index)
        if together:
            kept = kept.all(1, keepdim=True)
    if mask is None:
        return kept
    return torch.where(kept, mask, torch.zeros_like(mask))
