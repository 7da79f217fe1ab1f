"""Lovasz and boundary F1, halved and added: regions and their borders."""

from __future__ import annotations

from medloss.segmentation.boundary_f1 import BoundaryF1Loss
from medloss.segmentation.compound import Mixture
from medloss.segmentation.lovasz import LovaszSoftmaxLoss


class DuoLoss(Mixture):
    r"""The mean of the Lovasz extension of Jaccard and of the boundary's F1, from one set of options.

    .. math:: L = \tfrac12 L_{Lovasz} + \tfrac12 L_{BF1}

    A class that the target lacks counts in neither. Mix it with a cross-entropy where slices are empty.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, 1].

    Limits: twice the value is :class:`~medloss.LovaszSoftmaxLoss` plus :class:`~medloss.BoundaryF1Loss`.

    Args:
        softmax: stands by itself, unless ``sigmoid`` or ``other_act`` is given.
        theta0, theta, smooth: see :class:`~medloss.BoundaryF1Loss`.
        classes, per_image: see :class:`~medloss.LovaszSoftmaxLoss`.
        weight: factor per class in both terms.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: the faults of either loss.

    References:
        [1] Berman et al., The Lovasz-Softmax loss, CVPR 2018. [2] Bokhovkin and Burnaev, Boundary loss for remote
        sensing imagery semantic segmentation, ISNN 2019.

    >>> import torch, medloss
    >>> target = torch.tensor([[[0, 0, 0, 1, 1, 1, 0, 0, 0]]])
    >>> logits = 60 * torch.nn.functional.one_hot(target[:, 0], 2).movedim(-1, 1).float()
    >>> loss = medloss.DuoLoss(to_onehot_y=True)
    >>> {name: round(term.raw.item(), 4) for name, term in loss.terms(logits, target).items()}
    {'lovasz': 0.0, 'boundary_f1': 0.0}
    """

    theta0: int = 3
    theta: int = 5
    smooth: float = 1e-7
    classes: str = "present"
    per_image: bool = True

    def __post_init__(self) -> None:
        self.softmax = self.softmax or not (self.sigmoid or self.other_act is not None)
        super().__post_init__()
        lovasz, boundary = self._part(LovaszSoftmaxLoss), self._part(BoundaryF1Loss)
        self._compose({"lovasz": (0.5, lovasz), "boundary_f1": (0.5, boundary)})
