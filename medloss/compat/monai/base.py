"""What MONAI's losses share: their options, what they do with one channel, targets, class weights and reductions."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medloss import checks
from medloss.base import LabelLoss, RegionLoss, compute_region_sums
from medloss.checks import ShapeError
from medloss.constants import held
from medloss.labels import LabelView, view_labels
from medloss.ops.masking import holds
from medloss.ops.probabilities import probabilities
from medloss.reduction import REDUCTIONS, reduce
from medloss.sums import RegionSums

# MONAI's enumerations are strings; their names stand in the signatures, which are the peer's to the letter
LossReduction: TypeAlias = str
Weight: TypeAlias = str
KernelType: TypeAlias = str


class OptionError(ValueError, RuntimeError):
    """A bad option, where MONAI leaves the check to PyTorch, whose errors are RuntimeErrors."""


class MisfitError(ShapeError, RuntimeError):
    """Tensors that do not fit, where MONAI leaves the check to PyTorch."""


class LabelError(OptionError, IndexError):
    """A label outside the classes; an entropy that meets one raises an IndexError."""


def option(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """An option that may come as a member of MONAI's enumerations, as a plain string."""
    value = getattr(value, "value", value)
    checks.choice(name, value, allowed)
    return str(value)


def floating(tensor: Any, name: str = "input") -> Tensor:
    """A plain tensor, integers made float."""
    tensor = checks.plain(name, tensor)
    return tensor if tensor.is_floating_point() else tensor.float()


def multiplied(tensor: Tensor, mask: Tensor) -> Tensor:
    """``tensor * mask``, and 0 where the mask is 0 whatever the tensor holds there."""
    return torch.where(mask != 0, tensor * mask, 0)


class MonaiLoss(_Loss):
    """A drop-in: constructor arguments are attributes, and ``forward`` goes by their present values, as in MONAI."""

    if TYPE_CHECKING:  # attributes of any kind: `_keep` makes them

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, reduction: Any = "mean") -> None:
        super().__init__(reduction=option("reduction", reduction, REDUCTIONS))

    def _keep(self, given: Mapping[str, Any]) -> None:
        """Make attributes of a constructor's arguments, which ``locals()`` gives."""
        for name, value in given.items():
            if name not in ("self", "__class__", "reduction", "weight"):
                setattr(self, name, float(value) if name.startswith("smooth") else value)

    def _reduced(self, values: Tensor) -> Tensor:
        checks.choice("reduction", self.reduction, REDUCTIONS)
        return reduce(values, self.reduction)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Take the peer's buffers as a checkpoint has them, of any shape, or as they are where it lacks them.

        MONAI's own losses fail on checkpoints of releases in which a buffer was none yet, and on a class weight of one
        number, which their first call makes longer.
        """
        mine = {prefix + name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        for key, buffer in mine.items():
            if key in state_dict:
                self._buffers[key.removeprefix(prefix)] = state_dict[key].detach().clone().to(buffer)
        missing = args[2]
        before = set(missing)
        super()._load_from_state_dict({k: v for k, v in state_dict.items() if k not in mine}, prefix, *args)
        missing[:] = [key for key in missing if key in before or key not in mine]


class Seen(NamedTuple):
    """Input and target as MONAI's options make them.

    Attributes:
        view: both, with the activation still to come.
        first: the first class that counts.
        rank: number of axes of the input, batch and channels among them.
    """

    view: LabelView
    first: int
    rank: int

    @property
    def classes(self) -> int:
        """How many classes count."""
        return self.view.input.shape[1] - self.first


class LabelDropIn(MonaiLoss):
    """A drop-in between a segmentation and its target."""

    batch: bool = False
    ignore_index: int | None = None
    class_weight: Tensor | None

    def _labels(self, given: Mapping[str, Any]) -> None:
        """Check the options of the activation, and keep all."""
        act, flags = given["other_act"], (given["sigmoid"], given["softmax"])
        if act is not None and not callable(act):
            raise TypeError(f"other_act must be callable, not {type(act).__name__}")
        if sum(map(int, flags)) + int(act is not None) > 1:
            raise ValueError("sigmoid, softmax and other_act exclude each other: choose one activation")
        self._keep(given)

    def _see(self, input: Any, target: Any, activated: bool = False, indexed: bool | None = None) -> Seen:
        """Check input and target against each other and the options, with MONAI's warnings.

        Args:
            input, target: as the caller gave them.
            activated: the activation has been.
            indexed: whether the target holds class indices, where somebody else has looked at ``to_onehot_y``.
        """
        input, target = floating(input), checks.plain("target", target)
        classes, ignore = input.shape[1], self.ignore_index
        activation = "none" if activated else self._activation(classes)
        indexed = has_channels("to_onehot_y", self.to_onehot_y, classes) if indexed is None else indexed
        first = int(has_channels("include_background", not self.include_background, classes, False))
        fitting(input, target, indexed)
        act = None if activated else self.other_act
        view: dict[str, Any] = {"activation": activation, "other_act": act, "to_onehot_y": indexed}
        if indexed:
            target = indices(target, classes, ignore)
            return Seen(view_labels(input, target, **view, ignore_index=ignore), first, input.ndim)
        mask = None if ignore is None else kept(target, ignore)
        if mask is None or not target.is_floating_point() or target.shape[1] == 1:
            return Seen(view_labels(input, target, mask, **view), first, input.ndim)
        # memberships may be soft, and MONAI then multiplies prediction and target by what they leave
        input = multiplied(self._activated(input, mask, activation), mask)
        return Seen(view_labels(input, multiplied(target, mask)), first, input.ndim)

    def _activation(self, classes: int) -> str:
        """What stands between input and probabilities, beside ``other_act``."""
        softmax = has_channels("softmax", self.softmax, classes)
        return "softmax" if softmax else "sigmoid" if self.sigmoid else "none"

    def _activated(self, input: Tensor, mask: Tensor, activation: str) -> Tensor:
        """The probabilities where the mask is not 0."""
        input = torch.where(mask != 0, input, 0)
        p = probabilities(input, activation)
        return p if self.other_act is None else self.other_act(p)

    def _values(self, seen: Seen, loss: RegionLoss, sums: RegionSums | None = None) -> Tensor:
        """The loss of each sample and class B N; N for the batch as one; a scalar without spatial axes."""
        sums = (compute_region_sums(seen.view, [loss]) if sums is None else sums).classes_from(seen.first)
        if self.batch:
            return loss.finalise(sums.over_batch())[0]
        if seen.rank == 2:  # MONAI sums over no axes, which to PyTorch means over all
            sums = RegionSums(sums.columns.sum((0, 1)))
        return loss.finalise(sums)

    def _called(self, seen: Seen, kind: Callable[..., LabelLoss], **options: Any) -> Tensor:
        """A native loss of its own kind, called on what was seen, not reduced."""
        view, flags = seen.view, {"include_background": seen.first == 0, "to_onehot_y": seen.view.indexed}
        if view.activation != "none":
            flags[view.activation] = True
        return native(kind, **flags, **options, reduction="none")(view.input, view.target)

    def _broadcastable(self, values: Tensor, rank: int) -> Tensor:
        """Reduced; where nothing is, of a shape that once was to fit the input's."""
        if self.reduction == "none":
            return values.reshape([*values.shape[:2], *[1] * (rank - 2)])
        return self._reduced(values)

    def _keep_weight(self, weight: Any) -> None:
        """Class weights, a buffer by the peer's name, in ``state_dict()`` as there."""
        self.register_buffer("class_weight", None if weight is None else held(weight))


