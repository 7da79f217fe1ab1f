"""Where a moving image lies before any deformation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume
from medloss.apps.registration.config import PairConfig
from medloss.apps.registration.geometry import INITIALISERS, grid_points, points_through, pull, seen
from medloss.apps.registration.pair import register


def volume(array, affine):
    return Volume(array, affine, tuple(np.linalg.norm(affine[:3, :3], axis=0)))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_resize_lays_left_on_left(axes, flips):
    """The same anatomy stored with other axes and at another place is laid over itself exactly."""
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    stored = array.transpose(axes)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, world in enumerate(axes):
        affine[world, axis] = 2.0
    for axis in flips:
        stored = np.flip(stored, axis)
        affine[:, axis] *= -1
    affine[:3, 3] = 70, -80, 90
    fixed, moving = volume(array, np.eye(4)), volume(np.ascontiguousarray(stored), affine)
    matrix = np.linalg.inv(moving.affine) @ INITIALISERS["resize"](fixed, moving) @ fixed.affine
    found = pull(torch.from_numpy(moving.array)[None], matrix, grid_points(array.shape))
    np.testing.assert_allclose(found[0].numpy(), array, atol=1e-5)


def test_integers_are_pulled_as_integers():
    """Ids beyond what a float holds, and the background where there is nothing."""
    ids = torch.tensor([2**24 + 1, 2**31 + 7, 2**53 + 1]).reshape(1, 3, 1, 1).expand(1, 3, 3, 3).contiguous()
    at = grid_points((3, 3, 3))
    at[0] += 1
    found = pull(ids, np.eye(4), at, "nearest", fill=0)
    assert found.dtype == torch.int64
    assert found[0, :, 0, 0].tolist() == [2**31 + 7, 2**53 + 1, 0]


def test_the_optimisation_stops_on_what_is_not_finite():
    image = torch.rand(12, 12, 12)
    config = PairConfig(lr=1000, pyramid=[1], iterations=[3], loss={"image": {"mse": {"weight": 1e40}}, "field": {}})
    with pytest.raises(UserError, match="the loss is not finite at level 1"):
        register(image * 1e6, image, config)


def test_points_through_a_map_are_the_mapped_grid():
    matrix = np.array([[0.9, 0.1, -0.2, 3.0], [0.0, 1.1, 0.3, -2.0], [0.2, 0.0, 1.0, 0.5], [0, 0, 0, 1]])
    wanted = np.einsum("ab,bijk->aijk", matrix[:3, :3], np.indices((4, 5, 3))) + matrix[:3, 3].reshape(3, 1, 1, 1)
    np.testing.assert_allclose(points_through(matrix, (4, 5, 3)).numpy(), wanted, atol=1e-12)


def test_where_a_field_leads_into_the_moving_image():
    """One voxel on along the first axis; the border of a voxel reaches half a voxel out."""
    ddf = torch.zeros(3, 4, 4, 4)
    ddf[0] = 0.75
    inside = seen((4, 4, 4), np.eye(4), ddf, np.eye(4))
    assert inside[:3].all()
    assert not inside[3:].any()
    assert seen((2, 2, 2), np.diag([2.0, 2, 2, 1]), torch.zeros(3, 5, 5, 5), np.eye(4)).sum() == 4**3
