"""Lovasz: the convex extension of the Jaccard loss, which a gradient can follow."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss import checks
from medloss.base import LabelLoss
from medloss.labels import LabelView, view_labels
from medloss.ops import jaccard_extension
from medloss.ops.masking import present
from medloss.reduction import ratio, reduce
from medloss.sums import RegionSums

CLASSES = ("present", "all")


class Extension(NamedTuple):
    """What is known of each image and class, B N, or 1 N where the batch is one image.

    Attributes:
        values: the Lovasz extension of the Jaccard loss at the errors.
        hits: the weight of the class's voxels.
        mass: the weight of all voxels.
    """

    values: Tensor
    hits: Tensor
    mass: Tensor


class _LovaszLoss(LabelLoss):
    """What both Lovasz losses share: rows of errors, one for each image and class."""

    per_image: bool = True

    def errors(self, view: LabelView) -> str:
        """The kind of error, as :func:`medloss.ops.jaccard_extension` calls it."""
        raise NotImplementedError

    def pooled(self, found: Extension, factors: Tensor | None) -> Tensor:
        """The loss from what is known of each image and class, with the classes' factors."""
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self.evaluate(view_labels(input, target, mask, **self.sweep), None)

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The loss, reduced; from the voxels, whatever was summed over them."""
        classes = view.input.shape[1]
        factors, first = self._factors(classes), self._first(classes)
        checks.without_gradient("target", view.target)
        if view.mask is not None:
            checks.without_gradient("mask", view.mask)
        extension = jaccard_extension(
            view.input,
            view.target,
            view.mask,
            errors=self.errors(view),
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            joined=not self.per_image,
            first=first,
        )
        if factors is not None:
            factors = factors[first:].to(extension)
        return self.pooled(Extension(*extension.unbind(-1)), factors)


class LovaszSoftmaxLoss(_LovaszLoss):
    r"""Lovasz extension of the Jaccard loss of each class, at the errors of the probabilities.

    .. math::
        L = \frac{1}{|C|} \sum_{c \in C} a_c \sum_k e_{(k)} (J_k - J_{k-1}), \qquad e_i = |t_{ic} - p_{ic}|

    for each image, with the errors of a class in falling order, :math:`J_k` one minus intersection over union where the
    first k voxels are wrong and all others right (each voxel counts with its weight), class weights a (1 by default)
    and the classes C that count. In the backward pass the order stands still.

    A class that the target lacks does not count (``classes="present"``). Mix it with a cross-entropy where that leaves
    none.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B, or 1
    with ``per_image=False``.

    Range: [0, 1].

    Limits: where every probability is 0 or 1, equals :class:`~medloss.DiceLoss` with ``jaccard`` and no smoothing.

    Args:
        softmax: stands by itself, unless ``sigmoid`` or ``other_act`` is given.
        classes: ``"present"``: those that the target of the image has; an image with none of them leaves the mean.
            ``"all"``: an absent class costs its largest probability in the image.
        per_image: one loss for each image, averaged over the images; otherwise the batch is one image.
        include_background: whether class 0 counts; it leaves after the activation.
        weight: factor per class; the mean still divides by the number of classes.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an unknown option, more than one activation, or a loss left without a class.

    References:
        [1] Berman et al., The Lovasz-Softmax loss, CVPR 2018, sections 2 and 3.

    >>> import torch, medloss
    >>> p = torch.tensor([[[0.5, 0.75], [0.5, 0.25]]])  # of two voxels, both of class 0
    >>> target = torch.tensor([[[0, 0]]])
    >>> loss = medloss.LovaszSoftmaxLoss(to_onehot_y=True)
    >>> loss(p.log(), target)  # (1/2 + 1/4) / 2
    tensor(0.3750)
    """

    classes: str = "present"

    def __post_init__(self) -> None:
        self.softmax = self.softmax or not (self.sigmoid or self.other_act is not None)
        super().__post_init__()
        checks.choice("classes", self.classes, CLASSES)

    def errors(self, view: LabelView) -> str:
        """How far the probability is from the membership."""
        return view.activation

    def pooled(self, found: Extension, factors: Tensor | None) -> Tensor:
        """The mean over the classes that count, then over the images that have any."""
        counted = present(found.mass)
        if self.classes == "present":
            counted = counted & present(found.hits)
        values = found.values if factors is None else found.values * factors
        values = torch.where(counted, values, torch.zeros_like(values)).sum(1)
        number = counted.sum(1)
        return reduce(ratio(values, number.to(values.dtype)), self.reduction, number > 0)


class LovaszHingeLoss(_LovaszLoss):
    r"""Lovasz extension of the Jaccard loss of a binary problem, at the hinge errors of its logits.

    .. math::
        L = a_c \sum_k \max(e_{(k)}, 0) (J_k - J_{k-1}), \qquad e_i = 1 - z_i (2 t_i - 1)

    for each image and channel, with logits z, the errors in falling order, and :math:`J_k` one minus intersection over
    union where the first k voxels are wrong and all others right. In the backward pass the order stands still.

    Shape: input (logits) B N [spatial], each channel a problem of its own, target B N (for one channel B too) or B 1
    [spatial], mask B 1 [spatial]; ``"none"`` gives B N, or 1 N with ``per_image=False``.

    Range: [0, inf).

    Limits: 0 where every logit is on its side by at least 1; logits of 1 and -1 give twice
    :class:`~medloss.DiceLoss` with ``jaccard`` of the prediction that they stand for, without smoothing.

    Args:
        per_image: one loss for each image, averaged over the images; otherwise the batch is one image.
        include_background: whether channel 0 counts.
        weight: factor per channel; the mean still divides by the number of channels.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an activation, which the hinge has no use for, or a loss left without a channel.

    References:
        [1] Berman et al., The Lovasz-Softmax loss, CVPR 2018, section 2.
        [2] Yu and Blaschko, Learning submodular losses with the Lovasz hinge, ICML 2015.

    >>> import torch, medloss
    >>> logits, target = torch.tensor([[[2.0, -0.5]]]), torch.tensor([[[1, 1]]])
    >>> medloss.LovaszHingeLoss()(logits, target)  # the wrong voxel's error is 1.5, and one of two is lost with it
    tensor(0.7500)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation != "none" or self.other_act is not None:
            raise ValueError("the hinge is of the logits themselves: it takes no activation")

    def errors(self, view: LabelView) -> str:
        """By how much a logit misses its side."""
        return "hinge"

    def pooled(self, found: Extension, factors: Tensor | None) -> Tensor:
        """The mean over images and channels."""
        values = found.values if factors is None else found.values * factors
        return reduce(values, self.reduction, present(found.mass))
