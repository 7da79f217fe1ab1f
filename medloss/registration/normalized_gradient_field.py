"""Normalised gradient fields (NGF): edges of two images that run alike, whatever their contrast."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.ops import gradient_alignment
from medloss.reduction import voxel_mean


class NormalizedGradientFieldLoss(ImageLoss):
    r"""One minus the squared cosine between the gradients of two images, which need not be of one modality.

    .. math:: L = \frac{1}{\sum_i w_i} \sum_i w_i \Bigl( 1 - \frac{\langle \nabla x_i, \nabla y_i \rangle^2}
        {(|\nabla x_i|^2 + \epsilon_x^2)(|\nabla y_i|^2 + \epsilon_y^2)} \Bigr)

    Gradients are central differences; a voxel at the border of the image or of the mask is compared with the neighbours
    that it has.

    Shape: input and target B C [spatial], mask B 1 [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, 1], 0 where all gradients are parallel, of either sign, and far above epsilon; 1 where they are at right
    angles, or where an image is constant.

    Limits: with ``relative`` a factor on an image, of either sign, and an offset change nothing. In 1D it is blind to
    everything but flat parts.

    Authors' code: FAIR's is equal with ``relative=False`` and its edge as ``eps``. airlab's has one-sided differences
    and half the squared cosine: another loss.

    Args:
        eps: gradients of this length count half; at least 0. A flat region of noise costs 1 and has hardly a gradient
            if its noise lies below.
        relative: whether ``eps`` counts in root mean squares of the gradient of each image, sample and channel; else in
            intensities over the unit of the spacing.
        spacing: size of a voxel along each axis (one number for all). The argument of ``forward`` goes before this
            option.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: a negative ``eps``, or a spacing that does not fit the axes.

    References:
        [1] Haber and Modersitzki, Intensity gradient based registration and fusion of multi-modal images, MICCAI 2006
            (there epsilon is in mean lengths of the gradient).

    >>> import torch, medloss
    >>> x = torch.arange(5.0).expand(1, 1, 5, 5)
    >>> y = x.mT
    >>> loss = medloss.NormalizedGradientFieldLoss(eps=0)
    >>> loss(x, 2 - x), loss(x, y), loss(x, x + y)
    (tensor(0.), tensor(1.), tensor(0.5000))
    """

    eps: float = 0.1
    relative: bool = True
    spacing: Sequence[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eps < float("inf"):
            raise ValueError(f"eps={self.eps!r} must be at least 0")
        checks.voxel_sizes(self.spacing, None)

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        spacing: Sequence[float] | float | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        sizes = checks.voxel_sizes(self.spacing if spacing is None else spacing, input.ndim - 2)
        values = gradient_alignment(
            input,
            target,
            mask,
            axis_scale=[1 / size for size in sizes],
            edge=self.eps,
            relative=self.relative,
            reduce=self.reduction != "none",
        )
        return voxel_mean(values, mask, input.shape, self.reduction)
