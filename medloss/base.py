"""What a loss is: its kind is its base class, its options are the annotated names of its class body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from medloss import checks
from medloss.constants import Constants
from medloss.empty import zero_of_nothing
from medloss.forms import RegionForm, Share, read_once
from medloss.labels import LabelView, view_labels
from medloss.masks import shows_in_value
from medloss.ops import Terms, region_loss, region_sums
from medloss.ops.masking import present
from medloss.ops.operator import is_plain_eager
from medloss.options import Configured
from medloss.reduction import REDUCTIONS, reduce
from medloss.sums import RegionSums, all_reduced


class Term(NamedTuple):
    """One term of a compound loss: its raw value, its weight, and ``value = weight * raw``."""

    raw: Tensor
    weight: float
    value: Tensor


class Loss(Constants, Configured):
    """A loss: options are keywords, ``forward`` keeps nothing of its input, ``state_dict()`` is empty.

    An option that is set later (``loss.weight = [1, 2, 4]``) counts as one that the constructor was given, or raises
    what that would raise.

    Args:
        reduction: ``"mean"`` or ``"sum"`` over the valid entries of what ``"none"`` returns.
    """

    reduction: str = "mean"

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({self._told()})"

    def __post_init__(self) -> None:
        checks.choice("reduction", self.reduction, REDUCTIONS)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls):
            cls.forward = zero_of_nothing(shows_in_value(cls.forward))


class ImageLoss(Loss):
    """A loss between two images: ``loss(input, target, mask=None)``, B C [spatial] each, mask B 1 [spatial]."""

    def _images(self, input: Any, target: Any, mask: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        input, target = checks.image_like("input", input, 3), checks.image_like("target", target, 3)
        checks.same_device("target", target, input)
        checks.same_shape("target", target, input)
        return input, target, checks.mask_like(mask, input)


class FieldLoss(Loss):
    """A loss of a vector field: ``loss(field, mask=None, spacing=None)``, field B d [spatial] with d spatial axes.

    Args:
        spacing: size of a voxel along each axis (one number for all), in the unit of the field's components:
            millimetres for a displacement in millimetres along the axes, 1 for one in voxels. The argument of
            ``forward`` goes before this option.
    """

    spacing: Sequence[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.voxel_sizes(self.spacing, None)

    def _field(self, field: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
        field = checks.image_like("field", field, 3)
        rank = field.ndim - 2
        if field.shape[1] != rank:
            raise checks.ShapeError(
                f"field has shape {checks.shape(field)}: expected {rank} components for {rank} spatial axes"
            )
        return field, checks.mask_like(mask, field)


class FieldPairLoss(FieldLoss):
    """A loss of a field and the one that should undo it: ``loss(field, inverse, mask=None, spacing=None)``, alike."""


class PointLoss(Loss):
    """A loss between two sets of points: ``loss(input, target, mask=None)``, B N d and B M d, mask B N."""


class LabelLoss(Loss):
    """A loss between a segmentation and its target: ``loss(input, target, mask=None)``.

    Shape: input B N [spatial]; target B N [spatial], or B 1 [spatial] with ``to_onehot_y``; mask B 1 [spatial], weight
    of each voxel, whose zeros take voxels out of every sum. A logit of minus infinity, of a forbidden class, is one of
    -10000.

    Args:
        include_background: whether channel 0 counts; it leaves after the activation.
        to_onehot_y: the target holds class indices, of any integer dtype. No one-hot is made.
        sigmoid: whether the input is logits of channels that may overlap: a sigmoid makes them probabilities.
        softmax: whether the input is logits of classes, one of which each voxel has.
        other_act: a function that makes the input probabilities. At most one of sigmoid, softmax and other_act is set.
        weight: factor per class, as many as the input has channels (the background's is there even if it does not
            count).
        ignore_index: the label whose voxels do not count. In a target of memberships a class number stands for the
            voxels of that class, and any other number for the voxels that hold it.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Tensor], Tensor] | None = None
    weight: Sequence[float] | Tensor | None = None
    ignore_index: int | None = None
    _weight: ClassVar[Tensor | None]  # a buffer of each instance, and no option

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.other_act is not None and not callable(self.other_act):
            raise TypeError(f"other_act must be callable, not {type(self.other_act).__name__}")
        if int(self.sigmoid) + int(self.softmax) + int(self.other_act is not None) > 1:
            raise ValueError("sigmoid, softmax and other_act exclude each other: choose one activation")
        self._constant("weight", self.weight)

    @property
    def activation(self) -> str:
        """What stands between the input and the probabilities."""
        return "softmax" if self.softmax else "sigmoid" if self.sigmoid else "none"

    @property
    def needs(self) -> Terms:
        """The columns of the region sums that this loss looks at, beyond the first four."""
        return Terms.NONE

    @property
    def sweep(self) -> dict[str, Any]:
        """How this loss looks at input and target; losses that look alike share one sweep."""
        return {
            "activation": self.activation,
            "other_act": self.other_act,
            "to_onehot_y": self.to_onehot_y,
            "ignore_index": self.ignore_index,
        }

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """The loss, reduced, from what was summed over the voxels of ``view``."""
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        value = fused_loss(view, [(1.0, self)])
        return self.evaluate(view, compute_region_sums(view, [self])) if value is None else value

    def closed_form(self, classes: int) -> RegionForm | Share | None:
        """What :meth:`evaluate` is on the sums of an input of so many classes, where ``region_loss`` knows it."""
        return None

    def _factors(self, classes: int) -> Tensor | None:
        """The class weights that count, checked against the input's channels."""
        weight = self._weight
        if weight is None:
            return None
        if weight.numel() != classes:
            raise ValueError(
                f"weight has {weight.numel()} entries and input {classes} channels: give one per channel, the "
                "background's too"
            )
        return weight

    def _first(self, classes: int) -> int:
        """The first class that counts."""
        if self.include_background:
            return 0
        if classes == 1:
            raise ValueError("include_background=False leaves no channel of a one-channel input")
        return 1


