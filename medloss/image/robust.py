"""Robust penalties of the difference of two images: one family, whose members bear names."""

from __future__ import annotations

import math
from typing import Any

from medloss.image.residual import ResidualLoss, above_zero


class _ScaledLoss(ResidualLoss):
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero("scale", self.scale)


class RobustLoss(_ScaledLoss):
    r"""Barron's general robust penalty of the difference of two images: one number says how much outliers count.

    .. math::
        \rho(r) = \frac{|\alpha - 2|}{\alpha} \left( \left( \frac{(r / c)^2}{|\alpha - 2|} + 1 \right)^{\alpha / 2}
        - 1 \right)

    averaged over voxels and channels, r the difference of the images; at :math:`\alpha` = 2, 0 and minus infinity the
    limit.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, inf), for negative alpha [0, (alpha - 2) / alpha); 0 where the images are equal.

    Limits: about :math:`(r / c)^2 / 2` for small differences at every alpha; alpha = 2 is half of
    :class:`~medloss.MSELoss` of the images over c, 1 :class:`~medloss.CharbonnierLoss`, 0 :class:`~medloss.CauchyLoss`,
    -2 :class:`~medloss.GemanMcClureLoss`, minus infinity :class:`~medloss.WelschLoss`.

    Args:
        alpha: how much a large difference counts: the less, the lower. Any number, or ``-inf``.
        scale: the difference c up to which the penalty is nearly quadratic, above 0, in units of intensity.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: alpha is NaN or infinity, or scale is not above 0.

    References:
        [1] Barron, A general and adaptive robust loss function, CVPR 2019, eq. 1.

    >>> import torch, medloss
    >>> loss = medloss.RobustLoss(alpha=-2.0, scale=0.5)
    >>> loss(torch.tensor([[[1.0]]]), torch.tensor([[[0.0]]]))  # 2 * 2^2 / (2^2 + 4)
    tensor(1.)
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.isnan(self.alpha) or self.alpha == math.inf:
            raise ValueError(f"alpha={self.alpha!r} must be a number or minus infinity")

    @property
    def penalty(self) -> dict[str, Any]:
        """The family, with its shape."""
        return {"penalty": "general", "gamma": self.alpha, "scale": self.scale}


class CharbonnierLoss(_ScaledLoss):
    r"""A smooth absolute difference of two images: quadratic where it is small, straight where it is large.

    .. math:: \rho(r) = \sqrt{(r / c)^2 + 1} - 1

    averaged over voxels and channels, r the difference of the images. The form computed keeps the digits of a small
    difference.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, inf); 0 where the images are equal.

    Limits: :class:`~medloss.RobustLoss` with alpha = 1.

    Authors' code: the usual form :math:`\sqrt{r^2 + c^2}` is c times this one, plus c: a weight from there is times c
    here, a thousandth for the usual c of 1e-3.

    Args:
        scale: the difference c up to which the penalty is nearly quadratic, above 0, in units of intensity.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: scale is not above 0.

    References:
        [1] Charbonnier et al., Two deterministic half-quadratic regularization algorithms, ICIP 1994.
        [2] Barron, A general and adaptive robust loss function, CVPR 2019.

    >>> import torch, medloss
    >>> medloss.CharbonnierLoss(scale=4.0)(torch.tensor([[[3.0]]]), torch.tensor([[[0.0]]]))  # 5 / 4 - 1
    tensor(0.2500)
    """

    @property
    def penalty(self) -> dict[str, Any]:
        """The smooth absolute value."""
        return {"penalty": "charbonnier", "scale": self.scale}


class CauchyLoss(_ScaledLoss):
    r"""The logarithm of the squared difference of two images (Lorentzian): large differences count, but less and less.

    .. math:: \rho(r) = \log\left( \tfrac{1}{2} (r / c)^2 + 1 \right)

    averaged over voxels and channels, r the difference of the images.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, inf); 0 where the images are equal.

    Limits: :class:`~medloss.RobustLoss` with alpha = 0.

    Args:
        scale: the difference c up to which the penalty is nearly quadratic, above 0, in units of intensity.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: scale is not above 0.

    References:
        [1] Black and Anandan, The robust estimation of multiple motions, CVIU 1996.
        [2] Barron, A general and adaptive robust loss function, CVPR 2019.

    >>> import torch, medloss
    >>> medloss.CauchyLoss()(torch.tensor([[[2.0]]]), torch.tensor([[[0.0]]]))  # log 3
    tensor(1.0986)
    """

    @property
    def penalty(self) -> dict[str, Any]:
        """The logarithm."""
        return {"penalty": "cauchy", "scale": self.scale}


class GemanMcClureLoss(_ScaledLoss):
    r"""A bounded penalty of the difference of two images: what is far off costs the same however far.

    .. math:: \rho(r) = \frac{2 (r / c)^2}{(r / c)^2 + 4}

    averaged over voxels and channels, r the difference of the images.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, 2); 0 where the images are equal.

    Limits: :class:`~medloss.RobustLoss` with alpha = -2.

    Args:
        scale: the difference c up to which the penalty is nearly quadratic, above 0, in units of intensity.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: scale is not above 0.

    References:
        [1] Geman and McClure, Bayesian image analysis: an application to single photon emission tomography, 1985.
        [2] Barron, A general and adaptive robust loss function, CVPR 2019.

    >>> import torch, medloss
    >>> medloss.GemanMcClureLoss()(torch.tensor([[[2.0]]]), torch.tensor([[[0.0]]]))  # 8 / 8
    tensor(1.)
    """

    @property
    def penalty(self) -> dict[str, Any]:
        """The rational one."""
        return {"penalty": "geman_mcclure", "scale": self.scale}


class WelschLoss(_ScaledLoss):
    r"""A bounded penalty of the difference of two images (Leclerc): an upside-down Gaussian.

    .. math:: \rho(r) = 1 - \exp\left( -\tfrac{1}{2} (r / c)^2 \right)

    averaged over voxels and channels, r the difference of the images.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, 1]; 0 where the images are equal.

    Limits: :class:`~medloss.RobustLoss` as alpha goes to minus infinity.

    Args:
        scale: the difference c up to which the penalty is nearly quadratic, above 0, in units of intensity.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: scale is not above 0.

    References:
        [1] Dennis and Welsch, Techniques for nonlinear least squares and robust regression, 1978.
        [2] Barron, A general and adaptive robust loss function, CVPR 2019.

    >>> import torch, medloss
    >>> medloss.WelschLoss(scale=2.0)(torch.tensor([[[2.0]]]), torch.tensor([[[0.0]]]))  # 1 - exp(-1/2)
    tensor(0.3935)
    """

    @property
    def penalty(self) -> dict[str, Any]:
        """The upside-down Gaussian."""
        return {"penalty": "welsch", "scale": self.scale}


class TukeyLoss(_ScaledLoss):
    r"""Tukey's biweight of the difference of two images: beyond a difference of c an outlier has no pull at all.

    .. math:: \rho(r) = \frac{1}{6} \left( 1 - \bigl( 1 - \min(|r| / c, 1)^2 \bigr)^3 \right)

    averaged over voxels and channels, r the difference of the images.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, 1/6]; 0 where the images are equal, 1/6 from a difference of c on.

    Limits: about :math:`(r / c)^2 / 2` for small differences, as all of :class:`~medloss.RobustLoss`, of which it is no
    member.

    Authors' code: VoxelMorph's ``TukeyBiweight(c)`` is 3 c^2 times this one.

    Args:
        scale: the difference c from which nothing counts any more, above 0, in units of intensity; 4.685 standard
            deviations of the noise keep 95 % of a squared error's efficiency.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: scale is not above 0.

    References:
        [1] Beaton and Tukey, The fitting of power series, meaning polynomials, illustrated on band-spectroscopic data,
        Technometrics 1974.

    >>> import torch, medloss
    >>> loss = medloss.TukeyLoss(scale=2.0)
    >>> loss(torch.tensor([[[1.0, 5.0]]]), torch.tensor([[[0.0, 0.0]]]))  # ((1 - (3/4)^3) / 6 + 1/6) / 2
    tensor(0.1315)
    """

    @property
    def penalty(self) -> dict[str, Any]:
        """The biweight."""
        return {"penalty": "tukey", "scale": self.scale}
