"""``medloss register warp | compose | invert | convert``, from file to file. ITK's word on the same files stands in
test_transform_files_itk.py.
"""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from registration_phantoms import SHAPE, blobs, load, save, smooth
from scipy.ndimage import map_coordinates
from transform_phantoms import AFFINES, FLIP, a_field, a_grid, an_affine, points_in

from medloss.apps.cli import main
from medloss.apps.registration.inversion import inversion_error
from medloss.apps.registration.spatial import Affine, Chain, Field, Grid, displacement_on
from medloss.apps.registration.transform_files import read_given, read_transform, write_transform


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["register", *map(str, arguments)])
    return int(end.value.code or 0)


def shift_by_voxels(name: str, steps: tuple[int, int, int]) -> Field:
    """A field that moves by whole voxels of its grid."""
    affine = AFFINES[name]
    vector = torch.tensor(affine[:3, :3] @ np.array(steps, np.float64))
    return Field(vector.reshape(3, 1, 1, 1).expand(3, *SHAPE).float(), affine)


@pytest.mark.parametrize("name", AFFINES)
def test_a_known_shift(tmp_path, name):
    """By (1, 2, -1) voxels: the output at x is the input at x + (1, 2, -1), and the background beyond."""
    labels = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE) + 9
    source = save(tmp_path / "label.nii.gz", labels, AFFINES[name])
    write_transform(tmp_path / "shift.nii.gz", shift_by_voxels(name, (1, 2, -1)))
    assert run("warp", source, "--label", "-t", tmp_path / "shift.nii.gz", "-o", tmp_path / "out.nii.gz") == 0
    out = load(tmp_path / "out.nii.gz")
    assert out.dtype == np.uint16
    np.testing.assert_array_equal(out[:-1, :-2, 1:], labels[1:, 2:, :-1])
    assert not out[-1].any() and not out[:, -2:].any() and not out[..., 0].any()
    image = save(tmp_path / "image.nii.gz", labels.astype(np.float32), AFFINES[name])
    assert run("warp", image, "-t", tmp_path / "shift.nii.gz", "-o", tmp_path / "image_out.nii.gz") == 0
    # of values up to 10^4 with a slope of 440 along the first axis: 1e-3 voxel
    np.testing.assert_allclose(load(tmp_path / "image_out.nii.gz")[:-1, :-2, 1:], labels[1:, 2:, :-1], atol=0.44)


def test_four_dimensions_are_warped_frame_by_frame(tmp_path):
    frames = np.stack([blobs(seed=1), 10 * blobs(seed=2)], -1)
    source = save(tmp_path / "frames.nii.gz", frames, AFFINES["oblique"])
    write_transform(tmp_path / "field.mha", a_field(a_grid("oblique")))
    assert run("warp", source, "-t", tmp_path / "field.mha", "-o", tmp_path / "out.nii.gz", "--background", 0) == 0
    for index in range(2):
        one = save(tmp_path / "one.nii.gz", frames[..., index], AFFINES["oblique"])
        assert run("warp", one, "-t", tmp_path / "field.mha", "-o", tmp_path / "1.nii.gz", "--background", 0) == 0
        np.testing.assert_array_equal(load(tmp_path / "out.nii.gz")[..., index], load(tmp_path / "1.nii.gz"))


