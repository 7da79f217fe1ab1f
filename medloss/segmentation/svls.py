"""Spatially varying label smoothing (SVLS): labels are soft where regions meet."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.base import compute_region_sums
from medloss.labels import LabelView, view_labels
from medloss.ops.operator import without_autocast
from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.segmentation.neighbourhood import presence, sampled_gaussian, seen, window_sums
from medloss.sums import RegionSums


class SpatiallyVaryingLabelSmoothingLoss(CrossEntropyLoss):
    r"""Cross-entropy with labels that take half from a voxel and half from its neighbours (SVLS).

    .. math::
        L = CE(z, u), \qquad u_i = \frac12 t_i + \frac12 \frac{\sum_{j \ne i} g_{ij} t_j}{\sum_{j \ne i} g_{ij}}

    with memberships t and a Gaussian window g. Inside a region the label stays hard, at its border it says how sure a
    rater can be.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial].

    Range: [0, inf).

    Limits: where all voxels are of one class, equals :class:`~medloss.CrossEntropyLoss`.

    Args:
        kernel_size: odd length of the window along each axis, in voxels, at least 3.
        sigma: width of the Gaussian, in voxels.
        border: ``"renormalise"``: the neighbours are the valid voxels that the window holds; a voxel without any keeps
            its label. ``"replicate"``: beyond the border lie copies of the nearest voxels, as in the authors' code.
        include_background: whether the soft labels of class 0 count.
        weight, process_group: see :class:`~medloss.CrossEntropyLoss`.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an even kernel, an unknown border, ``sigmoid``, or ``label_smoothing``, which this replaces.

    References:
        [1] Islam and Glocker, Spatially varying label smoothing: capturing uncertainty from expert annotations,
        IPMI 2021.

    >>> import torch, medloss
    >>> p = torch.tensor([[[0.5, 0.5, 0.9], [0.5, 0.5, 0.1]]])
    >>> loss = medloss.SpatiallyVaryingLabelSmoothingLoss(to_onehot_y=True, reduction="none")
    >>> loss(p.log(), torch.tensor([[[0, 0, 1]]]))  # the last voxel: half of -log 0.1 and half of -log 0.9
    tensor([[0.6931, 0.6931, 1.2040]])
    """

    kernel_size: int = 3
    sigma: float = 1.0
    border: str = "renormalise"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("border", self.border, ("renormalise", "replicate"))
        if not isinstance(self.kernel_size, int) or self.kernel_size < 3 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={self.kernel_size!r} must be an odd number of voxels, at least 3")
        if not self.sigma > 0:
            raise ValueError(f"sigma={self.sigma!r} must be above 0")
        if self.sigmoid or self.label_smoothing:
            raise ValueError("spatial smoothing is of labels of a softmax: it takes no sigmoid and no label_smoothing")

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self.evaluate(view_labels(input, target, mask, **self.sweep), None)

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The cross-entropy with the smoothed labels, whatever was summed of the hard ones."""
        with without_autocast(view.input.device.type):
            labels, weight = self._smoothed(view)
        view = view._replace(target=labels, mask=weight, indexed=False, ignore_index=None)
        return super().evaluate(view, compute_region_sums(view, [self]))

    def _smoothed(self, view: LabelView) -> tuple[Tensor, Tensor | None]:
        members, weight = seen(view)
        window = sampled_gaussian(self.kernel_size, self.sigma)
        centre = window[self.kernel_size // 2] ** (members.ndim - 2)
        there = presence(members, weight)
        around = window_sums(members, window, self.border) - centre * members
        mass = window_sums(there, window, self.border) - centre * there
        alone = mass < 1e-6  # no neighbour but rounding
        around = torch.where(alone, members, around / torch.where(alone, torch.ones_like(mass), mass))
        return (members + around) / 2, weight
