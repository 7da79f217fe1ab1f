"""``register pair``: a known displacement is found, and what is written is what ITK applies to the original files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from registration_phantoms import SHAPE, blobs, load, oblique, save, smooth, warp_by_itk, warped_pair

from medloss.apps.common.deformation import (
    folding_percent,
    inverse_consistency,
    jacobian_determinant,
    landmark_error,
    target_registration_error,
)
from medloss.apps.common.errors import UserError
from medloss.apps.common.fields import load_displacement
from medloss.apps.registration.config import Affine, PairConfig
from medloss.apps.registration.geometry import pull_moving
from medloss.apps.registration.pair import register, register_pair

QUICK = {"pyramid": [2, 1], "iterations": [25, 20], "device": "cpu"}
FLAT = np.diag([1.0, 1.0, 2.5, 1.0])
INNER = np.pad(np.ones(tuple(size - 8 for size in SHAPE)), 4)


def config(**changes) -> PairConfig:
    return PairConfig.model_validate({**QUICK, **changes})


@pytest.mark.parametrize(("transform", "lr"), [("dvf", None), ("ddf", 0.2)])
def test_a_known_displacement_is_found(transform, lr):
    """The steps of a ddf are shorter than by default: 20 of 0.3 voxel end above the loss that the level begins with."""
    fixed, moving, truth = warped_pair(amplitude=2.5)
    result = register(fixed, moving, config(transform=transform, lr=lr), fixed_affine=FLAT)
    before = target_registration_error(torch.zeros_like(truth), truth, FLAT, INNER).mean()
    after = target_registration_error(result.ddf, truth, FLAT, INNER).mean()
    assert after < 0.4 * before
    assert after < 0.5 * 2.5, "mm, half of the longest side of a voxel"
    assert folding_percent(jacobian_determinant(result.ddf)) == 0
    assert result.moved.shape == fixed.shape and result.ddf.shape == (3, *SHAPE)
    forward = [row for row in result.history if not row["backward"]]
    assert len(forward) == 45 and len(result.history) == 70, "the finest level goes forward alone"
    assert forward[-1]["loss"] < forward[25]["loss"]
    there_and_back = inverse_consistency(result.ddf, result.inverse_ddf, FLAT)
    assert np.nanmean(there_and_back) < 0.1


def test_the_world_decides_not_the_voxels():
    """The moving image on a flipped, shifted, coarser grid of its own: the field leads to its world coordinates."""
    fixed, moving, truth = warped_pair(amplitude=2.0)
    own_affine = oblique() @ np.diag([-1.25, 1.0, 0.8, 1.0])
    own_affine[:3, 3] = (oblique() @ [SHAPE[0] + 2.0, -2.0, -1.0, 1.0])[:3]
    own = pull_moving(moving[None], oblique(), torch.zeros(3, 24, 27, 28), own_affine)[0]
    result = register(fixed, own, config(), fixed_affine=oblique(), moving_affine=own_affine)
    after = target_registration_error(result.ddf, truth, oblique(), INNER).mean()
    assert after < 0.6 * target_registration_error(torch.zeros_like(truth), truth, oblique(), INNER).mean()
    assert result.inverse_ddf.shape == (3, *own.shape)


def test_centres_of_mass_bring_far_images_together():
    image = torch.tensor(blobs())
    far = np.eye(4)
    far[:3, 3] = (300.0, -200.0, 50.0)
    result = register(image, image, config(initialise="centre_of_mass", iterations=[0, 0]), moving_affine=far)
    np.testing.assert_allclose(result.ddf[:, 5, 5, 5], [300.0, -200.0, 50.0], atol=1e-3)
    np.testing.assert_allclose(result.moved, image, atol=1e-3)


def test_resize_lays_box_over_box():
    image = torch.tensor(blobs())
    twice = image.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    result = register(image, twice, config(initialise="resize", iterations=[0, 0]), moving_affine=np.eye(4) * 7)
    np.testing.assert_allclose(result.moved, image, atol=1e-3)


def test_label_losses_alone_lay_region_over_region():
    grid = np.indices(SHAPE)
    ball = [np.linalg.norm(grid - np.reshape(c, (3, 1, 1, 1)), axis=0) < 5 for c in ((11, 11, 10), (13, 10, 9))]
    fixed, moving = (torch.tensor(each.astype(np.uint8)) for each in ball)
    losses = {"image": {}, "label": {"dice": {}}, "field": {"diffusion": {"weight": 0.1}}}
    result = register(fixed, moving, config(loss=losses), fixed_label=fixed * 3, moving_label=moving * 3)
    moved = result.moved_label
    assert set(moved.unique().tolist()) == {0, 3} and moved.dtype == torch.uint8
    overlap = [
        2 * float(((a == 3) & (fixed == 1)).sum()) / float((a == 3).sum() + fixed.sum()) for a in (moving * 3, moved)
    ]
    assert overlap[1] > 0.93 > overlap[0]


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_outside_the_mask_nothing_attracts(side):
    fixed, moving, _ = warped_pair()
    images = {"fixed": fixed, "moving": moving}
    broken = {**images, side: images[side].clone()}
    broken[side][:12] = torch.rand(12, *SHAPE[1:]) * 100
    mask = torch.zeros(SHAPE)
    mask[12:] = 1
    masks = {"mask" if side == "fixed" else "moving_mask": mask}
    one_level = config(
        pyramid=[1], iterations=[8], affine={"model": "none"}, control=1
    )  # a coarser grid blurs what is under the mask into what is not
    masked = [register(*each.values(), one_level, **masks).ddf for each in (images, broken)]
    if side == "fixed":
        torch.testing.assert_close(*masked)
    else:  # next to the mask's edge the moving image is read between a voxel that is seen and one that is hidden
        torch.testing.assert_close(*(each[:, 18:] for each in masked), atol=0.1, rtol=0)
    assert not torch.allclose(register(*broken.values(), one_level).ddf, masked[1], atol=0.1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run on files: fixed and moving on unlike oblique grids, with labels."""
    folder = tmp_path_factory.mktemp("pair")
    fixed, moving, _ = warped_pair(amplitude=2.0)
    affine, own_affine = oblique(flip=True), oblique(flip=True) @ np.diag([1.2, 1.2, 1.2, 1.0])
    own = pull_moving(moving[None], affine, torch.zeros(3, 20, 19, 17), own_affine)[0].numpy()
    paths = {
        "fixed": save(folder / "fixed.nii.gz", fixed.numpy().astype(np.int16), affine),
        "moving": save(folder / "moving.nii.gz", own, own_affine),
        "fixed_label": save(folder / "fixed_label.nii.gz", (fixed.numpy() > 55).astype(np.uint8), affine),
        "moving_label": save(folder / "moving_label.nii.gz", (own > 55).astype(np.uint8), own_affine),
    }
    return paths, register_pair(
        *list(paths.values())[:2],
        config(),
        folder / "run",
        fixed_label=paths["fixed_label"],
        moving_label=paths["moving_label"],
        progress=False,
    )


