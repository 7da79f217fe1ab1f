"""Any label loss, instance by instance: each on a region of its own, which a mask cuts out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.base import LabelLoss
from medloss.labels import LabelView, view_labels
from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight
from medloss.options import KW_ONLY, Configured
from medloss.reduction import times
from medloss.segmentation.distances import inside
from medloss.segmentation.instances import cells, fitting_instances, own_instances

EMPTY = ("smooth", "skip_term", "whole")
"""What a sample without instances may add."""


class InstanceLoss(Configured, kw_only=False):
    """A label loss of the whole volume, and its mean over the instances of the target; see the subclasses."""

    loss: LabelLoss
    _: KW_ONLY
    alpha: float = 1.0
    beta: float = 1.0
    connectivity: int | None = None
    empty: str = "smooth"

    def __post_init__(self) -> None:
        if not isinstance(self.loss, LabelLoss):
            raise TypeError(f"{type(self).__name__} goes around a label loss, not {type(self.loss).__name__}")
        checks.choice("reduction of the loss", self.loss.reduction, ("mean", "sum"))
        checks.at_least("alpha", self.alpha, 0)
        checks.at_least("beta", self.beta, 0)
        if self.connectivity is not None:
            checks.at_least("connectivity", self.connectivity, 1)
        checks.choice("empty", self.empty, EMPTY)

    def extra_repr(self) -> str:
        """The options."""
        return self._told("loss")

    def _value(
        self, input: Tensor, target: Tensor, mask: Any, instances: Any, sizes: Iterable[float] | float
    ) -> Tensor:
        checks.choice("reduction of the loss", self.loss.reduction, ("mean", "sum"))  # it may have been set since
        view = view_labels(input, target, mask, **self.loss.sweep)
        dtype = accumulation_dtype(view.input)
        input = checks.plain("input", input).to(dtype)  # so that the terms' gradients are added before they are rounded
        weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
        found = self._components(view, weight) if instances is None else fitting_instances(instances, view.input)
        if found.shape[1] != 1:
            raise checks.ShapeError(f"instances has {found.shape[1]} channels: this loss takes one for all classes")
        if weight is not None:
            found = torch.where((weight > 0).any(1, True), found, 0)
        regions = self._regions(found, checks.voxel_sizes(sizes, view.input.ndim - 2))
        weight = torch.ones_like(found, dtype=dtype) if weight is None else weight
        total = times(self.alpha, self.loss(input, target, mask))
        counts = [[number for number in sample.unique().tolist() if number > 0] for sample in found]
        if self.empty == "whole":  # 0 stands for all of the volume
            counts = [numbers or [0] for numbers in counts]
        samples = sum(map(bool, counts)) if self.empty == "skip_term" else len(counts)
        for sample, numbers in enumerate(counts):
            own = slice(sample, sample + 1)
            for number in numbers:
                there = (regions[own] == number) | (regions[own] == 0)
                cut = torch.where(there, weight[own], 0).reshape(1, -1, *input.shape[2:])
                total = total + times(self.beta / len(numbers) / samples, self.loss(input[own], target[own], cut))
        return total

    def _components(self, view: LabelView, weight: Tensor | None) -> Tensor:
        """The components of every class but the background, numbered through, B 1 [spatial]."""
        channels = view.input.shape[1]
        members = membership(view.target, channels, view.indexed, accumulation_dtype(view.input))
        region = inside(blank(members, weight))
        if channels > 1 and (view.indexed or view.activation == "softmax" or not self.loss.include_background):
            region = region[:, 1:]
        if bool((region.sum(1) > 1).any()):
            raise ValueError("the target's classes overlap: pass instances=, or take one such loss for each class")
        found = own_instances(region, None, self.connectivity)
        most = found.flatten(2).amax(-1)
        before = (most.cumsum(1) - most).view(*most.shape, *[1] * (found.ndim - 2))
        return torch.where(found > 0, found + before, 0).sum(1, True)

    def _regions(self, found: Tensor, sizes: list[float]) -> Tensor:
        """Which instance each voxel is held against, B 1 [spatial]; 0 for all."""
        raise NotImplementedError


class BlobLoss(InstanceLoss):
    r"""Any label loss on the volume without the other instances, averaged over the instances, and on the volume.

    .. math::
        L = \alpha L(\Omega) + \frac{1}{B} \sum_b \frac{\beta}{K_b} \sum_{k=1}^{K_b}
        L\Bigl(\Omega_b \setminus \bigcup_{j \neq k} C_j\Bigr)

    with :math:`C_1 \dots C_{K_b}` the connected components of the classes in sample b, the background's excepted. The
    other instances are taken out by the mask; zeros in their place would be probabilities of 1/2 to a loss that takes
    logits. A sample without instances has the first term alone, but see ``empty``.

    The loss is called once for each instance: for Dice :class:`~medloss.BlobDiceLoss` sums all at once, class by class,
    and works under ``torch.compile(fullgraph=True)``, which a number of calls that depends on the data cannot.

    Args:
        loss: a label loss of this package, with a reduction of ``"mean"`` or ``"sum"``.
        alpha: weight of the loss of the whole volume, at least 0.
        beta: weight of the mean over the instances, at least 0.
        connectivity: along how many axes at once the voxels of one instance may touch: 1 for faces alone, None for
            all.
        empty: what a sample without instances adds: ``"smooth"``, the first term alone. ``"skip_term"``: it leaves the
            mean over the samples of the second term, as in the blob loss of its authors. ``"whole"``: the whole volume
            is its one region, as in the CC-DiceCE of its authors.

    Shape: as of the loss; instances B 1 [spatial], numbers from 1, in place of finding the components.

    Raises:
        TypeError: the loss is no label loss.
        ShapeError: target, mask or instances does not fit the input.
        ValueError: a negative weight, an unknown ``empty``, or a membership target whose classes overlap.

    References:
        [1] Kofler et al., blob loss: instance imbalance aware loss functions for semantic segmentation, IPMI 2023.

    >>> import torch, medloss
    >>> target, logits = torch.tensor([[[1.0, 1, 0, 1]]]), torch.zeros(1, 1, 4)
    >>> medloss.BlobLoss(medloss.CrossEntropyLoss(sigmoid=True), beta=0.5)(logits, target)  # 3/2 log 2
    tensor(1.0397)
    """

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, instances: Tensor | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self._value(input, target, mask, instances, 1.0)

    def _regions(self, found: Tensor, sizes: list[float]) -> Tensor:
        return found


class ConnectedComponentLoss(InstanceLoss):
    r"""Any label loss on the part of the volume nearest to each instance, averaged over them, and on the volume.

    .. math::
        L = \alpha L(\Omega) + \frac{1}{B} \sum_b \frac{\beta}{K_b} \sum_{k=1}^{K_b} L(V_k), \qquad
        V_k = \{i : d(i, C_k) \le d(i, C_j)\ \forall j\}

    with :math:`C_1 \dots C_{K_b}` the connected components of the classes in sample b, the background's excepted, and
    Euclidean distances d (a voxel between two goes to the one that comes first). A sample without instances has the
    first term alone, but see ``empty``. Around :class:`~medloss.DiceCELoss` it is the CC-DiceCE loss.

    The loss is called once for each instance: for Dice :class:`~medloss.CCDiceLoss` sums all at once, class by class,
    and works under ``torch.compile(fullgraph=True)``, which a number of calls that depends on the data cannot.

    Args:
        loss: a label loss of this package, with a reduction of ``"mean"`` or ``"sum"``.
        alpha: weight of the loss of the whole volume, at least 0.
        beta: weight of the mean over the instances, at least 0.
        connectivity: along how many axes at once the voxels of one instance may touch: 1 for faces alone, None for
            all.
        spacing: size of a voxel along each axis; also an argument of the call.
        empty: what a sample without instances adds: ``"smooth"``, the first term alone. ``"skip_term"``: it leaves the
            mean over the samples of the second term, as in the blob loss of its authors. ``"whole"``: the whole volume
            is its one region, as in the CC-DiceCE of its authors.

    Shape: as of the loss; instances B 1 [spatial], numbers from 1, in place of finding the components.

    Raises:
        TypeError: the loss is no label loss.
        ShapeError: target, mask or instances does not fit the input.
        ValueError: a negative weight, an unknown ``empty``, a spacing that is not above 0, or a membership target whose
            classes overlap.

    References:
        [1] Jaus et al., Every component counts (CC-Metrics), AAAI 2025. [2] Bouteille et al., Learning to look closer:
        a new instance-wise loss for small cerebral lesion segmentation, 2025 (CC-DiceCE).

    >>> import torch, medloss
    >>> target, input = torch.tensor([[[1.0, 1, 0, 0, 0, 1]]]), torch.tensor([[[1.0, 1, 0, 0, 1, 1]]])
    >>> loss = medloss.ConnectedComponentLoss(medloss.DiceLoss(smooth_nr=0), alpha=0)
    >>> loss(input, target)  # 0, and 1 - 2/3 where the false positive is
    tensor(0.1667)
    """

    spacing: Iterable[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.voxel_sizes(self.spacing, None)

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        *,
        spacing: Iterable[float] | float | None = None,
        instances: Tensor | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self._value(input, target, mask, instances, self.spacing if spacing is None else spacing)

    def _regions(self, found: Tensor, sizes: list[float]) -> Tensor:
        return cells(found, sizes)
