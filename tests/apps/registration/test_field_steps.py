"""The steps of the optimisation that need no loss: smoothing, inversion, averaging of two directions, unfolding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from registration_phantoms import SHAPE, smooth
from scipy.ndimage import gaussian_filter

from medloss.apps.registration.optimise import _stalled
from medloss.apps.registration.search import _cheapest
from medloss.apps.registration.smoothing import smooth as smoothed
from medloss.apps.registration.transform import compose, invert, midway
from medloss.apps.registration.unfold import LEAST, smallest_determinants, unfold


def field(amplitude: float, seed: int = 0, sigma: float = 3.0) -> torch.Tensor:
    return torch.tensor(smooth((3, *SHAPE), amplitude, seed, sigma))[None]


def test_smoothing_is_scipys():
    volume = torch.randn(2, 3, 9, 7, 8)
    sigmas = (1.5, 0.0, 0.7)
    wanted = gaussian_filter(volume.numpy(), (0, 0, *sigmas), mode="nearest", radius=(0, 0, 5, 0, 3))
    np.testing.assert_allclose(smoothed(volume, sigmas), wanted, atol=1e-5)


def test_an_inverse_leads_back():
    there = field(2.5)
    back = invert(there)
    inner = (..., *[slice(4, -4)] * 3)
    assert compose(back, there)[inner].abs().max() < 2e-3


def test_an_inverse_is_found_where_the_plain_iteration_runs_away():
    """Along the first axis the field stretches by more than a voxel per voxel: x + 1.5 (x - 10), inverse -0.6 (x - 10)
    about the middle.
    """
    line = torch.arange(21.0) - 10
    there = torch.zeros(1, 3, 21, 5, 5)
    there[0, 0] = 1.5 * line[:, None, None]
    back = invert(there)
    torch.testing.assert_close(back[0, 0, :, 2, 2], -0.6 * line, atol=1e-2, rtol=0)


def test_a_large_field_is_inverted_by_way_of_a_coarser_one():
    there = torch.tensor(smooth((3, 40, 36, 38), 3.0, 0, 4.0))[None].repeat(2, 1, 1, 1, 1)
    there[1] *= -0.5
    back = invert(there)
    rest = compose(back, there)[(..., *[slice(5, -5)] * 3)]
    assert rest.abs().amax((1, 2, 3, 4)).max() < 2e-3
    assert torch.equal(invert(there[1:]), back[1:]), "each field of a batch by itself"


def test_midway_of_inverse_fields_changes_nothing_and_of_unlike_ones_is_between():
    there = field(1.5)
    inner = (..., *[slice(4, -4)] * 3)
    forward, backward = midway(there, invert(there))
    torch.testing.assert_close(forward[inner], there[inner], atol=0.03, rtol=0)  # read between voxels
    shift = torch.ones_like(there)
    forward, backward = midway(3 * shift, -shift)
    torch.testing.assert_close(forward, 2 * shift)
    torch.testing.assert_close(backward, -2 * shift)


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_unfolding_ends_every_fold_and_leaves_the_rest_alone(seed, one_sided):
    gentle = field(1.0, seed)
    folded = gentle.clone()
    folded[..., 8:12, 8:12, 8:12] += 3 * torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
    folded[..., 0, 5, 5] += 4.0  # at the border, where differences are one-sided
    assert smallest_determinants(folded, one_sided).min() < 0
    found, share = unfold(folded, one_sided)
    assert smallest_determinants(found, one_sided).min() >= LEAST and 0 < share < 0.5
    torch.testing.assert_close(found[..., 18:, :, :], gentle[..., 18:, :, :], atol=0, rtol=0)
    again, touched = unfold(found, one_sided)
    assert touched == 0 and torch.equal(again, found)


def test_one_sided_folds_are_seen():
    """A voxel that changes places with its neighbour: central differences see nothing at itself."""
    ddf = torch.zeros(1, 3, 9, 9, 9)
    ddf[0, 0, 4, 4, 4] = 1.5
    assert smallest_determinants(ddf)[0, 0, 4, 4, 4] == 1
    assert smallest_determinants(ddf, one_sided=True)[0, 0, 4, 4, 4] == -0.5  # 1 + (0 - 1.5)


def test_the_cheapest_offset_is_that_of_all_sums():
    """Of 5^3 offsets and 7 cells, against a search through all of them in one table."""
    made = torch.Generator().manual_seed(0)
    cost, mean = torch.rand(125, 7, generator=made), torch.rand(3, 7, generator=made)
    offsets = torch.cartesian_prod(*[torch.arange(-2.0, 3.0)] * 3)
    apart = (offsets[:, :, None] - mean).square().sum(1)
    wanted = offsets[(cost + 0.2 * apart).argmin(0)].T
    assert torch.equal(_cheapest(cost.reshape(25, 5, 7), mean, 0.2), wanted)


def test_a_level_stops_when_nothing_is_gained():
    falling, flat = [1 - 0.01 * step for step in range(40)], [1.0] + [0.5] * 39
    assert not _stalled(falling, 1e-3) and _stalled(flat, 1e-3) and not _stalled(flat, 0.0)
