"""Losses over instances: values by hand and from a paper, their limits, and the sums beside a loop over instances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, label

import medloss

BARE = {"smooth_nr": 0.0, "smooth_dr": 1e-12}
NAMES = ["BlobDiceLoss", "CCDiceLoss"]


def dice(input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 1 - 2 * (input * target).sum() / (input.sum() + target.sum())


def lesions(rank: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and some small regions, of two samples and one class, in float64."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 1, *(24, 12, 9)[:rank])
    return torch.rand(shape, generator=generator).double(), (torch.rand(shape, generator=generator) < 0.15).double()


def by_loop(input: torch.Tensor, target: torch.Tensor, spacing: list[float] | None) -> torch.Tensor:
    """Dice of each component of SciPy on the voxels chosen one by one; with a spacing, on its Voronoi cell."""
    means = []
    for p, t in zip(input[:, 0], target[:, 0]):
        found, count = label(t.numpy(), np.ones([3] * t.ndim))
        distances = [distance_transform_edt(found != k, sampling=spacing) for k in range(1, count + 1)]
        nearest = np.argmin(distances, 0) + 1
        values = []
        for k in range(1, count + 1):
            keep = torch.from_numpy(((found == k) | (found == 0)) if spacing is None else nearest == k)
            values.append(dice(p[keep], t[keep]))
        means.append(torch.stack(values).mean())
    return torch.stack(means).mean()


@pytest.mark.parametrize("name", NAMES)
def test_three_of_sixteen_instances(name: str) -> None:
    """Bouteille et al. 2025, figure 1: 3 of 16 instances are segmented; blob and CC-Dice are printed as 0.8125.

    The three are all but a few voxels of the whole, so that the Dice of the volume is near 0: of 3 x 100 + 13 voxels
    300 are found, 1 - 600 / 613 = 0.021.
    """
    target = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    for k in range(3):
        target[0, 0, 2:12, 13 * k + 1 : 13 * k + 11] = 1
    prediction = target.clone()
    target[0, 0, 20, 1:39:3] = 1  # thirteen of one voxel
    loss = getattr(medloss, name)
    assert loss(alpha=0, **BARE)(prediction, target).item() == pytest.approx(0.8125)
    assert loss(beta=0, **BARE)(prediction, target).item() == pytest.approx(1 - 600 / 613)
    assert loss(alpha=0, **BARE)(target, target).item() == pytest.approx(0)


def test_false_positives_by_hand() -> None:
    """Two instances of two voxels, found, and one false voxel by the second.

    Blob: each is held against it, 1 - 4 / 5 twice. CC: the second alone, (0 + 1/5) / 2. Whole: 1 - 8 / 9.
    """
    target = torch.tensor([[[1.0, 1, 0, 0, 0, 0, 1, 1]]])
    prediction = target.clone()
    prediction[..., 5] = 1
    assert medloss.BlobDiceLoss(alpha=0, **BARE)(prediction, target).item() == pytest.approx(1 / 5)
    assert medloss.CCDiceLoss(alpha=0, **BARE)(prediction, target).item() == pytest.approx(1 / 10)
    both = medloss.CCDiceLoss(alpha=2, beta=3, **BARE)(prediction, target)
    assert both.item() == pytest.approx(2 / 9 + 3 / 10)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_sums_are_those_of_a_loop(rank: int) -> None:
    input, target = lesions(rank)
    spacing = [1.0, 2.3, 0.7][:rank]  # no voxel is as far from one instance as from another, but for ties in one axis
    blob = medloss.BlobDiceLoss(alpha=0, **BARE)(input, target)
    torch.testing.assert_close(blob, by_loop(input, target, None))
    cells = medloss.CCDiceLoss(alpha=0, **BARE, spacing=spacing)(input, target)
    wrapped = medloss.ConnectedComponentLoss(medloss.DiceLoss(**BARE), alpha=0)(input, target, spacing=spacing)
    torch.testing.assert_close(cells, wrapped)
    if rank == 1:  # the nearest source of the lowest index is that of the lowest component there
        torch.testing.assert_close(cells, by_loop(input, target, spacing))


def test_cells_are_nearest_components() -> None:
    """In an uneven grid without ties, against SciPy's distances to each component."""
    input, target = lesions(2, seed=3)
    target = target * 0
    for b, y, x in ((0, 3, 2), (0, 4, 9), (0, 20, 5), (1, 1, 1), (1, 15, 10)):
        target[b, 0, y : y + 2, x : x + 2] = 1
    spacing = [1.0, math.pi]
    found = medloss.CCDiceLoss(alpha=0, **BARE, spacing=spacing)(input, target)
    torch.testing.assert_close(found, by_loop(input, target, spacing))