def _sweep(view: LabelView, losses: Sequence[LabelLoss]) -> dict[str, Any]:
    """The options of one sweep over the voxels for all of the losses, which must look at them alike."""
    terms = Terms.NONE
    focal: list[Any] = []
    for loss in losses:
        needs = loss.needs
        terms |= needs
        if needs & Terms.FOCAL:
            focal.append(loss)
    gammas = {float(loss.gamma) for loss in focal}
    if len(gammas) > 1:
        raise ValueError(f"one sweep has one gamma, not {sorted(gammas)}")
    return {
        "activation": view.activation,
        "indexed": view.indexed,
        "ignore_index": view.ignore_index,
        "terms": terms,
        "gamma": gammas.pop() if gammas else 0.0,
    }


def compute_region_sums(view: LabelView, losses: Sequence[LabelLoss]) -> RegionSums:
    """What the losses want to know of the voxels, from one sweep."""
    columns = region_sums(view.input, view.target, view.mask, **_sweep(view, losses))
    return RegionSums(columns, target_grad=view.target_grad(), whole=view.whole())


def fused_loss(view: LabelView, parts: Sequence[tuple[float, LabelLoss]]) -> Tensor | None:
    """The weighted sum of the losses by one operator; None where their formulas are not of its kind."""
    tensors = [tensor for tensor in (view.target, view.mask) if tensor is not None]
    if not is_plain_eager(view.input, *tensors) or any(tensor.requires_grad for tensor in tensors):
        return None  # a compiler fuses the arithmetic itself; the operator has no gradient of a target
    terms: dict[str, Any] = {}
    for weight, loss in parts:
        form = loss.closed_form(view.input.shape[1])
        told = {} if form is None else form.options(weight)
        if not told or terms.keys() & told.keys():
            return None
        terms |= told
    mean = parts[0][1].reduction == "mean"
    sweep = _sweep(view, [loss for _, loss in parts])
    return region_loss(view.input, view.target, view.mask, **sweep, **terms, mean=mean)


class RegionLoss(LabelLoss):
    """A label loss that is arithmetic on the sums of each region; ``"none"`` gives B N (1 N with ``batch``).

    Args:
        batch: sum over the batch before the formula, not after.
        empty: what a class costs that the target lacks: ``"smooth"`` leaves it to the smoothing terms (0 where it is
            not predicted either, else about 1), ``"skip"`` leaves it out of the mean.
        process_group: with ``batch``, add up the sums of all processes too: ``"world"``, or a group of
            ``torch.distributed``. Value and (averaged) gradient are then those of one process on the joined batch.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.
    """

    batch: bool = False
    empty: str = "smooth"
    process_group: Any = None
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("empty", self.empty, ("smooth", "skip"))
        checks.at_least("smooth_nr", self.smooth_nr, 0)
        checks.at_least("smooth_dr", self.smooth_dr, 0)
        if self.process_group is not None and not self.batch:
            raise ValueError("process_group adds up the sums of a batch: it needs batch=True")

    def finalise(self, sums: RegionSums) -> Tensor:
        """The formula: from the sums of each sample and class to a value of the same shape, B N."""
        raise NotImplementedError

    def closed_form(self, classes: int) -> RegionForm | None:
        """The formula, where it is a quotient."""
        mine = type(self)
        if mine.evaluate is not RegionLoss.evaluate or mine._valid is not RegionLoss._valid:
            return None
        if self.reduction == "none" or self.process_group is not None:
            return None
        quotient = read_once(self)
        if quotient is None:
            return None
        return RegionForm(quotient, self._factors(classes), self._first(classes), self.batch, self.empty == "skip")

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """The formula on the sums of the classes that count, weighted and reduced."""
        classes = view.input.shape[1]
        factors, first = self._factors(classes), self._first(classes)
        sums = sums.classes_from(first)
        if self.batch:
            sums = all_reduced(sums.over_batch(), self.process_group)
        values = self.finalise(sums)
        if factors is not None:
            values = values * factors[first:].to(values)
        return reduce(values, self.reduction, self._valid(sums))

    def _valid(self, sums: RegionSums) -> Tensor | None:
        """Which samples and classes count; None where it is all of them."""
        if self.empty == "skip":
            return present(sums.voxels) & present(sums.target)
        return None if sums.whole else present(sums.voxels)