def test_everything_is_written(written):
    names = {path.name for path in written[1].path.iterdir()}
    assert names >= {
        "moved.nii.gz",
        "moved_label.nii.gz",
        "field.nii.gz",
        "inverse_field.nii.gz",
        "jacobian.nii.gz",
        "preview.png",
        "metrics.json",
        "config.yaml",
        "environment.json",
        "log.txt",
        "losses.csv",
    }
    metrics = json.loads((written[1].path / "metrics.json").read_text())
    assert metrics["labels"][0]["dice"] > metrics["labels"][0]["dice_before"]
    assert metrics["ncc"] > metrics["ncc_before"] and metrics["inverse_consistency_mm"] < 0.3
    assert metrics["folding_percent"] == 0.0 and set(metrics["definitions"]) >= {"dice", "sdlogj", "ncc"}


def test_itk_moves_the_original_image_as_we_do(written):
    paths, run = written
    pytest.importorskip("itk")
    by_itk = warp_by_itk(paths["moving"], run.path / "field.nii.gz")
    ours = load(run.path / "moved.nii.gz")
    inside = by_itk != 0  # ITK fills with 0 beyond the image, we with its smallest value
    assert np.abs(by_itk - ours)[inside].max() < 1e-3 * 100 and inside.mean() > 0.5


def test_the_inverse_field_brings_the_fixed_image_back(written):
    paths, run = written
    inverse, affine = load_displacement(run.path / "inverse_field.nii.gz")
    np.testing.assert_allclose(affine, oblique(flip=True) @ np.diag([1.2, 1.2, 1.2, 1.0]), atol=1e-4)
    fixed, moving = load(paths["fixed"]), load(paths["moving"])
    back = pull_moving(torch.tensor(fixed.astype(np.float32))[None], oblique(flip=True), torch.tensor(inverse), affine)[
        0
    ]
    inner = (slice(4, -4),) * 3
    still = pull_moving(
        torch.tensor(fixed.astype(np.float32))[None], oblique(flip=True), torch.zeros(3, *moving.shape), affine
    )
    assert np.abs(back.numpy() - moving)[inner].mean() < 0.6 * np.abs(still[0].numpy() - moving)[inner].mean()


def test_a_second_run_overwrites_nothing(written):
    paths, run = written
    again = register_pair(paths["fixed"], paths["moving"], config(iterations=[1, 1]), run.path, progress=False)
    assert again.path.name == "run-2"


