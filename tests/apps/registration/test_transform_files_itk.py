"""What we write, ITK reads, and the other way round: the same mapping of the same points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from registration_phantoms import SHAPE, blobs, load, save
from transform_phantoms import (
    AFFINES,
    FLIP,
    a_field,
    a_grid,
    an_affine,
    by_itk,
    itk_transforms,
    points_in,
    read_by_itk,
)

from medloss.apps.registration.spatial import Chain
from medloss.apps.registration.transform_files import read_transform, write_transform
from medloss.apps.registration.warp_files import warp_image_file

pytestmark = pytest.mark.slow  # ITK takes ten seconds to load its transforms
CLOSE = 1e-3
"""mm; a voxel has 0.8 to 2.4."""


@pytest.mark.parametrize("grid_name", AFFINES)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd", ".h5"])
def test_itk_reads_our_fields(tmp_path, suffix, grid_name):
    grid, path = a_grid(grid_name), tmp_path / f"field{suffix}"
    field = a_field(grid)
    write_transform(path, field)
    points = points_in(grid)
    assert np.abs(by_itk(read_by_itk(path), points) - field(points).numpy()).max() < CLOSE
    assert np.abs(read_transform(path)(points) - field(points)).max() < CLOSE
    assert (field(points) - points).abs().max() > 1.0


@pytest.mark.parametrize("grid_name", AFFINES)
@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".mat", ".h5"])
def test_itk_reads_our_affine_maps(tmp_path, suffix, grid_name):
    grid, path = a_grid(grid_name), tmp_path / f"affine{suffix}"
    affine = an_affine(grid)
    write_transform(path, affine)
    points = points_in(grid)
    assert np.abs(by_itk(read_by_itk(path), points) - affine(points).numpy()).max() < 1e-8
    assert np.abs(read_transform(path)(points) - affine(points)).max() < 1e-8


@pytest.mark.parametrize("grid_name", AFFINES)
def test_itk_applies_our_composite_in_our_order(tmp_path, grid_name):
    grid, path = a_grid(grid_name), tmp_path / "chain.h5"
    chain = Chain([a_field(grid), an_affine(grid, 1), an_affine(grid, 2)])
    write_transform(path, chain)
    points = points_in(grid)
    assert np.abs(by_itk(read_by_itk(path), points) - chain(points).numpy()).max() < CLOSE
    assert np.abs(read_transform(path)(points) - chain(points)).max() < CLOSE


def _linear(itk):
    """ITK's linear transforms, about a centre and with a shift where they have one."""
    names = {
        "AffineTransform": [1.1, 0.1, 0, -0.2, 0.9, 0.05, 0.1, 0, 1, 3, -4, 5],
        "Rigid3DTransform": [0, -1, 0, 1, 0, 0, 0, 0, 1, 3, -4, 5],
        "Euler3DTransform": [0.2, -0.3, 0.5, 3, -4, 5],
        "VersorRigid3DTransform": [0.1, -0.2, 0.3, 3, -4, 5],
        "VersorTransform": [0.1, -0.2, 0.3],
        "Similarity3DTransform": [0.1, -0.2, 0.3, 3, -4, 5, 1.2],
        "QuaternionRigidTransform": [0.5, -0.5, 0.5, 0.5, 3, -4, 5],
        "ScaleTransform": [1.1, 0.8, 1.3],
        "TranslationTransform": [3, -4, 5],
    }
    for name, numbers in names.items():
        kind = getattr(itk, name)
        keys = [key for key in kind.keys() if key[0] is itk.D and (len(key) == 1 or key[1] == 3)]  # noqa: SIM118
        transform = kind[keys[0]].New()
        parameters = itk.OptimizerParameters[itk.D](len(numbers))
        for index, value in enumerate(numbers):
            parameters.SetElement(index, value)
        if hasattr(transform, "SetCenter"):
            transform.SetCenter([20.0, -10.0, 30.0])
        transform.SetParameters(parameters)
        yield name, transform


@pytest.mark.parametrize("suffix", [".tfm", ".mat", ".h5"])
def test_we_read_itks_linear_transforms(tmp_path, suffix):
    itk, points = itk_transforms(), points_in(a_grid("oblique"))
    for name, transform in _linear(itk):
        path = tmp_path / f"{name}{suffix}"
        itk.transformwrite([transform], str(path))
        assert np.abs(read_transform(path)(points).numpy() - by_itk(transform, points)).max() < 1e-6, name


