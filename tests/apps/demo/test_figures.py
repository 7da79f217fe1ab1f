"""The pictures: written, not blank, in true proportions, and the same whatever order the axes are stored in."""

from __future__ import annotations

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from medloss.apps.common.curves import curves, telling
from medloss.apps.common.figures import checkerboard, registration_preview, segmentation_preview
from medloss.apps.common.planes import PLANES, Sheet, centre_cuts, crop_box, ddf_to_ras, to_ras, window
from medloss.apps.common.spread import spread

SPACING = (1.0, 2.0, 3.0)
RAS = np.diag([*SPACING, 1.0])


@pytest.fixture
def volume() -> np.ndarray:
    """A lopsided blob (16, 20, 12), so that a mirrored or transposed picture differs."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in (16, 20, 12)), indexing="ij")
    blob = np.exp(-(((i - 9) / 4) ** 2) - ((j - 8) / 5) ** 2 - ((k - 5) / 3) ** 2)
    return (blob + 0.3 * (i > 10) * blob).astype(np.float32)


def stored_otherwise(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same volume with other axes first and mirrored, and its affine."""
    orientation = np.array([[1, -1], [2, 1], [0, -1]])  # i becomes the mirrored j axis, ...
    turned = nib.apply_orientation(array, orientation)
    return turned, RAS @ nib.orientations.inv_ornt_aff(orientation, array.shape)


def pixels(path) -> np.ndarray:
    return matplotlib.image.imread(path)[..., :3]


def test_segmentation_preview(tmp_path, volume):
    label, prediction = (volume > 0.3).astype(int), (volume > 0.4).astype(int)
    paths = [
        segmentation_preview(tmp_path / "a.png", volume, label, prediction, SPACING, "title", names={1: "blob"}),
        segmentation_preview(tmp_path / "b.png", volume, label, label, SPACING, "title", names={1: "blob"}),
        segmentation_preview(tmp_path / "c.png", volume, None, prediction, SPACING),
    ]
    first, second, third = (pixels(path) for path in paths)
    assert first.std() > 0.05 and third.std() > 0.05
    assert first.shape == second.shape and (first != second).any()  # the differences show
    assert third.shape[1] < first.shape[1]  # no columns for a reference that is not there
    assert sorted(tmp_path.iterdir()) == sorted(paths)  # and nothing temporary is left


def test_without_an_image_only_labels_have_columns(tmp_path, volume):
    label, prediction = (volume > 0.3).astype(int), (volume > 0.4).astype(int)
    bare = pixels(segmentation_preview(tmp_path / "a.png", None, label, prediction, SPACING))
    black = pixels(segmentation_preview(tmp_path / "b.png", 0 * volume, label, prediction, SPACING))
    assert bare.shape[1] < 0.85 * black.shape[1]
    assert (bare.max(axis=2) > 0.9).any(), "where they differ is drawn"


def test_a_spread_has_a_row_for_each_label_that_has_a_number(tmp_path):
    one = pixels(spread(tmp_path / "a.png", {"a": [0.8, 0.9]}, "Dice"))
    two = pixels(spread(tmp_path / "b.png", {"a": [0.8, np.nan], "b": [0.1], "none": [np.nan]}, "Dice", {"a": [0.5]}))
    assert two.shape[0] > one.shape[0]
    assert spread(tmp_path / "c.png", {"none": [np.nan], "empty": []}, "Dice") is None
    assert not (tmp_path / "c.png").exists()


def test_pictures_do_not_depend_on_the_stored_order_of_the_axes(tmp_path, volume):
    label = (volume > 0.3).astype(int)
    turned, affine = stored_otherwise(volume)
    turned_label, _ = stored_otherwise(label)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    one = segmentation_preview(tmp_path / "a.png", volume, label, label, SPACING, affine=RAS)
    two = segmentation_preview(tmp_path / "b.png", turned, turned_label, turned_label, spacing, affine=affine)
    assert np.array_equal(pixels(one), pixels(two))


def test_fields_turn_with_their_grid(volume):
    random = np.random.default_rng(0)
    ddf = random.normal(size=(3, *volume.shape))
    turned, affine = zip(*(stored_otherwise(component) for component in ddf), strict=True)
    # in world mm the vectors are the same, so in stored voxels they are those of the inverse affine
    linear = np.linalg.inv(affine[0][:3, :3]) @ RAS[:3, :3]
    stored = np.einsum("ab,bijk->aijk", linear, np.stack(turned))
    np.testing.assert_allclose(ddf_to_ras(stored, affine[0]), ddf, atol=1e-12)


