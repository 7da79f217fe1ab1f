"""``region_sums`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move

from medloss.ops import Terms
from medloss.ops.region_sums import OPERATOR, triton

ALL = Terms.SQUARES | Terms.DIFFERENCE | Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL
PLAIN = Terms.SQUARES | Terms.DIFFERENCE


def logits(classes: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return (4 * torch.randn(2, classes, *shape)).to(dtype)


def weights(shape: tuple[int, ...], channels: int = 1) -> Tensor:
    return torch.rand(2, channels, *shape) * (torch.rand(2, channels, *shape) > 0.3)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize(
    ("classes", "shape"), [(1, (7,)), (2, (17, 31)), (3, (11, 13, 7)), (5, (1,)), (21, (9, 10)), (105, (5, 7))]
)
def test_equals_the_reference(activation: str, classes: int, shape: tuple[int, ...]) -> None:
    """Labels beyond the classes, an ignored label, empty classes, weights, and memberships under a mask."""
    terms = int(PLAIN if activation == "none" else ALL)
    x, labels = logits(classes, shape), torch.randint(-1, classes + 2, (2, 1, *shape))
    cases = [
        (labels, None, True, None),
        (labels.to(torch.int16), weights(shape), True, -1),
        (torch.rand(2, classes, *shape), weights(shape) > 0, False, None),
    ]
    for target, mask, indexed, ignore in cases:
        compare(OPERATOR, move((x, target, mask, activation, indexed, ignore, terms, 2.0)))
