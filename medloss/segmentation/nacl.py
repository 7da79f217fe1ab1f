"""Neighbour-aware calibration (NACL): logits that follow the classes around a voxel."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.ops import pointwise
from medloss.segmentation.constrained import ConstrainedCrossEntropyLoss
from medloss.segmentation.neighbourhood import gaussian_window, mean_window, proportions, seen

DISTANCES = {"l1": "absolute", "l2": "squared"}


class NACLLoss(ConstrainedCrossEntropyLoss):
    r"""Cross-entropy, plus the distance of the logits from the share of each class in the neighbourhood.

    .. math::
        L = CE(z, t) + \alpha \frac{1}{N \sum_i w_i} \sum_i w_i \sum_c |z_{ic} - u_{ic}|

    with logits z, N classes, and the share :math:`u_{ic}` of class c in the window around voxel i. A network that is
    sure of itself inside a region and not at its border is better calibrated.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial].

    Range: [0, inf).

    Limits: alpha = 0 is :class:`~medloss.CrossEntropyLoss`.

    Authors' code: equal with ``border="background"``. Its Gaussian is the window of
    :class:`~medloss.SpatiallyVaryingLabelSmoothingLoss`, whose weights sum to 2: the result is no share, and there is
    no option for it. ``"gaussian"`` is MONAI's.

    Args:
        alpha: weight of the constraint, at least 0.
        distance: ``"l1"`` as above, or ``"l2"``: squares in place of absolute values.
        kernel_type: ``"mean"``: a box of ``kernel_size``; ``"gaussian"``: of ``sigma``, cut off at 4 sigma.
        kernel_size: odd length of the box along each axis, in voxels.
        sigma: width of the Gaussian, in voxels.
        border: ``"renormalise"``: the share of a class is that of the valid voxels that the window holds. ``"zero"``:
            beyond the border, and under the mask, lie voxels of no class; MONAI's. ``"background"``: voxels of class 0;
            the authors'.
        include_background: whether voxels of class 0 count in the cross-entropy, and its logits in the constraint.
        weight, label_smoothing, process_group: of the cross-entropy; see :class:`~medloss.CrossEntropyLoss`.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an unknown option, an even kernel, a negative alpha, or ``sigmoid``.

    References:
        [1] Murugesan et al., Trust your neighbours: penalty-based constraints for model calibration, MICCAI 2023.

    >>> import torch, medloss
    >>> logits, target = torch.zeros(1, 2, 3), torch.tensor([[[0, 0, 1]]])
    >>> loss = medloss.NACLLoss(to_onehot_y=True, alpha=3)
    >>> loss(logits, target)  # log 2, and 3 times 1/2: the shares of a voxel's classes add up to 1
    tensor(2.1931)
    """

    distance: str = "l1"
    kernel_type: str = "mean"
    kernel_size: int = 3
    sigma: float = 1.0
    border: str = "renormalise"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("distance", self.distance, tuple(DISTANCES))
        checks.choice("kernel_type", self.kernel_type, ("mean", "gaussian"))
        checks.choice("border", self.border, ("renormalise", "zero", "background"))
        if not isinstance(self.kernel_size, int) or self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={self.kernel_size!r} must be an odd number of voxels")
        if not self.sigma > 0:
            raise ValueError(f"sigma={self.sigma!r} must be above 0")

    def constraint(self, view: LabelView, reduce: bool) -> Tensor:
        """The distance of each logit from the share of its class."""
        members, weight = seen(view)
        window = mean_window(self.kernel_size) if self.kernel_type == "mean" else gaussian_window(self.sigma)
        shares = proportions(members, weight, window, self.border)
        return pointwise(view.input, shares, weight, penalty=DISTANCES[self.distance], reduce=reduce)
