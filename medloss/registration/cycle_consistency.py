"""Cycle consistency: whether an image comes back as it was, by one field and then by the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medloss import checks
from medloss.base import FieldPairLoss
from medloss.ops.masking import accumulation_dtype, blank
from medloss.ops.operator import without_autocast
from medloss.reduction import ratio
from medloss.registration.inverse_consistency import paired
from medloss.registration.warp import there_and_back, warp


class CycleConsistencyLoss(FieldPairLoss):
    r"""Mean difference between an image and what comes back of it, by one field and then by the other.

    .. math:: L = \frac{1}{B C V} \sum_{b, c, x} \rho \bigl( I(x + r(x)) - I(x) \bigr), \quad r(x) = u(x) + v(x + u(x))

    with :math:`\rho` the absolute value or the square. Fields and image are read linearly between their voxels, and
    beyond the border as at the border. Where the image is flat the fields may do as they like, unlike with
    :class:`InverseConsistencyLoss`, which looks at the fields alone.

    Shape: field u and inverse v B d [spatial] with d spatial axes, image I B C [spatial], mask B 1 [spatial]; a scalar,
    ``"none"`` gives B [spatial].

    Range: [0, inf), in units of intensity (squared for ``"l2"``); 0 where v undoes u, and for a constant image.

    Limits: of a zero inverse the difference between the image and what the field makes of it. It is not symmetric: for
    both images add ``loss(inverse, field, other_image)``. In a :class:`~medloss.WeightedSum` it stands alone: where it
    takes the image other losses of two fields take a mask.

    Authors' code: that of CycleMorph resamples the image twice, and so pays for the blur; here the fields are composed,
    and the image is resampled once.

    Args:
        penalty: ``"l1"`` as in the paper, or ``"l2"``.
        spacing: voxel size, in the unit of the fields' components. Under a mask a point counts where the places that it
            is sent to, too, lie between valid voxels.

    Raises:
        ShapeError: fields of unlike shapes, another grid of the image, or the number of components is not that of the
            axes.

    References:
        [1] Kim et al., CycleMorph: cycle consistent unsupervised deformable image registration, MedIA 2021. There the
        warped image is warped again, which blurs it twice; here it is read once, at the end of the way.

    >>> import torch, medloss
    >>> image = torch.tensor([[[0.0, 1.0, 3.0, 6.0]]])
    >>> field = torch.ones(1, 1, 4)
    >>> loss = medloss.CycleConsistencyLoss()
    >>> loss(field, -field, image), loss(field, 0 * field, image)  # one step on: 1, 2, 3, and 0 at the border
    (tensor(0.), tensor(1.5000))
    """

    penalty: str = "l1"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("penalty", self.penalty, ("l1", "l2"))

    def forward(
        self,
        field: Tensor,
        inverse: Tensor,
        image: Tensor,
        mask: Tensor | None = None,
        spacing: Sequence[float] | float | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        field, inverse, mask = paired(self, field, inverse, mask)
        image = checks.image_like("image", image, 3)
        checks.same_device("image", image, field)
        if image.shape[0] != field.shape[0] or image.shape[2:] != field.shape[2:]:
            raise checks.ShapeError(
                f"image has shape {checks.shape(image)} and field {checks.shape(field)}: they must lie on one grid"
            )
        sizes = checks.voxel_sizes(self.spacing if spacing is None else spacing, field.ndim - 2, "the field")
        residual, weight = there_and_back(field, inverse, mask, sizes)
        with without_autocast(field.device.type):
            image = image.to(torch.promote_types(accumulation_dtype(image), residual.dtype))
            shown = blank(image, None if mask is None else mask.to(image.dtype))
            change = warp(shown, residual, sizes) - shown
            values = (change.abs() if self.penalty == "l1" else change * change).mean(1)
            values = values + 0 * residual.detach().sum(1)  # which shows where it ends nowhere
            if weight is not None and mask is not None:
                outside = warp((mask <= 0).to(residual.dtype), residual.detach(), sizes)
                weight = torch.where(outside > 0, torch.zeros_like(weight), weight)[:, 0]
                values = values * weight
        if self.reduction != "mean":
            return values.sum() if self.reduction == "sum" else values
        return values.mean() if weight is None else ratio(values.sum(), weight.sum())
