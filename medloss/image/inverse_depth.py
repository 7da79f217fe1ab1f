"""Edge-aware smoothness: a map that may jump where an image does."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.image.adjacent import AdjacentLoss


class InverseDepthSmoothnessLoss(AdjacentLoss):
    r"""Mean absolute difference between neighbouring voxels of a map, less where the image has an edge.

    .. math::
        L = \sum_a \frac{\sum_i w_{i,i+a} |u_{i+a} - u_i| / s_a \cdot
        \exp\left( -\frac{k}{C} \sum_c |y_{c,i+a} - y_{c,i}| / s_a \right)}{\sum_i w_{i,i+a}}

    for each sample and channel of the map u (an inverse depth, a bias field, a disparity), with the image y of C
    channels, the voxel i + a behind i along axis a, the spacing s, and the lesser weight of the two voxels.

    Shape: input (the map) B N [spatial], target (the image) B C [spatial], mask B 1 or B N [spatial]; ``"none"`` gives
    B N.

    Range: [0, inf); 0 for a constant map.

    Limits: for a constant image, or sharpness = 0, it is :class:`~medloss.TotalVariationLoss` of the map.

    Args:
        sharpness: factor k on the image's differences. 1 suits images in [0, 1]; of greater values every step is an
            edge.
        spacing: size of a voxel along each axis; differences are per unit of it.

    Raises:
        ShapeError: map, image or mask of unlike batch or spatial axes.
        ValueError: a negative sharpness, or a spacing that is not above 0.

    References:
        [1] Godard et al., Unsupervised monocular depth estimation with left-right consistency, CVPR 2017, section 3.3.

    >>> import torch, medloss
    >>> depth, image = torch.tensor([[[0.0, 2.0, 2.0]]]), torch.tensor([[[0.0, 1.0, 1.0]]])
    >>> medloss.InverseDepthSmoothnessLoss()(depth, image)  # 2 exp(-1) / 2
    tensor(0.3679)
    """

    sharpness: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("sharpness", self.sharpness, 0)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target = checks.image_like("input", input, 3), checks.image_like("target", target, 3)
        checks.same_device("target", target, input)
        if input.shape[:1] + input.shape[2:] != target.shape[:1] + target.shape[2:]:
            raise checks.ShapeError(
                f"target has shape {checks.shape(target)} and input {checks.shape(input)}: "
                "they may differ in channels only"
            )
        mask = checks.mask_like(mask, input)
        return self._costs(input, target, mask, penalty="edge_aware", shape=self.sharpness)
