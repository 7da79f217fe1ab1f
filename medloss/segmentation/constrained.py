"""Cross-entropy with a constraint on the logits, which keeps them from growing without end."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.base import compute_region_sums
from medloss.labels import LabelView, view_labels
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import without_autocast
from medloss.ops.probabilities import finite
from medloss.reduction import ratio, times
from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.sums import RegionSums, all_reduced


class ConstrainedCrossEntropyLoss(CrossEntropyLoss):
    """Cross-entropy plus ``alpha`` times the mean of a penalty; a subclass writes :meth:`constraint`."""

    alpha: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        if self.sigmoid:
            raise ValueError(f"{type(self).__name__} constrains the logits of a softmax: it takes no sigmoid")

    def constraint(self, view: LabelView, reduce: bool) -> Tensor:
        """The penalty of each logit times the voxel's weight, B N [spatial]; summed over the voxels with ``reduce``."""
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        # the gradients of both terms may cancel: they meet before they are rounded to half precision
        view = view._replace(input=finite(view.input.to(accumulation_dtype(view.input))))
        return self._both(view, compute_region_sums(view, [self]))

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """Cross-entropy and constraint, each the mean over what it counts."""
        return self._both(view._replace(input=finite(view.input)), sums)

    def _both(self, view: LabelView, sums: RegionSums) -> Tensor:
        """The loss of finite logits, of which there is one copy for both terms."""
        entropy, first = super().evaluate(view, sums), self._first(view.input.shape[1])
        with without_autocast(view.input.device.type):
            penalty = self.constraint(view, self.reduction != "none")[:, first:]
            if self.reduction != "mean":
                penalty = penalty.mean(1)
                return entropy + times(self.alpha, penalty if self.reduction == "none" else penalty.sum())
            pair = torch.stack([penalty.sum(), sums.voxels[:, first:].sum()])
            total, mass = all_reduced(RegionSums(pair), self.process_group).columns
            return entropy + times(self.alpha, ratio(total, mass))
