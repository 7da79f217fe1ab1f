"""Dice of each instance by itself, so that a small lesion counts as much as a large one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import LabelView, view_labels
from medloss.map_loss import LabelMaps, MapLoss, label_maps
from medloss.ops.masking import present
from medloss.ops.operator import without_autocast
from medloss.reduction import ratio
from medloss.segmentation.distances import inside
from medloss.segmentation.instances import cells, fitting_instances, of_classes, own_instances, sums_by


class InstanceDiceLoss(MapLoss):
    """Dice of the whole volume, and the mean of the Dice of each instance in a region of its own.

    Args:
        alpha: weight of the Dice of the whole volume, at least 0.
        beta: weight of the mean over the instances, at least 0.
        connectivity: along how many axes at once the voxels of one instance may touch: 1 for faces alone, None for
            all.
        max_instances: the most instances of a class in a sample; what is beyond counts as one instance together.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.
        empty: what the mean over the instances is of a class without instances.
    """

    EMPTY: ClassVar[tuple[str, ...]] = ("smooth", "skip", "skip_term", "whole")
    alpha: float = 1.0
    beta: float = 1.0
    connectivity: int | None = None
    max_instances: int = 512
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("alpha", 0), ("beta", 0), ("max_instances", 1), ("smooth_nr", 0), ("smooth_dr", 0)):
            checks.at_least(name, getattr(self, name), least)
        if self.connectivity is not None:
            checks.at_least("connectivity", self.connectivity, 1)

    def regions(self, instances: Tensor, spacing: list[float]) -> Tensor:
        """Which instance each voxel is held against, B N [spatial]; 0 for none or for all."""
        raise NotImplementedError

    def shared(self, sums: Tensor) -> Tensor:
        """What the voxels of slot 0, B N 1, add to the sums of every instance."""
        raise NotImplementedError

    def _reduced(self, view: LabelView, *args: Any, **given: Any) -> Tensor:
        classes = view.input.shape[1]
        maps = label_maps(view, self._first(classes))
        whole, found, there = self._terms(maps, *args, **given)
        counting = self._counting(maps)
        if self.empty == "skip_term":  # each term is a mean of its own
            instances = self._pooled(self.beta * found, counting & there, classes)
            return self._pooled(self.alpha * whole, counting, classes) + instances
        if self.empty == "whole":
            found = torch.where(there, found, whole)
        return self._pooled(self.alpha * whole + self.beta * found, counting, classes)

    def _terms(self, maps: LabelMaps, spacing: list[float], instances: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The Dice of all, the mean Dice of the instances, and whether there are any, B N each."""
        region = inside(maps.target)
        if instances is None:
            instances = own_instances(region, maps.valid, self.connectivity)
        else:
            instances = of_classes(instances, region, maps.valid)
        slots = self.regions(instances.clamp(0, self.max_instances), spacing)
        products = [maps.weighted(values) for values in (maps.input * maps.target, maps.input, maps.target)]
        overlap, predicted, true = sums_by(slots, products, self.max_instances + 1)
        whole = self._dice(*(sums.sum(-1) for sums in (overlap, predicted, true)))
        each = self._dice(*(sums[..., 1:] + self.shared(sums[..., :1]) for sums in (overlap, predicted, true)))
        there = present(true[..., 1:])
        found = ratio(torch.where(there, each, 0).sum(-1), there.sum(-1).to(each.dtype))
        return whole, found, there.any(-1)

    def _value(
        self, input: Tensor, target: Tensor, mask: Tensor | None, instances: Tensor | None, spacing: Any
    ) -> Tensor:
        view = view_labels(input, target, mask, **self.sweep)
        sizes = checks.voxel_sizes(spacing, view.input.ndim - 2)
        given = None if instances is None else fitting_instances(instances, view.input)
        with without_autocast(view.input.device.type):
            return self._reduced(view, spacing=sizes, instances=given)

    def _dice(self, overlap: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return 1 - (2 * overlap + self.smooth_nr) / (predicted + true + self.smooth_dr)


class BlobDiceLoss(InstanceDiceLoss):
    r"""Dice of each instance on the volume without the other instances, averaged, and the Dice of the volume.

    .. math::
        L = \alpha L_{\text{Dice}}(\Omega) + \frac{\beta}{K} \sum_{k=1}^K
        L_{\text{Dice}}\Bigl(\Omega \setminus \bigcup_{j \neq k} C_j\Bigr)

    for each sample and class, with :math:`C_1 \dots C_K` the connected components of the target. The other instances
    leave the sums; they are not turned into background. Every instance is held against all false positives of the
    volume. A class without instances has the first term alone, so that the second counts half where half of the samples
    are empty; the authors leave these out of its mean (``empty="skip_term"``).

    All instances are summed in one pass over the voxels, whatever their number.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], instances B N or B 1 [spatial];
    ``"none"`` gives B N.

    Range: [0, alpha + beta] for hard targets.

    Limits: with one instance it is alpha + beta times :class:`~medloss.DiceLoss`, and with beta = 0 alpha times.
    Equals :class:`~medloss.BlobLoss` around :class:`~medloss.DiceLoss` for one class.

    Args:
        alpha: weight of the Dice of the whole volume, at least 0.
        beta: weight of the mean over the instances, at least 0.
        connectivity: along how many axes at once the voxels of one instance may touch: 1 for faces alone, None for
            all.
        max_instances: the most instances of a class in a sample; what is beyond counts as one instance together.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.
        empty: what a class costs that the target lacks, so that there are no instances: ``"smooth"``, the first term
            alone, whose value the smoothing terms decide. ``"skip_term"``: it leaves the mean of the second term, as in
            the blob loss of its authors; so each term is a mean over what it counts. ``"whole"``: the whole volume is
            its one region, as in the CC-DiceCE of its authors. ``"skip"``: it leaves the mean of both.

    The call takes ``instances``, a number from 1 for each voxel of an instance, in place of finding the components:
    one map for all classes or one per class. :class:`medloss.transforms.ComponentLabels` makes it.

    Raises:
        ShapeError: target, mask or instances does not fit the input.
        ValueError: a negative weight, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Kofler et al., blob loss: instance imbalance aware loss functions for semantic segmentation, IPMI 2023.

    >>> import torch, medloss
    >>> target, input = torch.tensor([[[1.0, 1, 1, 0, 1, 0]]]), torch.tensor([[[1.0, 1, 1, 0, 0, 0]]])
    >>> loss = medloss.BlobDiceLoss(alpha=0, smooth_nr=0)
    >>> loss(input, target)  # the large one is found, the small one is not
    tensor(0.5000)
    """

    def regions(self, instances: Tensor, spacing: list[float]) -> Tensor:
        """The instances; the background is held against all of them."""
        return instances

    def shared(self, sums: Tensor) -> Tensor:
        """The background belongs to every region."""
        return sums

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, instances: Tensor | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self._value(input, target, mask, instances, 1.0)


class CCDiceLoss(InstanceDiceLoss):
    r"""Dice of each instance on the part of the volume that is nearer to it than to the others, averaged.

    .. math::
        L = \alpha L_{\text{Dice}}(\Omega) + \frac{\beta}{K} \sum_{k=1}^K L_{\text{Dice}}(V_k), \qquad
        V_k = \{i : d(i, C_k) \le d(i, C_j)\ \forall j\}

    for each sample and class, with :math:`C_1 \dots C_K` the connected components of the target and Euclidean
    distances d (a voxel between two goes to the one that comes first). A false positive costs the nearest instance
    alone. A class without instances has the first term alone, so that at alpha = 0 the false positives of an empty
    patch cost nothing; to the authors the whole volume is then its one region (``empty="whole"``).

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], instances B N or B 1 [spatial];
    ``"none"`` gives B N.

    Range: [0, alpha + beta] for hard targets.

    Limits: with one instance it is alpha + beta times :class:`~medloss.DiceLoss`, and with beta = 0 alpha times.
    Equals :class:`~medloss.ConnectedComponentLoss` around :class:`~medloss.DiceLoss` for one class.

    Args:
        alpha: weight of the Dice of the whole volume, at least 0.
        beta: weight of the mean over the instances, at least 0.
        connectivity: along how many axes at once the voxels of one instance may touch: 1 for faces alone, None for
            all.
        max_instances: the most instances of a class in a sample; what is beyond counts as one instance together.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.
        spacing: size of a voxel along each axis; also an argument of the call.
        empty: what a class costs that the target lacks, so that there are no instances: ``"smooth"``, the first term
            alone, whose value the smoothing terms decide. ``"skip_term"``: it leaves the mean of the second term, as in
            the blob loss of its authors; so each term is a mean over what it counts. ``"whole"``: the whole volume is
            its one region, as in the CC-DiceCE of its authors. ``"skip"``: it leaves the mean of both.

    The call takes ``instances``, a number from 1 for each voxel of an instance, in place of finding the components:
    one map for all classes or one per class. :class:`medloss.transforms.ComponentLabels` makes it.

    Raises:
        ShapeError: target, mask or instances does not fit the input.
        ValueError: a negative weight, a spacing that is not above 0, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Jaus et al., Every component counts (CC-Metrics), AAAI 2025. [2] Bouteille et al., Learning to look closer:
        a new instance-wise loss for small cerebral lesion segmentation, 2025 (CC-DiceCE).

    >>> import torch, medloss
    >>> target, input = torch.tensor([[[1.0, 1, 0, 0, 0, 1]]]), torch.tensor([[[1.0, 1, 0, 0, 1, 1]]])
    >>> loss = medloss.CCDiceLoss(alpha=0, smooth_nr=0)
    >>> loss(input, target)  # 0, and 1 - 2/3 where the false positive is
    tensor(0.1667)
    """

    spacing: Iterable[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.voxel_sizes(self.spacing, None)

    def regions(self, instances: Tensor, spacing: list[float]) -> Tensor:
        """The cell of each instance."""
        return cells(instances, spacing)

    def shared(self, sums: Tensor) -> Tensor:
        """Nothing: every voxel belongs to one cell."""
        return torch.zeros_like(sums)

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
