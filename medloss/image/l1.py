"""Mean absolute error between two images, and its smooth version."""

from __future__ import annotations

from typing import Any

from medloss.image.residual import ResidualLoss, above_zero


class L1Loss(ResidualLoss):
    r"""Mean absolute difference of two images, over the voxels of a mask.

    .. math:: L = \frac{\sum_i w_i |x_i - y_i|}{\sum_i w_i}

    over voxels and channels, with voxel weights w (1 without a mask).

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, inf), in units of intensity; 0 where the images are equal.

    Limits: :class:`~medloss.HuberLoss` over delta, as delta goes to 0.

    Raises:
        ShapeError: target or mask does not fit the input.

    References:
        [1] Zhao et al., Loss functions for image restoration with neural networks, IEEE TCI 2017, section III.

    >>> import torch, medloss
    >>> medloss.L1Loss()(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, 5.0]]]))
    tensor(1.5000)
    """

    @property
    def penalty(self) -> dict[str, Any]:
        """The absolute value."""
        return {"penalty": "absolute"}


class HuberLoss(ResidualLoss):
    r"""Half the squared difference of two images where it is small, and a straight line where it is large.

    .. math::
        \rho(r) = \begin{cases} r^2 / 2 & |r| \le \delta \\ \delta (|r| - \delta / 2) & |r| > \delta \end{cases}

    averaged over voxels and channels, r the difference of the images.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, inf); 0 where the images are equal.

    Limits: half of :class:`~medloss.MSELoss` where delta is above all differences; over delta it goes to
    :class:`~medloss.L1Loss` as delta goes to 0.

    Args:
        delta: the difference from which on the penalty is straight, above 0, in units of intensity.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: delta is not above 0.

    References:
        [1] Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 1964.

    >>> import torch, medloss
    >>> loss = medloss.HuberLoss(delta=1.0, reduction="none")
    >>> loss(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.5, 5.0]]]))  # 0.5^2 / 2 and 3 - 1/2
    tensor([[[0.1250, 2.5000]]])
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero("delta", self.delta)

    @property
    def penalty(self) -> dict[str, Any]:
        """Huber's, with its threshold."""
        return {"penalty": "huber", "gamma": self.delta}