def test_euler_angles_in_the_other_order(tmp_path):
    itk, points = itk_transforms(), points_in(a_grid("oblique"))
    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetComputeZYX(True)
    transform.SetRotation(0.2, -0.3, 0.5)
    itk.transformwrite([transform], str(tmp_path / "zyx.tfm"))
    assert np.abs(read_transform(tmp_path / "zyx.tfm")(points).numpy() - by_itk(transform, points)).max() < 1e-8


@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
def test_we_read_itks_composite(tmp_path, suffix):
    itk, grid = itk_transforms(), a_grid("flipped")
    composite = itk.CompositeTransform[itk.D, 3].New()
    for number in (1, 2):
        write_transform(tmp_path / "one.tfm", an_affine(grid, number))
        composite.AddTransform(itk.transformread(str(tmp_path / "one.tfm"))[0])
    if suffix == ".h5":
        write_transform(tmp_path / "field.nii.gz", a_field(grid))
        composite.AddTransform(read_by_itk(tmp_path / "field.nii.gz"))
    itk.transformwrite([composite], str(tmp_path / f"composite{suffix}"))
    points = points_in(grid)
    ours = read_transform(tmp_path / f"composite{suffix}")(points).numpy()
    assert np.abs(ours - by_itk(composite, points)).max() < CLOSE


def _resampled(itk, image_path, transform, grid, labels):
    kind = itk.SS if labels else itk.F
    image = itk.imread(str(image_path), kind)
    like = itk.imread(str(save(image_path.with_name("like.nii.gz"), np.zeros(grid.shape, np.float32), grid.affine)))
    settings = {"Transform": transform, "UseReferenceImage": True, "ReferenceImage": like, "DefaultPixelValue": 0}
    if labels:
        settings["Interpolator"] = itk.NearestNeighborInterpolateImageFunction[type(image), itk.D].New()
        like = itk.imread(str(image_path.with_name("like.nii.gz")), kind)
        settings["ReferenceImage"] = like
    return itk.array_from_image(itk.resample_image_filter(image, **settings)).transpose(2, 1, 0)


@pytest.mark.parametrize("labels", [False, True], ids=["image", "label"])
@pytest.mark.parametrize("names", [("oblique", "flipped"), ("flipped", "oblique"), ("far", "far")])
def test_images_and_labels_are_those_of_itk(tmp_path, names, labels):
    """Another grid for the image than for the field, and a field followed by an affine map."""
    itk, fixed, moving = itk_transforms(), a_grid(names[0]), a_grid(names[1])
    array = blobs(seed=3) if not labels else np.rint(blobs(seed=3) / 12).astype(np.int16)
    image = save(tmp_path / "image.nii.gz", array, moving.affine)
    chain = Chain([a_field(fixed), an_affine(fixed)])
    write_transform(tmp_path / "chain.h5", chain)
    theirs = _resampled(itk, image, read_by_itk(tmp_path / "chain.h5"), fixed, labels)
    warp_image_file(image, tmp_path / "ours.nii.gz", chain, fixed, "label" if labels else "image", background=0)
    ours = load(tmp_path / "ours.nii.gz")
    assert ours.dtype == array.dtype and np.any(ours)
    if labels:  # a voxel whose place is half-way between two may fall to either side
        assert (ours != theirs).mean() < 1e-3
    else:
        assert np.abs(ours - theirs).max() < 1e-2  # of 100: at 30 per voxel less than 1e-3 voxel


def test_a_field_moves_nothing_beyond_its_grid_as_in_itk(tmp_path):
    grid = a_grid("oblique")
    write_transform(tmp_path / "field.nii.gz", a_field(grid))
    voxels = torch.tensor([[-0.6, 5, 5], [-0.4, 5, 5], [5, SHAPE[1] - 0.6, 5], [5, SHAPE[1] - 0.4, 5]]).T.double()
    points = torch.tensor(grid.affine[:3, :3]) @ voxels + torch.tensor(grid.affine[:3, 3:])
    ours = read_transform(tmp_path / "field.nii.gz")(points).numpy()
    np.testing.assert_allclose(ours, by_itk(read_by_itk(tmp_path / "field.nii.gz"), points), atol=CLOSE)
    moved = np.abs(ours - points.numpy()).max(0) > 0
    assert moved.tolist() == [False, True, True, False]
    assert FLIP.prod() == 1
