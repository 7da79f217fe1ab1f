"""``jaccard_extension``: the Lovasz extension of the Jaccard loss of each class, from logits and labels."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.jaccard_extension import reference
from medloss.ops.jaccard_extension.cpu import NativeJaccardExtension
from medloss.ops.jaccard_extension.triton_launch import TritonJaccardExtension
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["jaccard_extension"]


def _fake(args: reference.Arguments) -> Tensor:
    input = args.input
    shape = (1 if args.joined else input.shape[0], input.shape[1] - args.first, 3)
    return input.new_empty(shape, dtype=accumulation_dtype(input))


OPERATOR = Operator(
    "jaccard_extension",
    reference.Arguments,
    reference.jaccard_extension,
    _fake,
    (NativeJaccardExtension(), TritonJaccardExtension()),
)


def jaccard_extension(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    errors: str = "none",
    indexed: bool = False,
    ignore_index: int | None = None,
    joined: bool = False,
    first: int = 0,
) -> Tensor:
    r"""What :func:`~medloss.ops.sorted_errors` gives at the errors of each class, with no map of them made.

    The error of a voxel is :math:`|t - p|` of membership t and probability p, or for the hinge
    :math:`\max(1 - z (2 t - 1), 0)` of the logit z.

    On the CPU ranks come from counts in bins where probabilities of at least 2^15 voxels meet class indices: the value
    is that of a sort to about 1e-5, each entry of the gradient to about 1e-4 of the class's largest.

    Args:
        input: logits (or probabilities where ``errors="none"``), B C [spatial], any floating dtype.
        target: class indices B 1 [spatial] of any dtype that compares with integers, or memberships B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        errors: ``"softmax"``, ``"sigmoid"`` or ``"none"``: what makes the probabilities; or ``"hinge"``.
        indexed: whether ``target`` holds class indices. An index outside the classes belongs to no class.
        ignore_index: the label whose voxels weigh nothing; for class indices only.
        joined: whether the batch is one image.
        first: the first class that counts; the activation has seen all of them.

    Returns:
        B (1 with ``joined``) C - first 3: the extension, the weight of the class and that of all voxels; float64 for
        double input and float32 otherwise. Only the extension is differentiable, and in ``input`` alone.

    >>> import torch
    >>> p = torch.tensor([[[0.5, 0.0, 0.25]]])
    >>> jaccard_extension(p, torch.tensor([[[1, 1, 0]]]))  # errors 1/2, 1, 1/4: J is 1/2 at the largest, then 1
    tensor([[[0.7500, 2.0000, 3.0000]]])
    """
    return OPERATOR(input, target, mask, errors, indexed, ignore_index, joined, first)
