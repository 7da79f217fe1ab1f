"""Points 5 and 6: gradients where a class is certain, and logits of minus infinity."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from cases import LossCase, cases, is_first
from certain import SHAPE, gradient, hold_to_float64, situations, target_of
from turns import pairwise

import medloss

DISTANCES = (0.0, 5.0, 10.0, 18.0, 40.0, 80.0)
BACKENDS = ("reference", None)


@pytest.mark.parametrize("case", cases("label", cell="certain", rank=2), ids=str)
def test_a_certain_class_has_the_gradient_of_float64(case: LossCase) -> None:
    """The first case of a loss at every distance, the others, which take the same way with other options, at two."""
    for distance in DISTANCES if is_first(case) else DISTANCES[2:4]:
        hold_to_float64(case.make, case.indexed, distance, BACKENDS, together=not case.joined)


@pytest.mark.parametrize(
    "case,backend,everywhere", pairwise(cases("label", cell="forbidden", rank=2), BACKENDS, [True, False])
)
def test_a_forbidden_class(case: LossCase, backend: str | None, everywhere: bool) -> None:
    """A logit of minus infinity gives the value and the gradient of one of -10000."""
    _, logits, labels = next(iter(situations(1.0)))
    labels = labels.clamp_max(1)  # nothing is of the last class, which is forbidden
    forbidden = torch.zeros_like(logits, dtype=torch.bool)
    forbidden[:, 2] = True if everywhere else torch.arange(SHAPE[1]) % 2 == 0
    target = target_of(case.indexed, labels)
    found = gradient(case.make(), logits.masked_fill(forbidden, -torch.inf), target, backend, torch.float32)
    wanted = gradient(case.make(), logits.masked_fill(forbidden, -1e4), target, backend, torch.float32)
    assert torch.isfinite(wanted).all()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-9)
    with medloss.backend(backend), torch.no_grad():
        values = [case.make()(logits.masked_fill(forbidden, logit), target).sum() for logit in (-torch.inf, -1e4)]
    assert torch.isfinite(values[0])
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("backend", BACKENDS, ids=["reference", "default"])
def test_a_voxel_whose_classes_are_all_forbidden(backend: str | None) -> None:
    """All its classes have the logit -10000, and so equal shares."""
    logits, labels = torch.full((1, 4, 3), -torch.inf), torch.zeros(1, 1, 3, dtype=torch.long)
    options: dict[str, Any] = {"softmax": True, "to_onehot_y": True}
    # an overlap of 3/4 and sizes of 3/4 and 3 give 1 - 1.5 / 3.75; absent classes 1, but for the smoothing
    dice = medloss.DiceLoss(reduction="none", **options)
    with medloss.backend(backend):
        torch.testing.assert_close(dice(logits, labels)[0, 0].item(), 0.6, rtol=1e-4, atol=0)
        entropy = medloss.CrossEntropyLoss(to_onehot_y=True)(logits, labels)
        likelihood = medloss.GeneralizedCrossEntropyLoss(q=0.5, to_onehot_y=True)(logits, labels)
        surface = medloss.BoundaryLoss(**options)(logits, labels)
    assert entropy.item() == pytest.approx(1.3862944, rel=1e-6)  # log 4
    assert likelihood.item() == pytest.approx(1, rel=1e-6)  # (1 - (1/4)^q) / q
    assert surface.isfinite()


@pytest.mark.parametrize("backend", BACKENDS, ids=["reference", "default"])
def test_the_digits_by_hand(backend: str | None) -> None:
    """Two classes 18 apart and the nearer one right: the slope of -log p is -q and q, with q = 1 / (1 + e^18)."""
    logits, labels = torch.tensor([[[18.0], [0.0]]]), torch.tensor([[[0]]])
    q = 1.522997951e-8
    found = gradient(medloss.CrossEntropyLoss(to_onehot_y=True), logits, labels, backend, torch.float32)
    torch.testing.assert_close(found.flatten(), torch.tensor([-q, q]).double(), rtol=1e-5, atol=0)
    # Dice of one voxel, unsmoothed: 1 - 2 p / (p + 1) falls by -2 / (p + 1)^2 = -1/2 in p, with dp/dz = p q; the absent
    # class has 1 - 0 whatever it is
    loss = medloss.DiceLoss(softmax=True, to_onehot_y=True, reduction="sum", smooth_nr=0, smooth_dr=0)
    found = gradient(loss, logits, labels, backend, torch.float32)
    torch.testing.assert_close(found.flatten(), torch.tensor([-q / 2, q / 2]).double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_one_label_fills_a_patch(size: int) -> None:
    """There the correlation is none: 1 for each class that has any error, with no gradient."""
    logits = torch.zeros(1, 2, size, size, size)
    logits[:, 1] = 6 + 0.1 * torch.rand(size, size, size)
    labels = torch.ones(1, 1, size, size, size, dtype=torch.uint8)
    leaf = logits.requires_grad_()
    value = medloss.MCCLoss(softmax=True, to_onehot_y=True)(leaf, labels)
    (found,) = torch.autograd.grad(value, leaf)
    assert value.item() == pytest.approx(1, abs=1e-6)
    assert found.abs().sum() < 1e-12


def test_an_absent_class_in_float32() -> None:
    """Dice of an absent class is 1e-5 / (1e-5 + S): its logarithm has the digits of double."""
    logits = torch.zeros(1, 2, 8, 8)
    logits[:, 0] = 20
    labels = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    loss = medloss.ExpLogLoss(softmax=True, to_onehot_y=True, smooth_nr=1e-5, smooth_dr=1e-5)
    for logits_apart in (20.0, 2.0):
        logits[:, 0] = logits_apart
        torch.testing.assert_close(loss(logits, labels).double(), loss(logits.double(), labels), rtol=1e-4, atol=0)


@pytest.mark.parametrize("backend", BACKENDS, ids=["reference", "default"])
def test_descent_stays_on_its_way(backend: str | None) -> None:
    """Adam divides a gradient by its size: where it is rounding, it walks anywhere. The loss falls in every step."""
    from medloss.compat.monai import GeneralizedWassersteinDiceLoss

    torch.manual_seed(0)
    labels = torch.randint(0, 2, (1, 1, 8, 8))
    logits = torch.randn(1, 2, 8, 8, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.3)
    loss = GeneralizedWassersteinDiceLoss(dist_matrix=[[0.0, 1.0], [1.0, 0.0]])
    values = []
    with medloss.backend(backend):
        for _ in range(300):
            optimiser.zero_grad()
            value = loss(logits, labels)
            value.backward()
            optimiser.step()
            values.append(value.item())
    assert all(later <= before for before, later in itertools.pairwise(values))
    assert values[-1] < 1e-4
