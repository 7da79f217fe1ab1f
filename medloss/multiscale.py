"""A loss at several scales: both images, or both segmentations, are smoothed before they are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss, LabelLoss, Loss, RegionLoss
from medloss.composite import MaskedLoss, WeightedSum
from medloss.labels import view_labels
from medloss.map_loss import MapLoss, label_maps
from medloss.ops import Terms
from medloss.ops.local_moments.reference import smooth
from medloss.ops.masking import accumulation_dtype, blank
from medloss.ops.operator import without_autocast
from medloss.options import KW_ONLY, Configured, twin
from medloss.reduction import REDUCTIONS, reduce

KERNELS = ("gaussian", "cauchy")
BORDERS = ("zero", "renormalise")
OF_LOGITS = Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL


class MultiScaleLoss(Configured, kw_only=False):
    r"""A loss after smoothing input and target alike, at each of some scales.

    .. math:: L = \operatorname{mean}_s L(k_s * x, k_s * y)

    Smoothing widens the range from which an image or a thin structure attracts the other.

    An image loss sees smoothed images. A label loss over regions, distances or neighbourhoods sees smoothed
    probabilities and memberships: its activation, its labels and its ignored label are dealt with before the smoothing.
    Any other callable of two tensors sees both smoothed as they are given.

    Args:
        loss: a loss, or a callable of input and target.
        scales: width of the kernel in voxels, one for each scale; 0 stands for no smoothing, and None for that alone.
        kernel: ``"gaussian"`` with sigma as its width, cut at three sigma; ``"cauchy"``, 1 / (1 + (x / width)^2), cut
            at five widths.
        normalise: whether the weights of the Gaussian sum to one. False takes the values of the density as they are,
            as MONAI does: they sum to 1.014 for a sigma of 0.5. A Cauchy kernel always sums to one.
        border: ``"zero"``: zeros beyond the border, as in the peers. ``"renormalise"``: a kernel there has the weight
            that lies inside. Under a mask it is always the latter, and only valid voxels enter.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` of what the loss returns at each scale; ``"none"`` stacks them.

    Shape: those of the loss.

    ``normalise=False`` is MONAI's loss, whose call takes the target first.

    Raises:
        TypeError: the loss is not callable, or a label loss over logits, which cannot be smoothed as probabilities.
        ValueError: a negative scale, no scale, or an unknown option.

    References:
        [1] Hu et al., Weakly-supervised convolutional neural networks for multimodal image registration, MedIA 2018,
            section 2.2 (labels at several scales).
        [2] Fu et al., DeepReg, JOSS 2020.

    >>> import medloss
    >>> x, y = torch.tensor([[[0.0, 0.0, 4.0, 0.0, 0.0]]]), torch.zeros(1, 1, 5)
    >>> loss = MultiScaleLoss(medloss.MSELoss(), scales=[0, 0.2], kernel="cauchy")  # the weights are (1, 26, 1) / 28
    >>> loss(x, y)  # 16 / 5 (1 + 678 / 28^2) / 2
    tensor(2.9837)
    """

    loss: Callable[..., Tensor]
    _: KW_ONLY
    scales: Sequence[float] | None = None
    kernel: str = "gaussian"
    normalise: bool = True
    border: str = "zero"
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise TypeError(f"loss must be callable, not {type(self.loss).__name__}")
        if self.scales is not None and not len(self.scales):
            raise ValueError("scales is empty: name at least one, or None")
        for scale in self.scales or ():
            checks.at_least("a scale", scale, 0)
        checks.choice("kernel", self.kernel, KERNELS)
        checks.choice("border", self.border, BORDERS)
        checks.choice("reduction", self.reduction, REDUCTIONS)
        self._of_scales = of_probabilities(self.loss) if isinstance(self.loss, LabelLoss) else self.loss
        self.scales = None if self.scales is None else tuple(float(scale) for scale in self.scales)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss over the scales. See the class."""
        if self.scales is None:
            return reduce(self._call(self.loss, input, target, mask), self.reduction)
        if isinstance(self.loss, LabelLoss):
            view = view_labels(input, target, mask, **self.loss.sweep)
            with without_autocast(view.input.device.type):
                input, target, mask, _ = label_maps(view)
        elif isinstance(self.loss, ImageLoss) or mask is not None:
            input, target = checks.image_like("input", input, 3), checks.image_like("target", target, 3)
            mask = checks.mask_like(mask, input)
        values = []
        for scale in self.scales:
            x, y = (self.smoothed(tensor, scale, mask) for tensor in (input, target))
            values.append(self._call(self._of_scales, x, y, mask))
        return reduce(torch.stack(values), self.reduction)

    def smoothed(self, tensor: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
        """An image B C [spatial] at a scale, in float32 (float64 for double)."""
        tensor = checks.plain("image", tensor)
        if scale == 0:
            return tensor
        tensor = tensor.to(accumulation_dtype(tensor))
        windows = [self.window(scale)] * (tensor.ndim - 2)
        with without_autocast(tensor.device.type):
            if mask is None and self.border == "zero":
                return smooth(tensor.unsqueeze(0), windows, padded=False)[0]
            weight = torch.ones_like(tensor[:, :1]) if mask is None else mask.to(tensor.dtype)
            sums = smooth((blank(tensor, weight) * weight).unsqueeze(0), windows, padded=False)[0]
            mass = smooth(weight.unsqueeze(0), windows, padded=False)[0]
            inside = (weight > 0) & (mass > 0)
            return torch.where(inside, sums, torch.zeros_like(sums)) / torch.where(inside, mass, torch.ones_like(mass))

    def window(self, scale: float) -> list[float]:
        """The weights of the kernel along one axis."""
        reach = int(5 * scale) if self.kernel == "cauchy" else int(max(3 * scale, 0.5) + 0.5)
        offsets = range(-reach, reach + 1)
        if self.kernel == "cauchy":
            weights = [1 / (1 + (x / scale) ** 2) for x in offsets]
        else:
            weights = [math.exp(-(x**2) / (2 * scale**2)) / (scale * math.sqrt(2 * math.pi)) for x in offsets]
        total = sum(weights) if self.normalise or self.kernel == "cauchy" else 1.0
        return [weight / total for weight in weights]

    @staticmethod
    def _call(loss: Callable[..., Tensor], input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return loss(input, target)
        knows_masks = isinstance(loss, (Loss, WeightedSum, MaskedLoss))
        return loss(input, target, mask) if knows_masks else MaskedLoss(loss)(input, target, mask)

    def __repr__(self) -> str:
        return f"MultiScaleLoss({self.loss!r}, {self._told('loss')})"


def of_probabilities(loss: LabelLoss) -> LabelLoss:
    """The same loss of probabilities and memberships.

    Raises:
        TypeError: it is a loss of logits.
    """
    try:
        found = twin(loss, sigmoid=False, softmax=False, other_act=None, to_onehot_y=False, ignore_index=None)
        logits = found.activation != "none" or found.needs & OF_LOGITS or not isinstance(loss, (RegionLoss, MapLoss))
    except ValueError:  # it asks for an activation
        logits = True
    if logits:
        raise TypeError(
            f"{type(loss).__name__} is a loss of logits, and scales smooth probabilities: take an overlap loss such as "
            "DiceLoss"
        )
    return found
