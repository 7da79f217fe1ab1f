"""Losses that are sums of others: of parts that look at the voxels once together, or each in its own way."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss, compute_region_sums, fused_loss
from medloss.joint import SumOfLosses, raw_values, total, weighted
from medloss.labels import LabelView, view_labels
from medloss.ops.masking import accumulation_dtype
from medloss.sums import RegionSums


class CompoundLoss(SumOfLosses, RegionLoss):
    """A weighted sum of label losses with common options: one view, one sweep, named terms."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation == "none":
            raise ValueError(f"{type(self).__name__} needs logits: pass softmax=True or sigmoid=True")

    def _raw(self, input: Tensor, target: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        return self._evaluated(view_labels(input, target, mask, **self.sweep))

    def _evaluated(self, view: LabelView) -> dict[str, Tensor]:
        """The value of each part, from one sweep."""
        sums = self._sums(view)
        return {name: part.evaluate(view, sums) for name, part in self._parts.items()}

    def _sums(self, view: LabelView) -> RegionSums:
        """What the parts share of the voxels."""
        return compute_region_sums(view, list(self._parts.values()))

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sum of the weighted terms."""
        view = view_labels(input, target, mask, **self.sweep)
        value = fused_loss(view, [(self._weights[name], part) for name, part in self._parts.items()])
        return total(weighted(self._evaluated(view), self._weights).values()) if value is None else value


class Mixture(SumOfLosses):
    """A weighted sum of label losses with common options and named terms, each with a look of its own at the voxels."""

    def _raw(self, input: Tensor, target: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        input = checks.image_like("input", input)
        # the gradients of the parts are added in this precision
        return raw_values(self._parts, input.to(accumulation_dtype(input)), target, mask)
