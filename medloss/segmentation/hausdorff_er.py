"""Hausdorff distance by erosion: an error counts for as long as erosions leave something of it."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.map_loss import LabelMaps, MapLoss
from medloss.ops import erosion_hausdorff
from medloss.reduction import ratio


class HausdorffERLoss(MapLoss):
    r"""Hausdorff distance estimated by eroding the error map: wide errors outlive more erosions and cost more.

    .. math::
        L = \frac{1}{\sum_i w_i} \sum_i w_i \sum_{j=1}^k j^\alpha q_{ij}, \qquad q_0 = (p - t)^2, \quad
        q_j = \text{stretched} \max(K * q_{j-1} - 1/2, 0)

    for each sample and class, with prediction p, membership t and K the mean of a voxel and its neighbours along the
    axes. Each eroded map is stretched to run from 0 to 1; without that, which the paper does not name, nothing could
    outlive a second erosion. Errors below 0.7 and single wrong voxels survive no erosion and cost nothing: add a Dice
    or a cross-entropy.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N.

    Range: [0, inf), 0 where prediction and target are equal.

    Limits: 0 without errors of above 0.7; one erosion (k = 1) counts the same for every alpha.

    Authors' code: that of SegLoss is equal in a plane. In a volume it lays its kernel over the channels in place of the
    third axis; here it lies over the three axes, as in the paper.

    Args:
        alpha: exponent of the number of erosions that an error outlives, at least 0.
        k: the number of erosions, at least 1. Errors that outlive them all cost alike.

    Raises:
        ShapeError: target or mask does not fit the input.
        TypeError: k is no integer.
        ValueError: alpha or k too small, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Karimi and Salcudean, Reducing the Hausdorff distance in medical image segmentation with convolutional
        neural networks, IEEE TMI 2020.

    >>> import torch, medloss
    >>> target, input = torch.zeros(1, 1, 6), torch.tensor([[[0.0, 1, 1, 1, 1, 0]]])
    >>> medloss.HausdorffERLoss(k=1)(input, target)  # 1/6, 1/2, 1/2, 1/6 stretched by 2, over 6
    tensor(0.4444)
    """

    alpha: float = 2.0
    k: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        checks.at_least("k", self.k, 1)
        if not isinstance(self.k, int):
            raise TypeError(f"k must be an integer, not {type(self.k).__name__}")

    def compare(self, maps: LabelMaps) -> Tensor:
        """The weighted mean over the voxels."""
        eroded = erosion_hausdorff(maps.input, maps.target, maps.weight, alpha=self.alpha, k=self.k)
        return ratio(maps.weighted(eroded).flatten(2).sum(-1), maps.mass())
