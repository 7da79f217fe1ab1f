"""The Lovasz extension: opcheck, values by hand, its definition as a set function, gradients, and masks."""

from __future__ import annotations

import itertools

import pytest
import torch

from medloss.ops import sorted_errors

DOUBLE = torch.float64


def sample(rows: tuple[int, int] = (2, 3), voxels: int = 17) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    errors = torch.rand(*rows, voxels, dtype=DOUBLE)
    weight = torch.rand(rows[0], 1, voxels, dtype=DOUBLE) * (torch.rand(rows[0], 1, voxels) > 0.3)
    return errors, torch.rand(*rows, voxels) > 0.6, weight


def jaccard_loss(wrong: set[int], members: set[int]) -> float:
    """1 - intersection over union of the members with a prediction that is wrong at some voxels."""
    predicted = members ^ wrong
    union = members | predicted
    return 1 - len(members & predicted) / len(union) if union else 0.0


def test_opcheck() -> None:
    errors, inside, weight = sample()
    for mass in (None, weight):
        torch.library.opcheck(torch.ops.medloss.sorted_errors.default, (errors.requires_grad_(), inside, mass))


def test_by_hand() -> None:
    # errors .9 (member), .5 (other), .2 (member): union 2, 3, 3 and intersection 1, 1, 0: J = 1/2, 2/3, 1
    found = sorted_errors(torch.tensor([[[0.2, 0.9, 0.5]]]), torch.tensor([[[1, 1, 0]]]))
    assert found.item() == pytest.approx(0.9 / 2 + 0.5 / 6 + 0.2 / 3)
    # nobody is a member: the largest error alone counts
    assert sorted_errors(torch.tensor([[[0.2, 0.9, 0.5]]]), torch.zeros(1, 1, 3)).item() == pytest.approx(0.9)
    # an error that weighs 3 is three voxels: union 1, 4 and intersection 0 at once
    found = sorted_errors(torch.tensor([[[0.8, 0.4]]]), torch.tensor([[[0, 1]]]), torch.tensor([[[3.0, 1.0]]]))
    assert found.item() == pytest.approx(0.8 * 3 / 4 + 0.4 / 4)


@pytest.mark.parametrize("members", [set(), {0}, {1, 3}, {0, 1, 2, 3}])
def test_at_corners_it_is_the_jaccard_loss(members: set[int]) -> None:
    """An extension agrees with its set function where every error is 0 or 1."""
    inside = torch.tensor([float(i in members) for i in range(4)]).view(1, 1, 4)
    for bits in itertools.product((0.0, 1.0), repeat=4):
        wrong = {i for i, bit in enumerate(bits) if bit}
        found = sorted_errors(torch.tensor(bits).view(1, 1, 4), inside)
        assert found.item() == pytest.approx(jaccard_loss(wrong, members), abs=1e-6)


def test_it_is_the_integral_of_the_jaccard_loss_over_thresholds() -> None:
    """The other definition of the extension, with no sorting: the mean of J(errors >= threshold)."""
    errors, inside, _ = sample((1, 1), 9)
    members = set(inside[0, 0].nonzero().flatten().tolist())
    levels = [0.0, *sorted(errors[0, 0].tolist())]
    expected = 0.0
    for low, high in itertools.pairwise(levels):
        wrong = {i for i, error in enumerate(errors[0, 0].tolist()) if error >= high}
        expected += (high - low) * jaccard_loss(wrong, members)
    assert sorted_errors(errors, inside).item() == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(weighted: bool) -> None:
    errors, inside, weight = sample(voxels=9)
    weight = weight if weighted else None
    torch.autograd.gradcheck(lambda e: sorted_errors(e, inside, weight), errors.requires_grad_())
    torch.autograd.gradgradcheck(lambda e: sorted_errors(e * e, inside, weight), errors)
    step = torch.func.grad(lambda e: sorted_errors(e, inside, weight).sum())(errors.detach())
    (expected,) = torch.autograd.grad(sorted_errors(errors, inside, weight).sum(), errors)
    torch.testing.assert_close(step, expected)


def test_a_weight_of_zero_takes_voxels_away() -> None:
    errors, inside, weight = sample((1, 3))
    keep = weight[0, 0] > 0
    dirty = torch.where(keep, errors, torch.tensor(torch.nan, dtype=DOUBLE)).requires_grad_()
    value = sorted_errors(dirty, inside, weight > 0)
    torch.testing.assert_close(value, sorted_errors(errors[..., keep], inside[..., keep]))
    (gradient,) = torch.autograd.grad(value.sum(), dirty)
    assert not gradient[..., ~keep].any()
    assert not sorted_errors(errors, inside, torch.zeros(1, 1, 17)).any()


def test_weights_are_repeated_voxels() -> None:
    errors, inside, _ = sample((1, 2), 6)
    times = torch.tensor([3, 0, 1, 2, 1, 4])
    repeated = sorted_errors(errors.repeat_interleave(times, -1), inside.repeat_interleave(times, -1))
    torch.testing.assert_close(sorted_errors(errors, inside, times.view(1, 1, 6)), repeated)


def test_small_steps_keep_their_digits() -> None:
    """In a volume every step is about one over the voxels: as a difference of float32 losses it would be rounding."""
    errors, inside = torch.rand(1, 1, 200_000), torch.rand(1, 1, 200_000) > 0.5
    for kind in (torch.float32, DOUBLE):
        given = errors.to(kind).requires_grad_()
        (steps,) = torch.autograd.grad(sorted_errors(given, inside).sum(), given)
        if kind == torch.float32:
            single = steps
    torch.testing.assert_close(single.double(), steps, rtol=1e-5, atol=0)


def test_equal_errors_repeat() -> None:
    errors = torch.full((1, 1, 1000), 0.5, requires_grad=True)
    inside = torch.rand(1, 1, 1000) > 0.5
    found = [torch.autograd.grad(sorted_errors(errors, inside).sum(), errors)[0] for _ in range(2)]
    assert torch.equal(*found)
    assert sorted_errors(errors, inside).item() == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_in_float32(dtype: torch.dtype) -> None:
    errors, inside = torch.rand(1, 1, 70_000).to(dtype), torch.rand(1, 1, 70_000) > 0.5
    found = sorted_errors(errors, inside)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sorted_errors(errors.float(), inside))
