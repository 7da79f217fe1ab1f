"""What a row of the table says about one exported loss, and the cells of the matrix that it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

# cell -> (the point of the contract, what is held, in the words of the documentation)
CELLS: dict[str, tuple[int, str]] = {
    "box mask": (1, "on a box mask the loss is that of the box"),
    "window mask": (1, "a window counts only valid voxels"),
    "poisoned mask": (1, "NaN and Inf under a mask reach neither value nor gradient"),
    "full mask": (1, "a full mask changes nothing, and a factor on it scales out"),
    "whole-number mask": (1, "a mask of whole numbers holds weights"),
    "ignored label": (2, "an ignored label is a mask"),
    "nothing ignored": (2, "with nothing ignored the value is the plain one"),
    "one-hot": (3, "indices of any type and their one-hot agree"),
    "background": (4, "background leaves after the activation"),
    "half": (5, "float16 and bfloat16, in and out of autocast"),
    "many voxels": (5, "more voxels than float16 counts"),
    "double": (5, "float64 stays float64"),
    "certain": (5, "where a class is certain, float32 gradients are those of float64, entry by entry"),
    "forbidden": (6, "a logit of minus infinity is one of -10000"),
    "degenerate": (6, "empty, full, saturated or constant volumes: finite value and gradient"),
    "one voxel": (6, "one voxel: finite value and gradient"),
    "all masked": (6, "everything masked gives 0 with zero gradient"),
    "no number": (6, "NaN that no mask covers shows in the value; a finite value has a finite gradient"),
    "nothing": (6, "no sample, no voxel or no point: 0 with an empty gradient"),
    "batch": (7, "the batch is the mean of its samples"),
    "samples": (7, "samples do not mix"),
    "processes": (7, "two processes equal one on the joined batch"),
    "reductions": (8, "mean and sum are those of none"),
    "none": (8, "none has the statistic's shape"),
    "ranks": (9, "1D, 2D and 3D"),
    "layouts": (9, "channels last, permuted, strided; inputs never changed"),
    "MetaTensor": (9, "MONAI's MetaTensor"),
    "default device": (9, "nothing is made on torch's default device; a loss that is built on meta keeps its numbers"),
    "meta": (9, "tensors on meta: a scalar there, with a gradient"),
    "option forms": (9, "numbers in arrays and tensors of any kind"),
    "state": (10, "no state; pickle, deepcopy, repr"),
    "options": (10, "an option set later counts or raises; no dataclass to the outside"),
    "contexts": (10, "backend, check_values and listen belong to their thread and nest"),
    "compile": (10, "torch.compile(fullgraph=True) and torch.export, at every shape"),
    "gradient": (11, "gradcheck in float64"),
    "second derivative": (11, "gradgradcheck in float64"),
    "functional": (11, "torch.func and forward mode"),
    "target gradient": (11, "the target of an image loss has a gradient"),
    "given gradients": (11, "a gradient of targets, masks and class weights is right, or an error"),
    "deterministic": (11, "repeats under deterministic algorithms"),
    "memory": (12, "bytes kept for backward are bounded"),
    "errors": (13, "errors say what was given, what is expected, what to do"),
}


@dataclass(frozen=True)
class Row:
    """One exported loss in the table.

    Attributes:
        options: constructor arguments, one test case each; empty for the default of the kind.
        none: shape of ``reduction="none"``: ``"region"`` B N, ``"sample"`` B, ``"voxel"`` B [spatial], ``"element"``
            B N [spatial], ``"interior"`` B N [anything], ``""`` where the loss has no ``none``. A function of the case
            where the options decide.
        neighbourhood: a voxel's neighbours matter.
        joined: the batch is on purpose more than the mean of its samples; a function of the case where options decide.
        saved: bytes kept for backward over those of the first tensor, where the kind's bound does not hold.
        least: least rank of the volumes (1, 2 or 3).
        inputs: makes the tensors in front of the mask, from (case, shape, batch, dtype, generator); None for the
            default of the kind.
        leaves: what a descent on this loss alone may leave wrong (see ``test_descents.py``) -> why; it is then run
            beside a Dice and a cross-entropy, to which its docstring must advise.
        without: cell -> why it does not apply, in words for the documentation.
    """

    options: list[dict[str, Any]] = field(default_factory=list)
    none: str | Callable[[Any], str] = "region"
    neighbourhood: bool = False
    joined: bool | Callable[[Any], bool] = False
    saved: float | None = None
    least: int = 1
    inputs: Callable[..., list[Tensor]] | None = None
    leaves: dict[str, str] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.without) - set(CELLS)
        assert not unknown, f"no such cell: {unknown}"