def test_registration_preview(tmp_path, volume):
    ddf = np.zeros((3, *volume.shape), dtype=np.float32)
    still = pixels(registration_preview(tmp_path / "a.png", volume, volume, volume, ddf, SPACING, affine=RAS))
    ddf[0] = 3 * np.sin(np.arange(16) / 3)[:, None, None]
    moved = pixels(registration_preview(tmp_path / "b.png", volume, volume, volume, ddf, SPACING, affine=RAS))
    assert still.std() > 0.05
    assert still.shape == moved.shape and np.abs(still - moved).mean() > 0.005  # grid and volume change show the field
    with pytest.raises(ValueError, match="fixed grid"):
        registration_preview(tmp_path / "c.png", volume, volume[:-1], volume, ddf, SPACING)
    assert not (tmp_path / "c.png").exists()


def test_panels_are_in_millimetres():
    sheet = Sheet((10, 20, 30), SPACING, ["one"], "", lettered=True)
    assert sheet.size == [10.0, 40.0, 90.0]
    axial = sheet.panels[0][0]
    assert axial.get_aspect() == 1.0
    assert axial.get_xlim() == (10.0, 0.0) and axial.get_ylim() == (0.0, 40.0)  # right is on the left
    assert [text.get_text() for text in axial.texts] == ["R", "L", "P", "A"]


def test_checkerboard_squares_are_equal_in_mm():
    board = checkerboard((32, 16, 8), (1.0, 2.0, 4.0))
    assert board[:, 0, 0].tolist() == [n // 4 % 2 == 1 for n in range(32)]
    assert board[0, :, 0].tolist() == [n // 2 % 2 == 1 for n in range(16)]
    assert board[0, 0].tolist() == [n % 2 == 1 for n in range(8)]


def test_cuts_go_through_the_object_and_crops_keep_it(volume):
    seen = volume > 0.5
    cuts, box = centre_cuts(seen), crop_box(seen, SPACING, margin_mm=2.0)
    assert all(seen.take(at, axis).any() for axis, at in enumerate(cuts))
    assert seen[box].sum() == seen.sum() and seen[box].size < seen.size
    empty = np.zeros_like(seen)
    assert centre_cuts(empty) == (8, 10, 6) and empty[crop_box(empty, SPACING)].shape == empty.shape


@pytest.mark.parametrize("image", [np.zeros((4, 4, 4)), np.full((4, 4, 4), np.nan)])
def test_window_of_an_empty_image(image):
    low, high = window(image)
    assert np.isfinite([low, high]).all() and low < high


def test_no_affine_leaves_the_order_alone(volume):
    assert to_ras(volume, None) is volume
    assert PLANES[0].letters == ("R", "L", "P", "A")


def test_curves(tmp_path):
    table = tmp_path / "history.csv"
    table.write_text("epoch,loss,same,loss_weighted,word,dice\n1,2.0,1,2.0,a,\n2,1.0,1,1.0,b,0.5\n3,0.5,1,0.5,c,\n")
    from_file = pixels(curves(tmp_path / "a.png", table, "title"))
    mapping = {"epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5], "dice": [np.nan, 0.5, np.nan]}
    from_mapping = pixels(curves(tmp_path / "b.png", mapping, "title"))
    assert from_file.std() > 0.02
    assert np.array_equal(from_file, from_mapping)  # what is constant, repeated or a word gets no chart
    long = {"step": np.arange(200), "loss": np.random.default_rng(0).normal(size=200)}
    assert pixels(curves(tmp_path / "c.png", long)).std() > 0.02
    assert pixels(curves(tmp_path / "d.png", {})).size  # nothing yet: an empty page, no fault


def test_telling_columns():
    columns = {"epoch": [1, 2], "a": [1, 2], "b": [1, 2], "c": [3, 3], "d": [np.nan, np.nan], "e": [np.nan, 4]}
    assert telling({name: np.asarray(values, dtype=float) for name, values in columns.items()}) == ["a", "e"]


def test_the_learning_rate_and_the_time_get_no_chart():
    columns = {"epoch": [1, 2], "lr": [2, 1], "loss": [2, 1.5], "seconds": [5, 6], "dice": [0.1, 0.2]}
    assert telling({name: np.asarray(values, dtype=float) for name, values in columns.items()}) == ["loss", "dice"]


def test_few_charts_are_large(tmp_path):
    rows = {"epoch": [1, 2], "loss": [2, 1]}
    one = pixels(curves(tmp_path / "one.png", rows))
    four = pixels(curves(tmp_path / "four.png", {**rows, "a": [3, 1], "b": [4, 1], "c": [5, 1]}))
    assert one.shape[1] > four.shape[1] / 3 * 1.3, "pixels across"
