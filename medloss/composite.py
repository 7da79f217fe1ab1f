"""Losses made of losses: weighted sums with named terms and schedules, and a mask for losses that know none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medloss import checks
from medloss.base import Loss, Term
from medloss.joint import raw_values, total, weighted
from medloss.options import Configured

AIDS = ("spacing", "distance_map", "skeleton", "instances")
"""Arguments that say how a loss computes, and not which voxels or classes count: a term that does not know them is
right without them."""


@dataclass(frozen=True)
class Schedule:
    """A weight that goes linearly from ``start`` to ``end`` over ``epochs`` epochs, and stays there.

    >>> [Schedule(start=0.0, end=1.0, epochs=4).at(epoch) for epoch in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """

    start: float
    end: float
    epochs: int

    def __post_init__(self) -> None:
        checks.at_least("epochs", self.epochs, 1)
        checks.at_least("start", self.start, 0)
        checks.at_least("end", self.end, 0)

    def at(self, epoch: int) -> float:
        """The weight in an epoch, counted from 0."""
        return self.start + (self.end - self.start) * min(max(epoch, 0) / self.epochs, 1.0)


class WeightedSum(nn.Module):
    r"""Any losses of one kind, weighted and added, each term by name: :math:`L = \sum_k \lambda_k L_k`.

    Label losses that look at input and target alike share one sweep over the voxels.

    A call takes what the losses take. ``spacing``, ``distance_map``, ``skeleton`` and ``instances`` go to the terms
    that know them, and one at least must; everything else, such as the mask, goes to all.

    Args:
        losses: the losses by name.
        weights: factor of each, at least 0, or a :class:`Schedule`; 1 where none is given. A term of weight 0 is still
            computed, and told by :meth:`terms`.

    Raises:
        ValueError: no loss, a weight for a loss that is not there, a negative weight, or a reduction of ``"none"``.
        TypeError: an argument of the call that no term knows.

    >>> import medloss
    >>> loss = WeightedSum(
    ...     {"dice": medloss.DiceLoss(sigmoid=True), "focal": medloss.FocalLoss()}, weights={"focal": 0.5}
    ... )
    >>> sorted(loss.terms(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)))
    ['dice', 'focal']
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float | Schedule] | None = None) -> None:
        super().__init__()
        if not losses:
            raise ValueError("WeightedSum was given no loss")
        self._losses = nn.ModuleDict()
        self._weights: dict[str, float | Schedule] = {}
        self._known: dict[str, frozenset[str]] = {}
        for name, loss in losses.items():
            self._losses[name] = self._kept(name, loss)
        self.weights = weights or {}
        self.epoch = 0

    @property
    def losses(self) -> MutableMapping[str, nn.Module]:
        """The losses by name. One that is set takes the place of the term's."""
        return _Terms(self._losses, self._kept)

    @property
    def weights(self) -> MutableMapping[str, float | Schedule]:
        """The weights by name, schedules as they are. One that is set counts from the next call on."""
        return _Terms(self._weights, self._weighing)

    @weights.setter
    def weights(self, weights: Mapping[str, float | Schedule]) -> None:
        unknown = sorted(set(weights) - set(self._losses))
        if unknown:
            raise ValueError(f"weights name {', '.join(unknown)}, and the losses are {', '.join(self._losses)}")
        self._weights = {name: self._weighing(name, weights.get(name, 1.0)) for name in self._losses}

    def _kept(self, name: str, loss: nn.Module) -> nn.Module:
        """The loss, of which is remembered which aids it knows."""
        parameters = inspect.signature(loss.forward).parameters
        catches_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        self._known[name] = frozenset(aid for aid in AIDS if catches_all or aid in parameters)
        return self._addable(name, loss)

    @staticmethod
    def _addable(name: str, loss: nn.Module) -> nn.Module:
        if getattr(loss, "reduction", "mean") == "none":
            raise ValueError(f"{name} has reduction='none': its values cannot be added to others")
        return loss

    @staticmethod
    def _weighing(name: str, weight: float | Schedule) -> float | Schedule:
        if not isinstance(weight, Schedule):
            checks.at_least(f"weight of {name}", weight, 0)
        return weight

    def set_epoch(self, epoch: int) -> None:
        """Move the schedules to an epoch, counted from 0."""
        self.epoch = int(epoch)

    def weight(self, name: str) -> float:
        """The weight of a term in this epoch."""
        weight = self._weights[name]
        return weight.at(self.epoch) if isinstance(weight, Schedule) else float(weight)

    def terms(self, *args: Any, **kwargs: Any) -> dict[str, Term]:
        """Each term by name: raw, weight, and weight times raw."""
        for name, loss in self._losses.items():
            self._addable(name, loss)  # its reduction may have been set since
        aids = {aid: kwargs.pop(aid) for aid in AIDS if aid in kwargs}
        for aid in aids:
            if not any(aid in known for known in self._known.values()):
                raise TypeError(f"none of the terms {', '.join(self._losses)} takes {aid}")
        own = {name: {aid: aids[aid] for aid in aids if aid in known} for name, known in self._known.items()}
        losses: Any = self._losses  # a ModuleDict, which is no Mapping to a type checker
        return weighted(raw_values(losses, *args, own=own, **kwargs), {name: self.weight(name) for name in losses})

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The sum of the weighted terms; arguments are those of the losses."""
        return total(self.terms(*args, **kwargs).values())

    def extra_repr(self) -> str:
        """The weights."""
        return ", ".join(f"{name}={weight}" for name, weight in self._weights.items())


class _Terms(MutableMapping[str, Any]):
    """What a sum has by the names of its terms: others may take their places, and no name comes or goes."""

    def __init__(self, held: Any, check: Callable[[str, Any], Any]) -> None:
        self._held, self._check = held, check

    def __getitem__(self, name: str) -> Any:
        return self._held[name]

    def __setitem__(self, name: str, thing: Any) -> None:
        if name not in self._held:
            raise KeyError(f"{name} is none of the terms {', '.join(self._held)}: make a new WeightedSum for others")
        self._held[name] = self._check(name, thing)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"the term {name} stays: give it a weight of 0")

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return repr(dict(self))


class MaskedLoss(Configured, kw_only=False):
    r"""Any loss of two tensors, on the voxels under a mask: :math:`L(x[\text{mask}], y[\text{mask}])`.

    A loss of this package is handed the mask, which it knows how to use. Any other callable gets the voxels under the
    mask cut out, one sample at a time, as 1 C voxels (a target of class indices as 1 1 voxels or 1 voxels), and the
    result is the mean over the samples that have any. That is right for a loss without neighbourhood; it never
    multiplies by the mask, which would make zeros count as predictions.

    Args:
        loss: a loss, or a callable of input and target.

    Shape: input B C [spatial], target B C, B 1 or B [spatial], mask B 1 [spatial].

    Raises:
        TypeError: the loss is not callable.
        ShapeError: the mask does not fit the input.

    >>> x, y = torch.tensor([[[1.0, 2.0, 9.0]]]), torch.tensor([[[1.0, 4.0, 0.0]]])
    >>> MaskedLoss(nn.MSELoss())(x, y, torch.tensor([[[1, 1, 0]]]))
    tensor(2.)
    """

    loss: Callable[..., Tensor]

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise TypeError(f"loss must be callable, not {type(self.loss).__name__}")

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss under the mask; without a mask, the loss."""
        if mask is None:
            return self.loss(input, target)
        if isinstance(self.loss, (Loss, WeightedSum, MaskedLoss)):
            return self.loss(input, target, mask)
        keep = checks.mask_like(mask, input) > 0
        values = []
        for x, y, inside in zip(input, target, keep[:, 0]):
            if bool(inside.any()):
                values.append(self.loss(x[:, inside].unsqueeze(0), y[..., inside].unsqueeze(0)))
        return torch.stack(values).mean() if values else (input * 0).nan_to_num().sum()
