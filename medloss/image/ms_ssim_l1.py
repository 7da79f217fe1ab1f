"""Structural similarity at several widths of the window, mixed with the absolute difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.image.residual import above_zero
from medloss.image.windows import map_shape, window
from medloss.ops import local_error, local_ssim
from medloss.ops.masking import accumulation_dtype
from medloss.reduction import voxel_mean

TINY = 1e-12
"""Weights below this part of a window's largest one are left out: no rounding would see them."""


class MSSSIML1Loss(ImageLoss):
    r"""Structural similarity at several widths of the window, mixed with the absolute difference in the widest one.

    .. math::
        L = \lambda \left( \alpha \left( 1 - l_M \prod_{m=1}^{M} cs_m \right)
        + (1 - \alpha) \frac{G_M * |x - y|}{R} \right)

    at each voxel, averaged over the channels: :math:`cs_m` is contrast times structure in a Gaussian window of standard
    deviation :math:`\sigma_m`, :math:`l_M` the luminance in the widest window :math:`G_M`, R the data range, and lambda
    the compensation. Nothing is downsampled.

    Shape: input and target B C [spatial], mask B 1 or B C [spatial]; ``"none"`` gives B [spatial].

    Range: [0, inf); 0 where the images are equal.

    Limits: alpha = 1 with one sigma is :class:`~medloss.SSIMLoss` times the compensation; alpha = 0 the smoothed
    :class:`~medloss.L1Loss` over the data range.

    Authors' code: PL4NN's is equal with ``compensation=1``; 200 is that of the code which kornia
    follows. For several channels that code multiplies their similarities; here, as in the authors', they are averaged.

    Args:
        sigmas: standard deviations of the windows, in voxels, from narrow to wide. All windows reach twice the last.
        data_range: largest possible difference of two intensities: 1 for images in [0, 1].
        k1: the constant of luminance, as a part of the data range, at least 0.
        k2: the constant of structure, as a part of the data range, at least 0.
        alpha: part of the similarity, in [0, 1].
        compensation: factor on the whole, above 0.
        border: ``"zero"``: windows at the border see zeros beyond it, as in kornia. ``"reflect"``: they see the image
            mirrored. ``"renormalise"``: they count the voxels that they hold. Under a mask it is always the last one,
            and only valid voxels enter a window.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: sigmas that do not grow from above 0, alpha outside [0, 1], or an unknown option.

    References:
        [1] Zhao et al., Loss functions for image restoration with neural networks, IEEE TCI 2017, section III.

    >>> import torch, medloss
    >>> x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> loss = medloss.MSSSIML1Loss(border="renormalise", alpha=0.0)
    >>> loss(x, x), round(loss(x, x + 0.1).item(), 4)  # 200 * 0.1
    (tensor(0.), 20.0)
    """

    sigmas: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0)
    data_range: float = 1.0
    k1: float = 0.01
    k2: float = 0.03
    alpha: float = 0.025
    compensation: float = 200.0
    border: str = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        sigmas = list(self.sigmas)
        if not sigmas or not sigmas[0] > 0 or sigmas != sorted(set(sigmas)):
            raise ValueError(f"sigmas={self.sigmas!r} must grow from a number above 0")
        above_zero("data_range", self.data_range)
        above_zero("compensation", self.compensation)
        for name in ("k1", "k2", "alpha"):
            checks.at_least(name, getattr(self, name), 0)
        if self.alpha > 1:
            raise ValueError(f"alpha={self.alpha!r} is too large: it must be at most 1")
        checks.choice("border", self.border, ("zero", "reflect", "renormalise"))

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        # two operators look at the images: their gradients are added before they are rounded to half precision
        input, target = input.to(accumulation_dtype(input)), target.to(accumulation_dtype(input))
        rank = input.ndim - 2
        windows = [[weights] * rank for weights in self._windows()]
        shape = map_shape(input.shape, [len(windows[-1][0])] * rank, self.border, mask)
        options: dict[str, Any] = {"border": self.border, "reduce": self.reduction != "none"}
        similarity = local_ssim(
            input,
            target,
            mask,
            windows=windows,
            c1=(self.k1 * self.data_range) ** 2,
            c2=(self.k2 * self.data_range) ** 2,
            **options,
        )
        error = local_error(input, target, mask, window=windows[-1], **options) / self.data_range
        values = self.compensation * (self.alpha * similarity + (1 - self.alpha) * error)
        if self.reduction == "mean":
            return voxel_mean(values, mask, shape, "mean")
        return values.mean(1) if self.reduction == "none" else values.mean(1).sum()

    def _windows(self) -> list[list[float]]:
        """The weights along any axis for each sigma, without those that no rounding would see."""
        size = 2 * int(2 * self.sigmas[-1]) + 1
        windows = [window("gaussian", size, sigma) for sigma in self.sigmas]
        return [[k for k in weights if k >= TINY * max(weights)] for weights in windows]
