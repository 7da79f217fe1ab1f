"""Average calibration error (ACE): whether a network is right as often as it says."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.map_loss import LabelMaps, MapLoss
from medloss.ops import calibration_error


class ACELoss(MapLoss):
    r"""Distance between how sure a network is and how often it is right, over bins of its probability (mL1-ACE).

    .. math::
        L = \frac{1}{|M|} \sum_{m \in M} \left|
            \frac{\sum_{i \in m} w_i p_i}{\sum_{i \in m} w_i} - \frac{\sum_{i \in m} w_i t_i}{\sum_{i \in m} w_i}
        \right|

    for each sample and class, where bin m holds the voxels with a probability above (m - 1) / n and up to m / n, and M
    are the bins that hold any. In the backward pass no voxel changes its bin. It says nothing of which voxels are
    right, and is meant to be added to a loss that does.

    It looks at shares of voxels, not at which they are, and a network can have it 0 with everything wrong. Mix it with
    a Dice and a cross-entropy.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N.

    Range: [0, 1].

    Limits: with one bin, the absolute difference of the mean prediction and the share of the class.

    Args:
        bins: n, the number of bins.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no bin, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Barfoot et al., Average calibration error: a differentiable loss for improved reliability in image
        segmentation, MICCAI 2024. [2] Neumann et al., Relaxed softmax, NeurIPS workshop 2018 (the error).

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[0.1, 0.3, 0.8, 0.9]]]), torch.tensor([[[0.0, 1.0, 1.0, 1.0]]])
    >>> medloss.ACELoss(bins=2)(input, target)  # |0.2 - 0.5| and |0.85 - 1|
    tensor(0.2250)
    """

    bins: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.bins, int) or self.bins < 1:
            raise ValueError(f"bins={self.bins!r} must be a number of bins, at least 1")

    def compare(self, maps: LabelMaps) -> Tensor:
        """The mean over the bins; each voxel moves the mean of its bin, up or down."""
        if maps.weight is not None:
            checks.without_gradient("mask", maps.weight)  # its bins are weighed, not what it costs
        return calibration_error(maps.input, maps.target, maps.weight, bins=self.bins)