def has_channels(name: str, wanted: bool, classes: int, told: bool = True) -> bool:
    """Whether an option is wanted and has more than one channel to work on; MONAI warns and goes on without."""
    if wanted and classes == 1:
        # begins as MONAI's does, by which filters know it
        warnings.warn(f"single channel prediction, `{name}={told}` has no meaning and is ignored.", stacklevel=5)
    return bool(wanted) and classes > 1


def fitting(input: Tensor, target: Tensor, indexed: bool) -> None:
    """Raise where the shapes differ, or the labels have no channel of their own: the drop-ins guess nothing."""
    expected = [input.shape[0], 1 if indexed else input.shape[1], *input.shape[2:]]
    if list(target.shape) != expected:
        given = f"target has shape {checks.shape(target)} and input {checks.shape(input)}"
        raise ShapeError(f"{given}: expected a target of {'x'.join(map(str, expected))}")


def indices(target: Tensor, classes: int, ignore_index: int | None = None) -> Tensor:
    """Labels as integers; one outside the classes raises, on the CPU, where looking costs no waiting."""
    target = target.long() if target.is_floating_point() else target
    if target.device.type == "cpu" and target.numel() and not torch.compiler.is_compiling():
        low, high = target.aminmax()
        if low < 0 or high >= classes:
            try:
                checks.labels_within(target, classes, ignore_index)
            except ValueError as fault:
                raise LabelError(str(fault)) from None
    return target


def kept(target: Tensor, ignore_index: int) -> Tensor:
    """What an ignored label leaves of each voxel, by MONAI's reading of a target of memberships.

    One channel holds labels; of several, a class number ignores as much of a voxel as belongs to that class, and any
    other number the voxels that belong to none.
    """
    if target.shape[1] == 1:
        return (~holds(target, ignore_index)).float()
    if 0 <= ignore_index < target.shape[1]:
        return 1 - target[:, ignore_index : ignore_index + 1].float()
    return (target.sum(1, keepdim=True) > 0).float()


def weighted(values: Tensor, weight: Tensor | None, classes: int) -> Tensor:
    """Values times the weights of the classes along the last axis; one class alone is not weighed, as in MONAI's Dice.

    Raises:
        ValueError: another number of weights than of classes, or a negative one.
    """
    if weight is None or classes == 1:
        return values
    if weight.ndim and weight.shape[0] != classes:
        raise ValueError(
            f"weight has {weight.shape[0]} entries for {classes} classes: give one per class that counts, none for the "
            "background without include_background"
        )
    if not weight.is_meta and weight.min() < 0:
        raise ValueError(f"weight holds negative values: {weight.tolist()}")
    return values * weight.to(values)


@functools.lru_cache(maxsize=256)
def native(kind: Callable[..., LabelLoss], **options: Any) -> Any:
    """The loss that holds the formula; it has no state, so one serves all."""
    return kind(**options)
