"""Label losses that look at the volume itself: what they see, and how their values become a loss."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from medloss import checks
from medloss.base import LabelLoss
from medloss.labels import LabelView, view_labels
from medloss.ops.masking import accumulation_dtype, blank, membership, present, voxel_weight
from medloss.ops.operator import without_autocast
from medloss.ops.probabilities import complement, probabilities
from medloss.reduction import mass, reduce


class LabelMaps(NamedTuple):
    """Probabilities and memberships of the classes that count, in the accumulation dtype, zero where nothing counts.

    Attributes:
        input: probabilities B N [spatial], differentiable.
        target: memberships B N [spatial].
        weight: weight of each voxel B 1 or B N [spatial], at least 0, or None where all count alike.
        rest: one minus the probabilities, as precise as they are, where it was asked for.
    """

    input: Tensor
    target: Tensor
    weight: Tensor | None
    rest: Tensor | None = None

    @property
    def complement(self) -> Tensor:
        """One minus the probabilities; with all their digits where ``rest`` was asked for."""
        return 1 - self.input if self.rest is None else self.rest

    @property
    def valid(self) -> Tensor | None:
        """Where voxels count, B 1 or B N [spatial], or None for everywhere."""
        return None if self.weight is None else self.weight > 0

    def weighted(self, values: Tensor) -> Tensor:
        """``values`` B N [spatial] times the weights."""
        return values if self.weight is None else values * self.weight

    def mass(self) -> Tensor:
        """The sum of the weights, B N."""
        return mass(self.weight, self.input.shape, self.input)


def label_maps(view: LabelView, first: int = 0, with_complement: bool = False) -> LabelMaps:
    """The maps of the classes from ``first`` on; the activation has seen all of them."""
    dtype = accumulation_dtype(view.input)
    weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
    logits = blank(view.input.to(dtype), weight)
    p = probabilities(logits, view.activation)
    target = membership(view.target, view.input.shape[1], view.indexed, dtype)
    q = complement(p, logits, view.activation) if with_complement else None
    if weight is not None and weight.shape[1] > 1:
        weight = weight[:, first:]
    q = None if q is None else blank(q[:, first:], weight)
    return LabelMaps(blank(p[:, first:], weight), blank(target[:, first:], weight), weight, q)


class MapLoss(LabelLoss):
    """A label loss with neighbourhoods, distances or ranks; a subclass writes :meth:`compare`.

    Args:
        empty: what a class costs that the target lacks: ``"smooth"`` leaves it to the formula, ``"skip"`` leaves it out
            of the mean.
    """

    empty: str = "smooth"
    EMPTY: ClassVar[tuple[str, ...]] = ("smooth", "skip")

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("empty", self.empty, self.EMPTY)

    def compare(self, maps: LabelMaps, *args: Any, **given: Any) -> Tensor:
        """The value of each sample and class, B N, from the maps and what :meth:`forward` was given beside them."""
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        with without_autocast(view.input.device.type):
            return self._reduced(view)

    def _reduced(self, view: LabelView, *args: Any, **given: Any) -> Tensor:  # what `compare` is handed, too
        maps = label_maps(view, self._first(view.input.shape[1]))
        return self._pooled(self.compare(maps, *args, **given), self._counting(maps), view.input.shape[1])

    def _counting(self, maps: LabelMaps) -> Tensor:
        """Which samples and classes count, B N."""
        valid = present(maps.mass())
        return valid & present(maps.target.flatten(2).amax(-1)) if self.empty == "skip" else valid

    def _pooled(self, values: Tensor, valid: Tensor, classes: int) -> Tensor:
        """The values B N with the factors of their classes, reduced over those that count."""
        factors = self._factors(classes)
        if factors is not None:
            values = values * factors[self._first(classes) :].to(values)
        return reduce(values, self.reduction, valid)


class SummedMapLoss(MapLoss):
    """A map loss that is arithmetic on sums over the voxels, which :meth:`total` takes; values are B N, or 1 N.

    Args:
        batch: sum over the batch before the formula, not after.
    """

    batch: bool = False

    def total(self, values: Tensor) -> Tensor:
        """The sum over the voxels of B N [spatial]: B N, or 1 N with ``batch``."""
        total = values.flatten(2).sum(-1)
        return total.sum(0, keepdim=True) if self.batch else total

    def _counting(self, maps: LabelMaps) -> Tensor:
        counting = super()._counting(maps)
        return counting.any(0, keepdim=True) if self.batch else counting
