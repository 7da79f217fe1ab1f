"""Deep supervision: one loss on the outputs of a network at several resolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medloss import checks
from medloss.base import LabelLoss, Term
from medloss.joint import total, weighted
from medloss.ops.masking import holds
from medloss.options import KW_ONLY, Configured, twin

WEIGHTS = ("exp", "same", "two")
RESIZE = ("nearest", "max", "soft")


class DeepSupervisionLoss(Configured, kw_only=False):
    r"""A loss of each output of a network that answers at several resolutions, weighted and added.

    .. math:: L = \sum_l \lambda_l L(\text{output}_l, \text{target at the size of output}_l)

    Shape: outputs, the finest first: a list or tuple of B N [spatial], a dictionary of them, or one tensor that stacks
    them, B K N [spatial]; one output alone is taken as it is. target: one tensor at full resolution, or a list (or a
    dictionary with the names of the outputs) with one for each output. mask: one tensor B 1 [spatial], or as many.

    Args:
        loss: the loss, whose ``reduction`` is ``"mean"`` or ``"sum"``.
        weights: ``"exp"``: 1, 1/2, 1/4, ...; ``"same"``: 1; ``"two"``: 1, then 1/2; or one number for each output. An
            output of weight 0 is left out.
        normalise: divide the weights by their sum.
        least: least weight under ``"exp"``.
        drop_last: whether the coarsest output of several gets no weight, as in nnU-Net.
        resize: how one target becomes as coarse as an output. ``"nearest"``: the voxel nearest to the centre, which may
            lose a small lesion. ``"max"``: the largest label of the cell (of memberships, the largest of each channel),
            so that no lesion is lost; of two foreground labels in a cell the higher one stays. ``"soft"``: the share of
            each class in the cell, for losses that take memberships. A cell is ignored where it holds nothing but
            ignored labels. Masks take the nearest voxel.

    ``weights="exp", normalise=False, least=0.0625`` is MONAI's.

    Raises:
        TypeError: the loss is not callable, or a target is no tensor.
        ValueError: an unknown option, weights or targets that do not fit the outputs, or a target of memberships that
            cannot be resized so.

    References:
        [1] Lee et al., Deeply-supervised nets, AISTATS 2015.
        [2] Isensee et al., nnU-Net, Nature Methods 2021 (the weights).

    >>> loss = DeepSupervisionLoss(nn.MSELoss())
    >>> loss([torch.ones(1, 1, 4), torch.ones(1, 1, 2)], torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]))  # 2/3 1/2 + 1/3 1/2
    tensor(0.5000)
    """

    loss: nn.Module
    _: KW_ONLY
    weights: str | Sequence[float] = "exp"
    normalise: bool = True
    least: float = 0.0
    drop_last: bool = False
    resize: str = "nearest"

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise TypeError(f"loss must be callable, not {type(self.loss).__name__}")
        self._check_reduction()
        checks.choice("resize", self.resize, RESIZE)
        checks.at_least("least", self.least, 0)
        if isinstance(self.weights, str):
            checks.choice("weights", self.weights, WEIGHTS)
        else:
            self.weights = tuple(float(weight) for weight in self.weights)
            for weight in self.weights:
                checks.at_least("a weight", weight, 0)
        # shares of classes are memberships: they go to a twin of a loss that takes indices
        self._soft: LabelLoss | None = None
        if self.resize == "soft" and isinstance(self.loss, LabelLoss):
            self._soft = twin(self.loss, to_onehot_y=False, ignore_index=None)

    def _check_reduction(self) -> None:
        if getattr(self.loss, "reduction", "mean") == "none":  # it may have been set since
            raise ValueError("the loss has reduction='none': values of outputs of unlike sizes cannot be added")

    def level_weights(self, levels: int) -> list[float]:
        """The weight of each of so many outputs."""
        if not isinstance(self.weights, str):
            if len(self.weights) != levels:
                raise ValueError(f"there are {len(self.weights)} weights for {levels} outputs")
            found = list(self.weights)
        elif self.weights == "exp":
            found = [max(0.5**level, self.least) for level in range(levels)]
        else:
            found = [1.0 if level == 0 or self.weights == "same" else 0.5 for level in range(levels)]
        if self.drop_last and levels > 1:
            found[-1] = 0.0
        if not sum(found) > 0:
            raise ValueError(f"no output has a weight above 0: {found}")
        divisor = sum(found) if self.normalise else 1.0
        return [weight / divisor for weight in found]

    def terms(self, outputs: Any, target: Any, mask: Any = None, **more: Any) -> dict[str, Term]:
        """The term of each output by its name (or its number): raw, weight, and weight times raw."""
        self._check_reduction()
        names, levels = self._levels(outputs, _first(target))
        targets, masks = _each("target", target, names), _each("mask", mask, names)
        weights = dict(zip(names, self.level_weights(len(levels)), strict=True))
        raw = {
            name: self._at(output, checks.plain("target", labels), keep, **more)
            for name, output, labels, keep in zip(names, levels, targets, masks, strict=True)
            if weights[name]
        }
        return weighted(raw, weights)

    def forward(self, outputs: Any, target: Any, mask: Any = None, **more: Any) -> Tensor:
        """The weighted sum over the outputs; what else is given goes to every call of the loss."""
        return total(self.terms(outputs, target, mask, **more).values())

    def _at(self, output: Tensor, target: Tensor, mask: Tensor | None, **more: Any) -> Tensor:
        """The loss of one output."""
        size, loss, held = output.shape[2:], self.loss, None
        if target.shape[-len(size) :] != size:
            target, held = self._resized(target, output)
            if self._soft is not None and self._indexed:
                loss = self._soft
        if mask is not None:
            mask = nearest(checks.plain("mask", mask), size)
        if held is not None:
            mask = held if mask is None else torch.where(held, mask, torch.zeros_like(mask))
        return loss(output, target, **more) if mask is None else loss(output, target, mask=mask, **more)

    def _resized(self, target: Tensor, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """A target as coarse as an output and, for shares of indices, the cells that hold any."""
        size, ignore_index = output.shape[2:], _option(self.loss, "ignore_index")
        if self.resize == "nearest":
            return nearest(target, size), None
        if target.ndim == output.ndim - 1:
            target = target.unsqueeze(1)
        indexed = self._indexed or target.shape[1] != output.shape[1]
        if not indexed and self.resize == "soft" and ignore_index is not None:
            raise ValueError("resize='soft' cannot tell ignored voxels from memberships: pass indices, or a mask")
        if not indexed and self.resize == "max" and target.shape[1] > 1 and _option(self.loss, "softmax"):
            raise ValueError("resize='max' makes classes overlap, which a softmax forbids: pass indices")
        if self.resize == "max":
            return largest(target, size, ignore_index), None
        return shares(target, output, ignore_index) if indexed else (_pool("avg", _real(target), size), None)

    def _levels(self, outputs: Any, target: Tensor) -> tuple[list[str], list[Tensor]]:
        """The names of the outputs, and the outputs."""
        if isinstance(outputs, Mapping):
            return list(outputs), list(outputs.values())
        if isinstance(outputs, Tensor):
            outputs = outputs.unbind(1) if self._stacked(outputs, target) else [outputs]
        if not outputs:
            raise ValueError("there is no output")
        return [str(level) for level in range(len(outputs))], list(outputs)

    def _stacked(self, outputs: Tensor, target: Tensor) -> bool:
        """Whether this is a stack of outputs. One output, too, has one axis more than indices B [spatial]."""
        if outputs.ndim != target.ndim + 1:
            return outputs.ndim > target.ndim
        memberships = not self._indexed and any(isinstance(part, LabelLoss) for part in _parts(self.loss))
        return memberships or target.shape[1] == 1 or outputs.shape[2:] != target.shape[1:]

    @property
    def _indexed(self) -> bool:
        """Whether the loss takes class indices."""
        return bool(_option(self.loss, "to_onehot_y"))

    def extra_repr(self) -> str:
        """The options."""
        return self._told("loss")


def _parts(loss: Any) -> list[Any]:
    return list(loss.modules()) if isinstance(loss, nn.Module) else [loss]


def _option(loss: Any, name: str) -> Any:
    """An option of the loss, or of the first of its parts that has it."""
    found = (getattr(part, name, None) for part in _parts(loss))
    return next((value for value in found if value is not None and value is not False), None)


def _first(target: Any) -> Tensor:
    if isinstance(target, Mapping):
        target = list(target.values())
    return checks.plain("target", target[0] if isinstance(target, (list, tuple)) and target else target)


def _each(name: str, given: Any, names: list[str]) -> list[Any]:
    """One target or mask for each output."""
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(f"{name} has the names {', '.join(given)} and the outputs {', '.join(names)}")
        return [given[level] for level in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ValueError(f"{name} holds {len(given)} tensors for {len(names)} outputs")
        return list(given)
    return [given] * len(names)


def nearest(tensor: Tensor, size: Sequence[int]) -> Tensor:
    """The voxel nearest to the centre of each new one, along the last axes; of any dtype, with nothing rounded.

    >>> nearest(torch.arange(6).view(1, 1, 6), (3,))
    tensor([[[1, 3, 5]]])
    """
    for axis, new in enumerate(size, start=tensor.ndim - len(size)):
        old = tensor.shape[axis]
        if old != new:
            index = ((2 * torch.arange(new, device=tensor.device) + 1) * old) // (2 * new)
            tensor = tensor.index_select(axis, index)
    return tensor


def largest(target: Tensor, size: Sequence[int], ignore_index: int | None) -> Tensor:
    """The largest value of each cell that is not ignored, and the ignored one where there is no other."""
    values = _real(target)
    if ignore_index is not None:
        values = torch.where(holds(target, ignore_index), torch.full_like(values, -torch.inf), values)
    values = _pool("max", values, size)
    if ignore_index is not None:
        values = torch.where(values.isneginf(), torch.full_like(values, ignore_index), values)
    return values.to(target.dtype)


def shares(target: Tensor, output: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """The share of each class in the labels of each cell, and whether the cell holds any."""
    size, classes = output.shape[2:], output.shape[1]
    valid = (target >= 0) & (target < classes)
    if ignore_index is not None:
        valid = valid & ~holds(target, ignore_index)
    held = _pool("avg", valid.float(), size)
    # class by class: no one-hot at full resolution
    found = torch.cat([_pool("avg", (valid & (target == label)).float(), size) for label in range(classes)], 1)
    return found / torch.where(held > 0, held, torch.ones_like(held)), held > 0


def _pool(kind: str, tensor: Tensor, size: Sequence[int]) -> Tensor:
    """The largest value or the mean of the cell of each new voxel."""
    return getattr(F, f"adaptive_{kind}_pool{len(size)}d")(tensor, tuple(size))


def _real(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
