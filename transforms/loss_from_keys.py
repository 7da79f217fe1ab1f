"""From a batch dictionary to the arguments of a loss."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

WEIGHT = "weight"
MASK, SPACING = "mask", "spacing"
DEFAULTS = {"input": "pred", "target": "label"}


class LossFromKeys(torch.nn.Module):
    """Any loss as a function of a batch dictionary: each of its arguments has a key.

    Args:
        loss: a medloss loss, or any callable with named arguments.
        weight: key of voxel weights ``B 1 [spatial]``, such as :class:`ClassBalanceMapd` makes; a mask is multiplied by
            them, since a loss takes weights as its mask.
        keys: argument of the loss to key of the batch: ``input``, ``target``, ``mask``, ``spacing``, ``field``,
            ``distance_map``, ``instances``, ``skeleton``, ``class_present`` and whatever else the loss takes. ``input``
            is "pred" and ``target`` "label" where the loss takes them and no other key is given. Under ``spacing``
            there may be numbers, one per axis or one row of them per sample, or a MetaTensor, whose affine has them;
            all samples of a batch must agree.

    Raises:
        TypeError: an argument that the loss does not take.
        KeyError: the batch has no such key.
        ValueError: samples of unlike spacing.

    Example:
        >>> import torch
        >>> from medloss import DiceCELoss
        >>> from medloss.transforms import LossFromKeys
        >>> loss = LossFromKeys(DiceCELoss(softmax=True, to_onehot_y=True), mask="loss_mask")
        >>> batch = {
        ...     "pred": torch.zeros(1, 2, 4, 4),
        ...     "label": torch.zeros(1, 1, 4, 4),
        ...     "loss_mask": torch.ones(1, 1, 4, 4),
        ... }
        >>> loss(batch)
        tensor(1.3598)
    """

    def __init__(self, loss: Any, *, weight: Hashable | None = None, **keys: Hashable) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        taken = self._arguments()
        defaults = {name: key for name, key in DEFAULTS.items() if taken is None or taken.get(name, False)}
        self.keys: dict[str, Hashable] = {**defaults, **keys}
        wanted = [*keys, *([MASK] if weight is not None else [])]
        strange = [] if taken is None else [name for name in wanted if name not in taken]
        if strange:
            raise TypeError(
                f"{type(loss).__name__} takes no {', '.join(strange)}: its arguments are {', '.join(taken or ())}"
            )

    def forward(self, batch: Mapping[Any, Any]) -> Any:
        """The loss of a batch: a mapping of keys to tensors ``B ...``."""
        return self.loss(**self.arguments(batch))

    def terms(self, batch: Mapping[Any, Any]) -> Any:
        """The named terms of a loss that has them."""
        return self.loss.terms(**self.arguments(batch))

    def arguments(self, batch: Mapping[Any, Any]) -> dict[str, Any]:
        """What the loss is called with."""
        found = {name: self._value(batch, key) for name, key in self.keys.items()}
        if SPACING in found:
            found[SPACING] = spacing_of(found[SPACING])
        if self.weight is not None:
            weight = self._value(batch, self.weight)
            found[MASK] = weight * found[MASK] if MASK in found else weight
        return found

    def extra_repr(self) -> str:
        named = ", ".join(f"{name}={key!r}" for name, key in self.keys.items())
        return named if self.weight is None else f"{named}, weight={self.weight!r}"

    def _value(self, batch: Mapping[Any, Any], key: Hashable) -> Any:
        if key not in batch:
            raise KeyError(f"the batch has no {key!r}: its keys are {sorted(map(str, batch))}")
        return batch[key]

    def _arguments(self) -> dict[str, bool] | None:
        """The arguments of the loss, and whether each must be given; None where it takes any."""
        function = self.loss.forward if isinstance(self.loss, torch.nn.Module) else self.loss
        parameters = inspect.signature(function).parameters.values()
        if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
            return None
        return {each.name: each.default is each.empty for each in parameters}


def spacing_of(value: Any) -> Any:
    """The voxel size of a batch: of numbers, of one row per sample, or of the affine of a MetaTensor.

    Raises:
        ValueError: the samples differ.
    """
    if isinstance(value, MetaTensor):
        affine = value.affine.reshape(-1, *value.affine.shape[-2:])
        value = torch.linalg.vector_norm(affine[:, :-1, : value.ndim - 2], dim=1)
    if not isinstance(value, Tensor):
        return value
    rows = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    if bool((rows - rows[0]).abs().gt(1e-4 * rows[0].abs()).any()):
        raise ValueError(
            f"the samples of the batch have unlike spacings {rows.tolist()}: resample them, or take batch 1"
        )
    return rows[0].tolist()
