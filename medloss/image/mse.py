"""Mean squared error between two images."""

from __future__ import annotations

from typing import Any

from medloss.image.residual import ResidualLoss


class MSELoss(ResidualLoss):
    r"""Mean squared difference of two images, over the voxels of a mask.

    .. math:: L = \frac{\sum_i w_i (x_i - y_i)^2}{\sum_i w_i}

    over voxels and channels, with voxel weights w (1 without a mask).

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, inf), in squared units of intensity; 0 where the images are equal.

    Raises:
        ShapeError: target or mask does not fit the input.

    References:
        [1] Hill et al., Medical image registration, Phys. Med. Biol. 2001, section 3.4 (sum of squared differences).

    >>> import torch, medloss
    >>> medloss.MSELoss()(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, 5.0]]]))
    tensor(4.5000)
    """

    @property
    def penalty(self) -> dict[str, Any]:
        """r^2."""
        return {"penalty": "squared"}