@pytest.mark.parametrize("initialise", ["none", "centre_of_mass"])
def test_a_start_is_a_total_displacement(initialise):
    """No iteration gives the start back, whatever the initial map is; and a start near the truth is improved."""
    fixed, moving, truth = warped_pair(amplitude=2.5)
    near = truth + torch.tensor(smooth((3, *SHAPE), 1.5, seed=7, sigma=4.0))
    options = {"initialise": initialise, "affine": {"model": "none"}}
    still = register(fixed, moving, config(**options, iterations=[0, 0]), fixed_affine=FLAT, start=near[None])
    torch.testing.assert_close(still.ddf, near, atol=1e-3, rtol=0)
    better = register(fixed, moving, config(**options), fixed_affine=FLAT, start=near[None])
    before, after = (target_registration_error(each, truth, FLAT, INNER).mean() for each in (near, better.ddf))
    assert after < before
    assert np.nanmean(inverse_consistency(better.ddf, better.inverse_ddf, FLAT)) < 0.1


def test_landmarks_draw_where_images_are_silent():
    image = torch.zeros(SHAPE)
    image[4:-4, 4:-4, 4:-4] = 100.0  # nothing to see inside
    points = np.array([[11.0, 10.0, 20.0], [9.0, 12.0, 25.0]])  # mm, of voxels of 1 x 1 x 2.5 mm
    shifted = points + np.array([1.5, -1.0, 0.0])
    losses = {"points": {"landmark": {"weight": 1.0}}}
    result = register(image, image, config(loss=losses), fixed_affine=FLAT, points=(points, shifted))
    assert landmark_error(result.ddf, points, shifted, FLAT).mean() < 0.4
    assert folding_percent(jacobian_determinant(result.ddf)) == 0


def test_point_losses_without_landmarks_are_told():
    image = torch.tensor(blobs())
    with pytest.raises(UserError, match=r"loss.points asks for landmark but there are no landmarks"):
        register(image, image, config(loss={"points": {"landmark": {}}}))


def test_the_search_finds_what_lies_far_away():
    """A shift by a third of the volume, which no gradient sees: the search alone brings it within a cell."""
    image = blobs(seed=3)
    far = np.roll(image, 7, axis=0)
    fixed, moving = torch.tensor(image), torch.tensor(far)
    options = {"affine": {"model": "none"}, "iterations": [0, 0], "search": {"step": 1, "radius": 8}}
    inner = (slice(None), slice(5, 15), slice(5, -5), slice(5, -5))
    found = register(fixed, moving, config(**options)).ddf[inner]
    wanted = torch.zeros_like(found)
    wanted[0] = 7
    assert (found - wanted).norm(dim=0).median() < 1.5
    assert register(fixed, moving, config(**options | {"search": {"use": False}})).ddf.abs().max() < 1e-4


def test_a_start_of_another_shape_is_told():
    fixed, moving, _ = warped_pair()
    with pytest.raises(ValueError, match=r"start has shape \(3, 24, 22, 20\), expected \(1, 3, \*fixed\)"):
        register(fixed, moving, config(), start=torch.zeros(3, *SHAPE))


def test_images_with_nothing_in_common_are_told(tmp_path, capsys):
    noise = [np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32) for seed in (1, 2)]
    paths = [save(tmp_path / f"{number}.nii.gz", each) for number, each in enumerate(noise)]
    lncc = {"image": {"lncc": {}}}
    still = config(iterations=[1, 1], affine={"model": "none"}, search={"use": False}, loss=lncc)
    mask = save(tmp_path / "mask.nii.gz", np.ones(SHAPE, np.uint8))
    run = register_pair(*paths, still, tmp_path / "run", moving_mask=mask, progress=False)
    assert "nothing was found: the correlation" in (run.path / "log.txt").read_text()
    assert "nothing was found" in capsys.readouterr().err


def test_two_modalities_are_told_where_the_loss_compares_one(tmp_path):
    """Brightness as a wave of the other image's correlates by .68 with it, though they lie one on the other."""
    image = blobs()
    other = np.sin(image / 100 * 2 * np.pi).astype(np.float32)
    assert 0.2 < -np.corrcoef(image.ravel(), other.ravel())[0, 1] < 0.7
    images = (image, other, 5 - 2 * image)  # the last in reversed contrast, which LNCC compares well
    paths = [save(tmp_path / f"{number}.nii.gz", each) for number, each in enumerate(images)]
    still = {"iterations": [0, 0], "affine": {"model": "none"}, "search": {"use": False}}
    still |= {"loss": {"image": {"lncc": {}}}}
    mutual = still | {"loss": {"image": {"global_mutual_information": {}}}}
    for moving, options, told in ((paths[1], still, True), (paths[1], mutual, False), (paths[2], still, False)):
        run = register_pair(paths[0], moving, config(**options), progress=False, output=tmp_path / "run")
        log = (run.path / "log.txt").read_text()
        assert ("(LNCC) compares images of one modality" in log) == told


@pytest.mark.parametrize(
    ("image", "wanted"),
    [("lncc", "lncc"), ("mind_ssc", "global_mutual_information"), ("mse", "global_mutual_information"), (None, None)],
)
def test_the_affine_stage_sees_far(image, wanted):
    """Losses that compare edges reach a few voxels: the affine stage goes by brightness."""
    stage = Affine().with_loss({image: {}} if image else {})
    assert list(stage.loss) == ([wanted] if wanted else [])
    assert (stage.model == "none") == (wanted is None)