def test_labels_by_their_linear_share(tmp_path):
    """Half a voxel along the first axis: of labels 1 and 7 with one voxel of 3 between them, shares are halves."""
    labels = np.full(SHAPE, 1, np.int16)
    labels[12:], labels[10:12] = 7, 3
    affine = np.eye(4)
    source = save(tmp_path / "label.nii.gz", labels, affine)
    quarter = Affine(np.array([[1, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    write_transform(tmp_path / "quarter.tfm", quarter)
    options = ("-t", tmp_path / "quarter.tfm", "--like", source, "-o", tmp_path / "out.nii.gz")
    assert run("warp", source, "--label-linear", *options) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.nii.gz")[:-1], labels[:-1])  # three quarters are the most
    assert set(np.unique(load(tmp_path / "out.nii.gz"))) == {1, 3, 7}


@pytest.mark.parametrize(
    "dtype, option, told", [(np.uint8, [], True), (np.uint8, ["--label"], False), (np.float32, [], False)]
)
def test_a_label_map_that_is_warped_as_an_image_is_told(tmp_path, capfd, dtype, option, told):
    """An image of integers has more values than labels have."""
    write_transform(tmp_path / "shift.nii.gz", shift_by_voxels("oblique", (1, 0, 0)))
    labels = save(tmp_path / f"{dtype.__name__}{len(option)}.nii.gz", (blobs() > 0.5).astype(dtype), AFFINES["oblique"])
    image = save(tmp_path / "image.nii.gz", (1000 * blobs()).astype(np.int16), AFFINES["oblique"])
    assert run("warp", labels, *option, "-t", tmp_path / "shift.nii.gz", "-o", tmp_path / "out.nii.gz") == 0
    assert ("say --label" in capfd.readouterr().err) == told
    assert run("warp", image, "-t", tmp_path / "shift.nii.gz", "-o", tmp_path / "out.nii.gz") == 0
    assert "say --label" not in capfd.readouterr().err


def _points(path, points, **columns):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["x", "y", "z", *columns])
        writer.writerows([*place, *(value[i] for value in columns.values())] for i, place in enumerate(points))
    return path


@pytest.mark.parametrize("space", ["lps", "ras"])
def test_points_move_by_the_transform_itself(tmp_path, space):
    """ITK's rule: a fixed point goes to its place in the moving image, through the first transform first."""
    grid = a_grid("flipped")
    field, affine, sign = a_field(grid), an_affine(grid), FLIP if space == "lps" else np.ones(3)
    write_transform(tmp_path / "1Warp.nii.gz", field)
    write_transform(tmp_path / "0GenericAffine.mat", affine)
    points = points_in(grid, count=20)
    source = _points(tmp_path / "in.csv", (points.T.numpy() * sign).tolist(), name=[f"p{i}" for i in range(20)])
    chain = ("-t", tmp_path / "1Warp.nii.gz", "-t", tmp_path / "0GenericAffine.mat")
    assert run("warp", source, "--points", space, *chain, "-o", tmp_path / "out.csv") == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    out = np.array([[float(row[axis]) for axis in "xyz"] for row in rows]) * sign
    np.testing.assert_allclose(out.T, affine(field(points)).numpy(), atol=1e-4)
    assert [row["name"] for row in rows] == [f"p{i}" for i in range(20)]
    back = ("-t", f"inverse:{tmp_path / '0GenericAffine.mat'}", "-t", f"[{tmp_path / '1Warp.nii.gz'},1]")
    assert run("warp", tmp_path / "out.csv", "--points", space, *back, "-o", tmp_path / "back.csv") == 0
    rows = list(csv.DictReader((tmp_path / "back.csv").open()))
    again = np.array([[float(row[axis]) for axis in "xyz"] for row in rows]) * sign
    np.testing.assert_allclose(again.T, points.numpy(), atol=1e-3)


@pytest.mark.parametrize("name", AFFINES)
def test_composed_and_inverted(tmp_path, name, capsys):
    """One field of two transforms maps as they do, and its inverse maps back, within 1e-3 voxel at the voxels."""
    grid = a_grid(name)
    field, affine = a_field(grid), an_affine(grid)
    write_transform(tmp_path / "field.nii.gz", field)
    write_transform(tmp_path / "affine.tfm", affine)
    chain = ("-t", tmp_path / "field.nii.gz", "-t", tmp_path / "affine.tfm")
    assert run("compose", *chain, "-o", tmp_path / "total.nrrd") == 0
    voxels = torch.tensor([[5.0, 8, 11], [7, 12, 9]]).T.double()
    at_voxels = torch.tensor(grid.affine[:3, :3]) @ voxels + torch.tensor(grid.affine[:3, 3:])
    total = read_transform(tmp_path / "total.nrrd")
    np.testing.assert_allclose(total(at_voxels), affine(field(at_voxels)), atol=1e-4)
    assert run("invert", tmp_path / "total.nrrd", "-o", tmp_path / "inverse.nii.gz") == 0
    assert "mean" in capsys.readouterr().out
    error = inversion_error(total, read_transform(tmp_path / "inverse.nii.gz"), grid)
    like = ("--like", tmp_path / "total.nrrd", "-o", tmp_path / "again.h5")
    assert run("invert", tmp_path / "total.nrrd", *like) == 0
    again = read_transform(tmp_path / "again.h5")
    np.testing.assert_allclose(again(at_voxels), read_transform(tmp_path / "inverse.nii.gz")(at_voxels), atol=1e-4)
    assert error.largest < 1e-3 * 0.8 and error.between_mean < 0.05
    landed = total(points_in(grid, 7.0))
    np.testing.assert_allclose(
        read_given(f"inverse:{tmp_path / 'total.nrrd'}")(landed), points_in(grid, 7.0), atol=1e-3
    )


def test_an_inverse_of_a_large_rotation_with_a_warp():
    """Without the affine part told apart the iteration does not converge: the field's slope is far above 1."""
    grid = a_grid("far")
    turn = an_affine(grid)
    turn.matrix[:3, :3] = np.diag([-1.0, -1.0, 1.0])  # half a turn
    middle = (grid.affine @ [*(0.5 * (np.array(SHAPE) - 1)), 1])[:3]
    turn.matrix[:3, 3] = middle - turn.matrix[:3, :3] @ middle
    field = displacement_on(Chain([a_field(grid), turn]), grid)
    points = points_in(grid)
    np.testing.assert_allclose(field.inverse()(field(points)), points, atol=1e-3)


def test_affine_maps_are_composed_and_inverted_exactly(tmp_path):
    one, two = an_affine(a_grid("far"), 1), an_affine(a_grid("far"), 2)
    write_transform(tmp_path / "1.tfm", one)
    write_transform(tmp_path / "2.mat", two)
    assert run("compose", "-t", tmp_path / "1.tfm", "-t", tmp_path / "2.mat", "-o", tmp_path / "both.txt") == 0
    np.testing.assert_allclose(read_transform(tmp_path / "both.txt").matrix, two.matrix @ one.matrix, atol=1e-9)
    assert run("invert", tmp_path / "both.txt", "-o", tmp_path / "inverse.mat") == 0
    product = read_transform(tmp_path / "inverse.mat").matrix @ two.matrix @ one.matrix
    np.testing.assert_allclose(product, np.eye(4), atol=1e-9)


@pytest.mark.parametrize("suffix", [".npz", ".nii.gz"])
def test_learn2reg_reads_what_we_write(tmp_path, suffix):
    """As its evaluation warps: ``map_coordinates(moving, identity + disp.transpose(3, 0, 1, 2), order=0)``."""
    grid, moving = a_grid("oblique"), a_grid("flipped")
    chain = Chain([a_field(grid), Affine(moving.affine @ np.linalg.inv(grid.affine))])
    write_transform(tmp_path / "chain.h5", chain)
    fixed, other = (save(tmp_path / f"{n}.nii.gz", blobs(), g.affine) for n, g in (("f", grid), ("m", moving)))
    out = tmp_path / f"disp_0001_0002{suffix}"
    nifti = ["--to-learn2reg"] if suffix == ".nii.gz" else []
    assert run("convert", tmp_path / "chain.h5", "-o", out, "--like", fixed, "--moving", other, *nifti) == 0
    disp = np.load(out)["arr_0"] if suffix == ".npz" else load(out)
    assert disp.shape == (*SHAPE, 3)
    labels = np.rint(blobs(seed=4) / 9).astype(np.int16)
    places = np.indices(SHAPE) + disp.transpose(3, 0, 1, 2)
    theirs = map_coordinates(labels, places, order=0)
    last = np.array(SHAPE).reshape(3, 1, 1, 1) - 1
    within = ((places >= 0) & (places <= last)).all(0)  # SciPy's volume ends at the centres of its last voxels
    source = save(tmp_path / "labels.nii.gz", labels, moving.affine)
    assert (
        run("warp", source, "--label", "-t", tmp_path / "chain.h5", "--like", fixed, "-o", tmp_path / "o.nii.gz") == 0
    )
    assert (load(tmp_path / "o.nii.gz") != theirs)[within].mean() < 1e-3
    nifti = ["--from-learn2reg"] if suffix == ".nii.gz" else []
    assert run("convert", out, "-o", tmp_path / "b.mha", "--like", fixed, "--moving", other, *nifti) == 0
    points = points_in(grid, margin=2.0)
    np.testing.assert_allclose(read_transform(tmp_path / "b.mha")(points), chain(points), atol=2e-3)


def test_learn2regs_half_resolution_of_2021(tmp_path):
    """(3, i, j, k) of float16 on half the voxels; values in voxels of the full grid."""
    fixed = save(tmp_path / "f.nii.gz", blobs(), AFFINES["oblique"])
    half = np.ones((3, *(size // 2 for size in SHAPE)), np.float16) * np.float16(1.5)
    np.savez(tmp_path / "disp.npz", half)
    assert run("convert", tmp_path / "disp.npz", "--like", fixed, "-o", tmp_path / "field.nii.gz") == 0
    points = points_in(a_grid("oblique"))
    moved = points + torch.tensor(AFFINES["oblique"][:3, :3] @ np.full((3, 1), 1.5))
    np.testing.assert_allclose(read_transform(tmp_path / "field.nii.gz")(points), moved, atol=1e-4)


def test_every_format_is_read_back(tmp_path):
    grid = a_grid("far")
    points = points_in(grid)
    write_transform(tmp_path / "0.nii.gz", a_field(grid))
    for number, suffix in enumerate([".mha", ".nrrd", ".h5", ".nii", ".nii.gz"]):
        before = tmp_path / f"{number}{['.nii.gz', '.mha', '.nrrd', '.h5', '.nii'][number]}"
        assert run("convert", before, "-o", tmp_path / f"{number + 1}{suffix}") == 0
    np.testing.assert_allclose(read_transform(tmp_path / "5.nii.gz")(points), a_field(grid)(points), atol=1e-4)


def _faults(folder):
    image = save(folder / "image.nii.gz", blobs(), np.eye(4))
    write_transform(folder / "field.nii.gz", Field(torch.tensor(smooth((3, *SHAPE), 1.0, 1)), np.eye(4)))
    write_transform(folder / "affine.tfm", Affine(np.eye(4)))
    (folder / "empty.tfm").write_text("")
    (folder / "no.mat").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    (folder / "no.h5").write_text("no")
    (folder / "no.npz").write_text("no")
    (folder / "spline.tfm").write_text(
        "#Insight Transform File V1.0\nTransform: BSplineTransform_double_3_3\nParameters: 1 2\nFixedParameters: 0\n"
    )
    (folder / "short.tfm").write_text(
        "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\nFixedParameters: 0 0 0\n"
    )
    (folder / "pointer.nii.gz").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "page.mha").write_text("<!doctype html>")
    points = _points(folder / "points.csv", [(1, 2, "a")])
    field, affine, out = folder / "field.nii.gz", folder / "affine.tfm", folder / "out.nii.gz"
    yield ["warp", image, "-t", affine, "-o", out], "say --like FIXED"
    yield ["warp", image, "-t", field, "-o", folder / "out.xyz"], "says no image format"
    yield ["warp", image, "-t", folder / "absent.tfm", "-o", out], "does not exist"
    yield ["warp", folder / "absent.nii.gz", "-t", field, "-o", out], "does not exist"
    yield ["warp", image, "-t", image, "-o", out], "not a displacement field"
    yield ["warp", image, "-t", f"[{field},2]", "-o", out], "for the inverse"
    yield ["warp", image, "--label", "-t", field, "-o", out], "not a label map"
    yield ["warp", image, "--label", "--label-linear", "-t", field, "-o", out], "one kind"
    yield ["warp", points, "-t", field, "-o", out], "--points lps"
    yield ["warp", points, "--points", "lps", "-t", field, "-o", out], "ends in .csv"
    yield ["warp", points, "--points", "lps", "-t", field, "-o", folder / "o.csv"], "line 2"
    for name, told in {"pointer.nii.gz": "git lfs pull", "page.mha": "web page",
                       "empty.tfm": "no ITK transform file", "no.mat": "c3d_affine_tool", "no.h5": "HDF5",
                       "no.npz": "register convert", "spline.tfm": "BSplineTransform",
                       "short.tfm": "12 finite parameters"}.items():  # fmt: skip
        yield ["warp", image, "-t", folder / name, "--like", image, "-o", out], told
    yield ["convert", folder / "no.npz", "-o", out], "say --like"
    yield ["convert", field, "-o", folder / "out.tfm"], "not affine"
    yield ["compose", "-t", field, "-o", folder / "out.png"], "says no format"
    yield ["invert", affine, "-o", out], "say --like"
    yield ["warp", image, "-t", field, "-o", image], "would replace its own input"
    yield ["warp", image, "-t", f"[{field}, 1]", "-o", field], "would replace its own input"
    yield ["compose", "-t", affine, "-t", f"inverse:{field}", "-o", field], "would replace its own input"
    yield ["invert", field, "-o", field], "would replace its own input"
    yield ["convert", field, "-o", field], "would replace its own input"


def test_faults_are_the_users_and_nothing_is_left(tmp_path, capsys):
    for arguments, told in list(_faults(tmp_path)):
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        assert run(*arguments) == 2, arguments
        assert told in capsys.readouterr().err, arguments
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before, arguments


def test_a_shape_of_one_slice_can_be_inverted():
    grid = Grid((9, 8, 1), np.diag([1.0, 2.0, 3.0, 1.0]))
    field = Field(torch.full((3, *grid.shape), 0.5), grid.affine)
    point = torch.tensor([[4.0], [6.0], [0.0]], dtype=torch.float64)
    np.testing.assert_allclose(field.inverse()(field(point)), point, atol=1e-4)
