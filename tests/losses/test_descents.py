"""A loss whose minimum keeps a false region is no loss: each is descended on from a wrong start, and what is left seen.

Four images of 24 x 24: a slice without a lesion where one is predicted; a vessel with a false branch beside it; two
lesions, one of them missed; a lesion and a false one. The logits themselves are what is trained.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import BY_KIND, TABLE
from row import Row
from torch import Tensor
from torch.nn import functional as F

import medloss
from medloss.registry import losses

SIZE = 24
WRONG = ("empty slice", "false branch", "missed lesion", "false lesion")
LEFT = 0.1
"""The most of a wrong region that may be left."""
ACTIVATIONS = {
    "sigmoid": {"sigmoid": True},
    "softmax": {"softmax": True, "to_onehot_y": True},
    "by itself": {},
}
NEEDED: dict[str, dict[str, Any]] = {"GeneralizedWassersteinDiceLoss": {"dist_matrix": [[0.0, 1.0], [1.0, 0.0]]}}


def box(row: int, column: int, height: int, width: int) -> Tensor:
    image = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    image[row : row + height, column : column + width] = 1
    return image


def graded(image: Tensor) -> Tensor:
    """Smoothed, so that the prediction is less sure at its borders."""
    image = image[None, None]
    for _ in range(2):
        image = F.avg_pool2d(F.pad(image, [1] * 4, mode="replicate"), 3, 1)
    return image[0, 0]


def phantoms() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the start, targets, and the wrong region of each, B 1 [spatial]."""
    vessel, branch = box(3, 2, 3, 20), box(10, 2, 3, 16)
    lesion, second, false = box(8, 8, 7, 6), box(15, 16, 4, 5), box(2, 2, 4, 4)
    target = torch.stack([0 * lesion, vessel, lesion + second, lesion])
    start = torch.stack([lesion, vessel + branch, lesion, lesion + false])
    wrong = torch.stack([lesion, branch, second, false])
    logits = torch.stack([4 * graded(image) - 2 for image in start])
    return logits[:, None], target[:, None], wrong[:, None]


def left_after(loss: Callable[..., Tensor], activation: str, steps: int, enough: float = -1.0) -> dict[str, float]:
    """The share of each wrong region that is still wrong, after so many steps, or where no more than ``enough`` is, or
    where none has been for ten steps.

    Adam without its epsilon, which knows no small gradient.
    """
    logits, target, wrong = phantoms()
    if activation == "softmax":
        logits, target = torch.cat([-logits / 2, logits / 2], 1), target.long()
    logits = logits.clone().requires_grad_()
    adam = torch.optim.Adam([logits], lr=0.3, eps=1e-30)
    right = 0
    for _ in range(steps):
        adam.zero_grad()
        loss(logits, target).backward()
        adam.step()
        found = (logits[:, -1:] - (logits[:, :1] if activation == "softmax" else 0)).detach() > 0
        missed = ((found != (target > 0)) * wrong).sum((1, 2, 3)) / wrong.sum((1, 2, 3))
        right = right + 1 if missed.max() == 0 else 0
        if missed.max() <= enough or right == 10:
            break
    return dict(zip(WRONG, missed.tolist(), strict=True))


def made(name: str, options: dict[str, Any]) -> medloss.Loss | None:
    """The loss with an activation, or None where it does not take that one."""
    try:
        return getattr(medloss, name)(**options, **NEEDED.get(name, {}))
    except ValueError:
        return None


def runs(name: str) -> list[tuple[str, medloss.Loss]]:
    """The loss by each activation that it takes."""
    found = {activation: made(name, options) for activation, options in ACTIVATIONS.items()}
    if found["sigmoid"] is not None or found["softmax"] is not None:
        found["by itself"] = None  # probabilities are no logits
    return [(activation, loss) for activation, loss in found.items() if loss is not None]


@pytest.mark.parametrize("name", sorted(cls.__name__ for cls in losses("label").values()))
def test_nothing_wrong_is_left(name: str) -> None:
    """Alone, but for what its row says, which must be so; and all of it beside a Dice and a cross-entropy."""
    row: Row = TABLE.get(name, BY_KIND["label"])
    assert set(row.leaves) <= set(WRONG), row.leaves
    kept: set[str] = set()
    assert runs(name), f"{name} takes none of {ACTIVATIONS}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a region without a skeleton, on the way
        for activation, loss in runs(name):
            kept |= {wrong for wrong, share in left_after(loss, activation, 60).items() if share > LEFT}
            if row.leaves:
                company = medloss.DiceCELoss(**ACTIVATIONS[activation])
                both = left_after(lambda x, t, a=loss, b=company: a(x, t) + b(x, t), activation, 150, LEFT)
                assert max(both.values()) <= LEFT, (activation, both)
    assert kept == set(row.leaves), "what is left, and what the row says"


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row.leaves))
def test_the_docstring_says_what_to_add(name: str) -> None:
    doc = " ".join(inspect.getdoc(getattr(medloss, name)).split())
    assert re.search(r"\b([Mm]ix|[Aa]dd) (it with |both|a )", doc), f"{name} does not say that it wants company"


@pytest.mark.parametrize("wrapper", [medloss.BlobLoss, medloss.ConnectedComponentLoss])
@pytest.mark.parametrize("empty", ["smooth", "skip_term", "whole"])
def test_instances_leave_nothing(wrapper: type[Any], empty: str) -> None:
    for activation in ("sigmoid", "softmax"):
        left = left_after(wrapper(medloss.DiceLoss(**ACTIVATIONS[activation]), empty=empty), activation, 60)
        assert max(left.values()) <= LEFT, left


def test_the_descents_see_a_loss_that_paints_slices() -> None:
    """Noise-robust Dice with squares below: an absent class costs less the more is predicted."""
    for activation in ("sigmoid", "softmax"):
        loss = medloss.NoiseRobustDiceLoss(**ACTIVATIONS[activation], denominator="squares")
        assert left_after(loss, activation, 60)["empty slice"] > 0.9


def test_the_descents_see_a_loss_that_hides_a_branch() -> None:
    """The soft skeleton of the probabilities can be flattened away with the branch still there; cbDice's cannot."""
    left = left_after(medloss.SoftclDiceLoss(**ACTIVATIONS["softmax"]), "softmax", 60)
    assert left["false branch"] > LEFT
