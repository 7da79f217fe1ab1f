"""What a row of the table says about one exported loss, and the cells of the matrix that it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

ONE_IMAGE = "the loss takes one image"
"""Why a loss has no gradient in a target."""

# cell -> (the point of the contract, what is held, in the words of the documentation)
CELLS: dict[str, tuple[int, str]] = {
    "box mask": (1, "with a mask that is a box, the loss is that of the cut-out box"),
    "window mask": (1, "a window counts valid voxels only"),
    "poisoned mask": (1, "NaN and Inf at masked voxels reach neither value nor gradient"),
    "full mask": (1, "a mask of ones changes nothing, and a constant factor on the mask changes nothing"),
    "whole-number mask": (1, "a mask of whole numbers gives weights"),
    "ignored label": (2, "an ignored label acts like a mask"),
    "nothing ignored": (2, "if no voxel is ignored, the value is the same as without the option"),
    "one-hot": (3, "class indices of any integer type and their one-hot map give the same value"),
    "background": (4, "the background channel is dropped after the activation"),
    "half": (5, "float16 and bfloat16 work, with and without autocast"),
    "many voxels": (5, "more voxels than float16 can count"),
    "double": (5, "float64 inputs give float64 results"),
    "certain": (
        5,
        "where the prediction of a class is certain, float32 gradients equal those of float64 at each entry",
    ),
    "forbidden": (6, "a logit of minus infinity acts like -10000"),
    "degenerate": (6, "empty, full, saturated or constant volumes give a finite value and gradient"),
    "one voxel": (6, "one voxel gives a finite value and gradient"),
    "all masked": (6, "if everything is masked, the value is 0 and the gradient is zero"),
    "no number": (6, "NaN at a voxel that is not masked makes the value NaN; a finite value has a finite gradient"),
    "nothing": (6, "a batch without samples, voxels or points gives 0 and an empty gradient"),
    "batch": (7, "the value of a batch is the mean of its samples"),
    "samples": (7, "samples do not influence each other"),
    "processes": (7, "two processes give the value of one process with the joined batch"),
    "reductions": (8, "`mean` and `sum` are the mean and the sum of `none`"),
    "none": (8, "`none` has the documented shape"),
    "ranks": (9, "1D, 2D and 3D"),
    "layouts": (9, "channels-last, permuted and strided tensors; inputs are never changed"),
    "MetaTensor": (9, "MONAI's MetaTensor is accepted"),
    "default device": (
        9,
        "torch's default device has no influence; a loss that is made on the meta device keeps its numbers",
    ),
    "meta": (9, "tensors on the meta device give a scalar there, with a gradient"),
    "option forms": (9, "numbers may be given as arrays or tensors of any kind"),
    "state": (10, "no state; pickle, deepcopy and repr work"),
    "options": (10, "an option that is set later takes effect or raises; a loss is no dataclass to other packages"),
    "contexts": (10, "`backend`, `check_values` and `listen` belong to their thread and can be nested"),
    "compile": (10, "torch.compile(fullgraph=True) and torch.export work, at every shape"),
    "gradient": (11, "gradcheck in float64"),
    "second derivative": (11, "gradgradcheck in float64"),
    "functional": (11, "torch.func and forward mode work"),
    "target gradient": (11, "the target of an image loss has a gradient"),
    "given gradients": (11, "a gradient of targets, masks and class weights is right, or raises an error"),
    "deterministic": (11, "results repeat under deterministic algorithms"),
    "memory": (12, "the bytes kept for the backward pass are bounded"),
    "errors": (13, "errors say what was given, what is expected and what to do"),
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