@pytest.mark.parametrize("wrapper, native", [("BlobLoss", "BlobDiceLoss"), ("ConnectedComponentLoss", "CCDiceLoss")])
def test_the_wrapper_around_dice_is_the_native_loss(wrapper: str, native: str) -> None:
    input, target = lesions(2)
    mask = (torch.rand(2, 1, 24, 12) > 0.2).double() * 1.5
    target[1] = 0  # a sample without instances
    options = {"alpha": 0.5, "beta": 2.0, "connectivity": 1}
    results = []
    for loss in (getattr(medloss, native)(**options), getattr(medloss, wrapper)(medloss.DiceLoss(), **options)):
        leaf = input.clone().requires_grad_()
        value = loss(leaf, target, mask)
        results.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    torch.testing.assert_close(*results)


def test_cross_entropy_of_blobs_by_hand() -> None:
    """Logits 0 but for one of log 3 (p = 3/4) on the second instance; the other instance is not looked at."""
    target, logits = torch.tensor([[[1.0, 0, 1, 0]]]), torch.tensor([[[0, 0, math.log(3), 0]]])
    entropy = medloss.CrossEntropyLoss(sigmoid=True)
    value = medloss.BlobLoss(entropy, alpha=0)(logits, target)
    second = (2 * math.log(2) + math.log(4 / 3)) / 3
    assert value.item() == pytest.approx((math.log(2) + second) / 2)
    cells = medloss.ConnectedComponentLoss(entropy, alpha=0)(logits, target)  # voxels 0 and 1, voxels 2 and 3
    assert cells.item() == pytest.approx((math.log(2) + (math.log(2) + math.log(4 / 3)) / 2) / 2)


def test_blobs_of_several_classes_leave_one_another_alone() -> None:
    """Indices: every component of every class but 0 is an instance; CC-DiceCE of a softmax is finite and has a
    gradient, and one instance gives alpha + beta times the loss."""
    logits = torch.randn(2, 3, 10, 10, requires_grad=True)
    labels = torch.zeros(2, 1, 10, 10, dtype=torch.int64)
    labels[:, :, 2:4, 2:4], labels[:, :, 4:6, 2:4] = 1, 2  # they touch, and are two
    base = medloss.DiceCELoss(softmax=True, to_onehot_y=True)
    instances = labels.clone()
    for wrapper in (medloss.BlobLoss, medloss.ConnectedComponentLoss):
        expected = wrapper(base, beta=0.7)(logits, labels)
        torch.testing.assert_close(wrapper(base, beta=0.7)(logits, labels, instances=instances), expected)
        one = wrapper(base, beta=0.7)(logits, labels, instances=(labels > 0).int())
        torch.testing.assert_close(one, 1.7 * base(logits, labels))
        assert not torch.allclose(one, expected)
        (gradient,) = torch.autograd.grad(expected, logits)
        assert torch.isfinite(gradient).all()
        dense = torch.nn.functional.one_hot(labels[:, 0], 3).movedim(-1, 1).float()
        same = wrapper(medloss.DiceCELoss(softmax=True), beta=0.7)(logits, dense)
        torch.testing.assert_close(same, expected)


