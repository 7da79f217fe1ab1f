"""Part two of the demo: the known field is as large as it should be, folds nowhere, and points the right way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloss.apps.common.deformation import jacobian_determinant
from medloss.apps.common.fields import load_displacement
from medloss.apps.common.images import Volume, load_volume
from medloss.apps.demo.recovery import make_case
from medloss.apps.demo.template import Template
from medloss.apps.demo.warp import mean_length, random_warp, warp

SPACING = (4.0, 4.0, 4.0)
AFFINE = np.array([[-4.0, 0, 0, 60], [0, 4, 0, -80], [0, 0, 4, -50], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def template() -> Template:
    """A textured ball on a grid whose first axis points left."""
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in (32, 36, 30)), indexing="ij")
    brain = i**2 + j**2 + k**2 < 0.7
    image = np.where(brain, 0.6 + 0.3 * np.sin(9 * i) * np.cos(7 * j) * np.sin(8 * k + 1), 0).astype(np.float32)
    return Template(image, brain.astype(np.uint8), brain, Volume(image, AFFINE, SPACING))


def test_warp_is_as_large_as_asked_and_folds_nowhere(template):
    ddf = random_warp(template.brain, SPACING, seed=1, mean_mm=6.3)
    assert ddf.shape == (3, *template.brain.shape)
    assert mean_length(ddf, SPACING, template.brain) == pytest.approx(6.3, rel=0.01)
    assert jacobian_determinant(ddf).min() > 0.1
    assert torch.equal(ddf, random_warp(template.brain, SPACING, seed=1, mean_mm=6.3))
    assert not torch.equal(ddf, random_warp(template.brain, SPACING, seed=2, mean_mm=6.3))


def test_mean_length_is_in_mm():
    ddf = torch.zeros(3, 4, 4, 4)
    ddf[0], ddf[1] = 3.0, 4.0
    assert mean_length(ddf, (1.0, 1.0, 5.0), np.ones((4, 4, 4), bool)) == pytest.approx(5.0)
    assert mean_length(ddf, (2.0, 2.0, 5.0), np.ones((4, 4, 4), bool)) == pytest.approx(10.0)


def test_direction_of_the_warp():
    """``warp(image, u)`` at x shows the image at x + u(x): on a ramp that is x + u(x) itself."""
    ramp = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 6, 6))
    ddf = torch.zeros(3, 20, 6, 6)
    ddf[0] = 2.5
    np.testing.assert_allclose(warp(ramp, ddf)[:15], ramp[:15] + 2.5, atol=1e-4)


def test_case_files_agree_with_the_truth(tmp_path, template):
    case = make_case(tmp_path, template, seed=0)
    fixed, moving = load_volume(case.fixed), load_volume(case.moving)
    for volume in (fixed, moving):
        np.testing.assert_allclose(volume.affine, AFFINE)
        assert volume.array.shape == template.image.shape
    ddf, affine = load_displacement(tmp_path / "true_field.nii.gz")
    np.testing.assert_allclose(affine, AFFINE)
    np.testing.assert_allclose(ddf, case.truth, atol=1e-4)
    inside = case.brain & (warp(template.brain, torch.from_numpy(ddf)) > 0.99)

    def unlike(field: np.ndarray) -> float:
        return float(np.abs(warp(moving.array, torch.from_numpy(field)) - fixed.array)[inside].mean())

    # the true field, read from its file, lays the moving image over the fixed one; no field and its opposite do not
    assert unlike(ddf) < 0.06 < min(unlike(0 * ddf), unlike(-ddf))
    assert mean_length(torch.from_numpy(ddf), SPACING, case.brain) == pytest.approx(6.3, rel=0.2)
