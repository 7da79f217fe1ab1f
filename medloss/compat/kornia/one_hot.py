"""kornia's one-hot encoding."""

import torch

from medloss.compat.kornia.base import check, indices, plain


def one_hot(
    labels: torch.Tensor, num_classes: int, device: torch.device, dtype: torch.dtype, eps: float = 0.0
) -> torch.Tensor:
    """``kornia.losses.one_hot``: labels B [spatial] as memberships B C [spatial], mixed with ``eps`` everywhere.

    >>> one_hot(torch.tensor([[0, 2]]), 3, torch.device("cpu"), torch.float32)
    tensor([[[1., 0.],
             [0., 0.],
             [0., 1.]]])
    """
    labels = plain("labels", labels)
    check(labels.dtype == torch.int64, f"labels are {labels.dtype} and must be torch.int64")
    check(num_classes >= 1, f"num_classes={num_classes} must be at least 1")
    check(eps == 0 or dtype.is_floating_point, f"eps={eps} needs a floating type and not {dtype}")
    members = torch.nn.functional.one_hot(indices(labels, num_classes)[:, 0], num_classes).movedim(-1, 1)
    members = members.to(dtype=dtype, device=device)
    return members if eps == 0 else members * (1.0 - eps) + eps