@pytest.mark.parametrize("name", NAMES)
def test_precomputed_instances_give_the_same(name: str) -> None:
    logits, labels = torch.randn(2, 3, 9, 8), torch.randint(0, 3, (2, 1, 9, 8))
    loss = getattr(medloss, name)(softmax=True, to_onehot_y=True, include_background=False)
    expected = loss(logits, labels)
    each = [label((labels[b, 0] == c).numpy(), np.ones((3, 3)))[0] for b in range(2) for c in range(3)]
    dense = torch.from_numpy(np.stack(each)).view(2, 3, 9, 8)
    torch.testing.assert_close(loss(logits, labels, instances=dense), expected)
    joint = torch.where(labels == 2, dense[:, 2:] + 40, torch.where(labels == 1, dense[:, 1:2], 0))
    torch.testing.assert_close(loss(logits, labels, instances=joint), expected)
    torch.testing.assert_close(loss(logits, labels, instances=joint[:, 0].to(torch.int16)), expected)
    with pytest.raises(medloss.ShapeError, match="instances has shape 2x2x9x8 and input 2x3x9x8"):
        loss(logits, labels, instances=dense[:, 1:])


def test_instances_beyond_the_bound_count_as_one() -> None:
    """Of four voxels apart the first is found. Bound 2: one of two; the rest, three voxels, is one instance."""
    target = torch.tensor([[[1.0, 0, 1, 0, 1, 0, 1]]])
    prediction = torch.tensor([[[1.0, 0, 0, 0, 0, 0, 0]]])
    for most, expected in ((4, 3 / 4), (2, 1 / 2), (1, 1 - 2 / 5)):
        found = medloss.BlobDiceLoss(alpha=0, max_instances=most, **BARE)(prediction, target)
        assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_without_instances_has_the_first_term_alone(name: str) -> None:
    nothing = torch.zeros(1, 1, 5, 5)
    prediction = nothing + 0.5
    dice = medloss.DiceLoss()(prediction, nothing)
    torch.testing.assert_close(getattr(medloss, name)(alpha=0.3)(prediction, nothing), 0.3 * dice)
    wrapper = {"BlobDiceLoss": medloss.BlobLoss, "CCDiceLoss": medloss.ConnectedComponentLoss}[name]
    torch.testing.assert_close(wrapper(medloss.DiceLoss(), alpha=0.3)(prediction, nothing), 0.3 * dice)


def test_one_instance_is_dice() -> None:
    target = torch.zeros(1, 1, 6, 6)
    target[..., 2:4, 2:5] = 1
    prediction = torch.rand(1, 1, 6, 6)
    expected = 1.5 * medloss.DiceLoss()(prediction, target)
    for name in NAMES:
        torch.testing.assert_close(getattr(medloss, name)(beta=0.5)(prediction, target), expected)


def test_many_voxels_are_counted_in_full() -> None:
    """A float32 sum of 0.01 stops growing near 2^18; two million of them are 20000."""
    target = torch.zeros(1, 1, 2**21)
    target[..., :20000] = 1
    prediction = torch.full_like(target, 0.01)
    exact = 1 - 2 * 200 / (0.01 * 2**21 + 20000)
    for name in NAMES:
        assert getattr(medloss, name)(alpha=0)(prediction, target).item() == pytest.approx(exact, rel=1e-5)


def test_errors() -> None:
    with pytest.raises(TypeError, match="goes around a label loss, not MSELoss"):
        medloss.BlobLoss(medloss.MSELoss())
    with pytest.raises(ValueError, match="reduction of the loss='none' is unknown"):
        medloss.BlobLoss(medloss.DiceLoss(reduction="none"))
    with pytest.raises(ValueError, match="classes overlap: pass instances="):
        medloss.BlobLoss(medloss.DiceLoss(sigmoid=True))(torch.zeros(1, 2, 5), torch.ones(1, 2, 5))
    with pytest.raises(ValueError, match="beta=-1 is too small"):
        medloss.BlobDiceLoss(beta=-1)
    with pytest.raises(medloss.ShapeError, match="instances has 2 channels: this loss takes one"):
        medloss.BlobLoss(medloss.DiceLoss())(torch.zeros(1, 2, 5), torch.zeros(1, 2, 5), instances=torch.zeros(1, 2, 5))
    assert "alpha=0.5" in repr(medloss.ConnectedComponentLoss(medloss.DiceLoss(), alpha=0.5))
