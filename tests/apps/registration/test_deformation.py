"""Deformation metrics on fields whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from medloss.apps.common.deformation import (
    describe,
    folding_percent,
    inverse_consistency,
    jacobian_determinant,
    landmark_error,
    sd_log_jacobian,
    target_registration_error,
)

SHAPE = (12, 10, 9)
GRID = np.indices(SHAPE).astype(float)
CENTRE = (np.array(SHAPE) / 2).reshape(3, 1, 1, 1)
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def linear_field(matrix: np.ndarray) -> np.ndarray:
    return np.einsum("ab,b...->a...", matrix - np.eye(3), GRID - CENTRE)


def shift(vector) -> np.ndarray:
    return np.broadcast_to(np.reshape(vector, (3, 1, 1, 1)), (3, *SHAPE)).astype(float)


def test_scaling_multiplies_volume_by_its_cube():
    jacobian = jacobian_determinant(torch.tensor(linear_field(1.3 * np.eye(3))))
    assert jacobian.shape == SHAPE
    np.testing.assert_allclose(jacobian, 1.3**3, rtol=1e-5)


def test_rotation_keeps_volume():
    rotation = Rotation.from_euler("xyz", [10, 25, -40], degrees=True).as_matrix()
    numbers, jacobian = describe(linear_field(rotation))
    np.testing.assert_allclose(jacobian, 1.0, rtol=1e-5)
    assert numbers["folding_percent"] == 0.0 and numbers["sdlogj"] < 1e-5 and numbers["sdlogj_l2r"] < 1e-5


def test_a_reflection_folds_everywhere_and_half_a_reflection_half():
    mirror = linear_field(np.diag([-1.0, 1.0, 1.0]))
    assert folding_percent(jacobian_determinant(mirror)) == 100.0
    mirror[:, : SHAPE[0] // 2] = 0.0
    half = folding_percent(jacobian_determinant(mirror), mask=GRID[0] > SHAPE[0] // 2 + 1)
    assert half == 100.0
    assert 30.0 < folding_percent(jacobian_determinant(mirror)) < 70.0


def test_sdlogj_of_two_volumes():
    jacobian = np.where(GRID[0] < 6, 2.0, 0.5)
    assert sd_log_jacobian(jacobian) == pytest.approx(np.log(2.0))
    inner = jacobian[2:-2, 2:-2, 2:-2]
    assert sd_log_jacobian(jacobian, variant="l2r") == pytest.approx(np.log(inner + 3.0).std())
    with pytest.raises(ValueError, match="plain"):
        sd_log_jacobian(jacobian, variant="other")


def test_folded_voxels_do_not_decide_the_sdlogj():
    jacobian = np.where(GRID[0] < 6, 2.0, 0.5)
    jacobian[0, 0, 0], jacobian[1, 1, 1] = -3.0, 0.0
    assert sd_log_jacobian(jacobian) == pytest.approx(np.log(2.0), abs=1e-3)
    assert np.isnan(sd_log_jacobian(np.full(SHAPE, -1.0)))


def test_folding_at_the_border_and_inside():
    """A plane of the border that crosses the next one folds there: one-sided differences, u1 - u0 = -1.5."""
    field = np.zeros((3, *SHAPE))
    field[0, 0] = 1.5  # the first plane lands behind the second one; inside, (0 - 1.5) / 2 > -1
    numbers, jacobian = describe(field)
    np.testing.assert_allclose(jacobian[0], -0.5, atol=1e-6)
    np.testing.assert_allclose(jacobian[1], 0.25, atol=1e-6)
    assert numbers["folding_percent"] == pytest.approx(100 / SHAPE[0]) and numbers["folding_inside_percent"] == 0.0


def test_it_agrees_with_numpy_gradients_up_to_the_border():
    field = np.random.default_rng(0).normal(0, 0.3, (3, *SHAPE))
    rows = [[np.gradient(field[c], axis=a) + (c == a) for a in range(3)] for c in range(3)]
    expected = np.linalg.det(np.moveaxis(np.array(rows), (0, 1), (-2, -1)))
    np.testing.assert_allclose(jacobian_determinant(field), expected, atol=1e-5)


def test_two_dimensions():
    grid = np.indices((7, 8)).astype(float)
    np.testing.assert_allclose(jacobian_determinant(0.5 * grid), 1.5**2, rtol=1e-5)


def test_a_known_shift_is_an_error_in_millimetres():
    error = target_registration_error(shift([0, 0, 0]), shift([2.0, 1.0, 1.0]), AFFINE)
    np.testing.assert_allclose(error, np.sqrt(2.0**2 + 2.0**2 + 3.0**2))
    within = target_registration_error(shift([0, 0, 0]), shift([1, 0, 0]), AFFINE, mask=GRID[0] < 2)
    assert within.shape == (2 * 10 * 9,)


def test_landmarks_follow_the_field():
    affine = np.array(AFFINE)
    affine[:3, 3] = (5.0, -4.0, 2.0)
    fixed = np.array([[7.0, 2.0, 11.0], [9.5, 1.0, 8.0]])
    moved = fixed + affine[:3, :3] @ np.array([0.5, -1.0, 0.25])
    np.testing.assert_allclose(landmark_error(shift([0.5, -1.0, 0.25]), fixed, moved, affine), 0.0, atol=1e-6)
    still = landmark_error(shift([0, 0, 0]), fixed, moved, affine)
    np.testing.assert_allclose(still, np.linalg.norm(moved - fixed, axis=1))


def test_a_field_and_its_inverse_cancel():
    back_and_forth = inverse_consistency(shift([1, 0, 1]), shift([-1, 0, -1]), AFFINE)
    np.testing.assert_allclose(back_and_forth[:-1, :, :-1], 0.0, atol=1e-6)
    assert np.isnan(back_and_forth[-1]).all()  # led out of the grid
    apart = inverse_consistency(shift([1, 0, 0]), shift([0, 1, 0]), AFFINE)
    np.testing.assert_allclose(apart[:-1], np.sqrt(1 + 4.0))


def test_an_inverse_on_another_grid():
    inverse_affine = np.diag([2.0, 2.0, 1.0, 1.0])
    inverse_affine[:3, 3] = (-4.0, -4.0, -4.0)
    inverse = np.broadcast_to(np.reshape([-0.5, 1.0, -3.0], (3, 1, 1, 1)), (3, 12, 16, 40))  # (-1, 2, -3) mm
    np.testing.assert_allclose(inverse_consistency(shift([1, -1, 1]), inverse, AFFINE, inverse_affine), 0.0, atol=1e-6)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="spatial"):
        jacobian_determinant(np.zeros((2, 5, 5, 5)))
