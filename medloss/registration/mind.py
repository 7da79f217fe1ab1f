"""Modality-independent neighbourhood descriptors in the self-similarity context (MIND-SSC)."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.ops import mind
from medloss.ops.mind import PENALTIES
from medloss.reduction import voxel_mean


class MINDSSCLoss(ImageLoss):
    r"""Mean difference of the self-similarity descriptors of two images, which need not be of one modality.

    .. math:: L = \frac{1}{\sum_i w_i} \sum_i w_i \frac{1}{K} \sum_k \bigl( m_k(x, i) - m_k(y, i) \bigr)^2, \qquad
        m_k = \exp \Bigl( -\frac{D_k - \min_j D_j}{V} \Bigr)

    A voxel's descriptor has an entry for each pair k of its neighbours, but opposite ones (12 pairs in 3D, 4 in 2D; in
    1D the voxel and each of its two neighbours). D is the mean squared difference of the patches around the two, and V
    the mean of :math:`D_k - \min_j D_j` over the pairs, kept between a thousandth of its mean over the image and a
    thousand times that, which has no gradient of its own. Patches count what lies inside image and mask; a pair without
    any has no entry.

    Shape: input and target B C [spatial], 1 to 3 axes, mask B 1 [spatial]; ``"none"`` gives B C [spatial].

    Range: [0, 1], 0 where the images are equal or one is a linear function of the other, of either sign.

    Limits: a positive or negative factor on an image, and an offset, change nothing.

    Authors' code: equal for each image by itself, where patches lie inside the volume. Beyond the border it repeats the
    edge, where this counts what is there: a whole field of view of 64 voxels along each axis costs 2 to 3 % more or
    less, a volume with a background of zeros the same. It takes the bounds of the variance over the batch; here each
    image has its own. There is no option for either.

    Args:
        radius: of the patches, in voxels; 0 is a voxel alone.
        dilation: distance of the neighbours from the voxel, in voxels.
        penalty: ``"squared"`` or ``"absolute"`` difference of the descriptors.

    Raises:
        ShapeError: images or mask of unlike shapes.
        ValueError: an unknown penalty, a negative radius, or a dilation below 1.

    References:
        [1] Heinrich et al., Towards realtime multimodal fusion for image-guided interventions using self-similarities,
            MICCAI 2013.
        [2] Heinrich et al., MIND: modality independent neighbourhood descriptor for multi-modal deformable
            registration, MedIA 2012.

    >>> import torch, medloss
    >>> x = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    >>> loss = medloss.MINDSSCLoss(radius=1, dilation=1)
    >>> round(loss(x, 3 - 2 * x).item(), 6), loss(x, x.mT).item() > 0.01
    (0.0, True)
    """

    radius: int = 2
    dilation: int = 2
    penalty: str = "squared"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("radius", 0), ("dilation", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name}={value!r} must be a whole number of voxels, at least {least}")
        checks.choice("penalty", self.penalty, PENALTIES)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        values = mind(
            input,
            target,
            mask,
            radius=self.radius,
            dilation=self.dilation,
            penalty=self.penalty,
            reduce=self.reduction != "none",
        )
        return voxel_mean(values, mask, input.shape, self.reduction)
