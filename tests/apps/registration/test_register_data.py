"""Which pairs are made of which files: DeepReg's kinds of data, its folders and HDF5 files, CSV and JSON lists."""

from __future__ import annotations

import json
from collections import Counter

import h5py
import numpy as np
import pytest
import torch
from registration_phantoms import save

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import load_volume
from medloss.apps.common.output import digest_of
from medloss.apps.registration.augment import augmented, follow, random_displacement
from medloss.apps.registration.config import Augment, Data, Losses
from medloss.apps.registration.data import PairBatches, PairDataset, collate, prepare
from medloss.apps.registration.files import find_pairs, read_pairs, train_and_valid
from medloss.apps.registration.loading import Files
from medloss.apps.registration.losses import Landmarks, RegistrationLoss
from medloss.apps.registration.transform import warp

SHAPE = (8, 9, 10)


def volume(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 99, SHAPE).astype(np.uint8)


def label(start: int) -> np.ndarray:
    region = np.zeros(SHAPE, np.uint8)
    region[start : start + 3, 2:6, 2:6] = 1
    return region


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Three groups of three images, as NIfTI files in folders and in one HDF5 file."""
    folder = tmp_path_factory.mktemp("grouped")
    with h5py.File(folder / "images.h5", "w") as file:
        for group in (1, 2, 3):
            for number in (2, 9, 10):  # as text, 10 comes before 2
                array = volume(10 * group + number)
                save(folder / "nifti" / "train" / "images" / f"g{group}" / f"t{number}.nii.gz", array)
                file[f"group-{group}-{number}"] = array
    (folder / "hdf5" / "train").mkdir(parents=True)
    (folder / "images.h5").rename(folder / "hdf5" / "train" / "images.h5")
    return folder


def order(pairs) -> list[tuple[str, str]]:
    """Moving and fixed image of each pair, by their places."""
    return [tuple("/".join(path.parts[-2:]).removesuffix(".nii.gz") for path in (p.moving, p.fixed)) for p in pairs]


@pytest.mark.parametrize("kind", ["nifti", "hdf5"])
@pytest.mark.parametrize(("option", "count"), [("forward", 9), ("backward", 9), ("unconstrained", 18)])
def test_all_pairs_within_groups(grouped, kind, option, count):
    data = Data(kind="grouped", root=grouped / kind, intra_group_option=option, sample_image_in_group=False)
    found = order(find_pairs(data, "train", 0))
    assert len(set(found)) == len(found) == count
    for moving, fixed in found:
        one, other = (int(each.replace("t", "-").rpartition("-")[2]) for each in (moving, fixed))
        assert option == "unconstrained" or (one < other) == (option == "forward")
        assert moving.rpartition("-")[0] == fixed.rpartition("-")[0]


def test_pairs_between_groups_and_a_mixture(grouped):
    def groups(**options):
        data = Data(kind="grouped", root=grouped / "nifti", **options)
        pairs = [find_pairs(data, "train", seed) for seed in range(40)]
        return [[(p.moving.parent.name, p.fixed.parent.name) for p in found] for found in pairs]

    between = groups(intra_group_prob=0)
    assert all(len(found) == 3 and all(one != other for one, other in found) for found in between)
    mixed = [one == other for found in groups(intra_group_prob=0.5) for one, other in found]
    assert 0.3 < np.mean(mixed) < 0.7
    every = Data(kind="grouped", root=grouped / "nifti", intra_group_prob=0, sample_image_in_group=False)
    assert len(find_pairs(every, "train", 0)) == 9 * 9 - 3 * 9


def test_groups_are_held_out_whole_and_pairs_change_with_the_epoch(grouped):
    data = Data(kind="grouped", root=grouped / "nifti", valid_fraction=0.3)
    training, valid = train_and_valid(data, 0)
    assert {p.fixed.parent.name for p in valid} == {"g3"} == {p.moving.parent.name for p in valid}
    seen = Counter(tuple(order(training.of(epoch))) for epoch in range(8))
    assert len(seen) > 3 and {p.fixed.parent.name for p in training.of(5)} == {"g1", "g2"}
    assert training.of(4) == training.of(4)
    batches = PairBatches(training, 1, 0)
    dataset = PairDataset(training.sources, data, regions=None, changing=True).load()
    drawn = []
    for epoch in (1, 2, 3):
        batches.set_epoch(epoch)
        drawn.append([pair for batch in batches for pair in batch])
        assert sorted(drawn[-1]) == sorted(training.of(epoch))
    item = dataset[drawn[0][0]]
    assert item["fixed"].shape == item["moving"].shape == (1, *SHAPE)


def test_an_atlas_stays(grouped, tmp_path):
    atlas = save(tmp_path / "atlas.nii.gz", volume(0))
    data = Data(kind="atlas", train=grouped / "nifti" / "train", atlas=atlas, valid_fraction=0.2)
    training, valid = train_and_valid(data, 0)
    assert len(training.of(0)) == 7 and len(valid) == 2 and {p.fixed for p in [*training.of(0), *valid]} == {atlas}
    with pytest.raises(ValueError, match="need each other"):
        Data(kind="atlas", train=tmp_path)


def test_hdf5_is_read_as_a_folder_is(tmp_path):
    for kind, make in (("images", volume), ("labels", label)):
        for side in ("fixed", "moving"):
            with h5py.File(tmp_path / f"{side}_{kind}.h5", "w") as file:
                file["case1"], file["case2"] = make(1), make(2)
                file["case1"].attrs["spacing"] = (1.0, 2.0, 3.0)
    data = Data(train=tmp_path, labels={"kind": "masks"})
    pairs = find_pairs(data, "train", 0)
    assert [pair.name for pair in pairs] == ["case1", "case2"]
    stored = load_volume(pairs[0].fixed)
    assert stored.spacing == (1.0, 2.0, 3.0) and np.array_equal(stored.array, volume(1))
    assert digest_of(pairs[0].fixed) == digest_of(pairs[0].moving) != digest_of(pairs[1].fixed)
    assert Files(data).pair(pairs[0]).fixed_label.shape == (1, *SHAPE)
    with h5py.File(tmp_path / "fixed_images.h5", "a") as file:
        file.create_group("more")
    with pytest.raises(UserError, match="more is a group"):
        find_pairs(data, "train", 0)


def test_lists_of_images_and_of_pairs(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.nii.gz", volume(ord(name)))
    (tmp_path / "train.csv").write_text("image,group\na.nii.gz,x\nb.nii.gz,x\nc.nii.gz,y\n")
    data = Data(kind="grouped", root=tmp_path, intra_group_option="forward")
    assert order(find_pairs(data, "train", 0)) == [(f"{tmp_path.name}/a", f"{tmp_path.name}/b")]
    entries = [{"fixed": "a.nii.gz", "moving": "b.nii.gz", "name": "one"}]
    (tmp_path / "lists.json").write_text(json.dumps({"train": entries, "test": entries * 2}))
    assert [p.name for p in find_pairs(Data(train=tmp_path / "lists.json"), "train", 0)] == ["one"]
    (tmp_path / "bad.json").write_text(json.dumps({"train": 5}))
    with pytest.raises(UserError, match="list of entries"):
        read_pairs(tmp_path / "bad.json", Data(root=tmp_path))
    two = Data(train=[tmp_path / "lists.json", tmp_path / "lists.json"])
    assert len(find_pairs(two, "train", 0)) == 2


def test_labels_may_be_missing_where_that_is_said(tmp_path):
    for name in ("a", "b"):
        for side in ("fixed", "moving"):
            save(tmp_path / f"{side}_images" / f"{name}.nii.gz", volume(1))
    for side in ("fixed", "moving"):
        save(tmp_path / f"{side}_labels" / "a.nii.gz", np.stack([label(2), label(3)], -1))
    with pytest.raises(UserError, match="lacks 1 file"):
        find_pairs(Data(train=tmp_path, labels={}), "train", 0)
    data = Data(train=tmp_path, labels={"missing": "allow"})
    dataset = PairDataset(find_pairs(data, "train", 0), data).load()
    batch = collate([dataset[0], dataset[1]])
    assert batch["fixed_label"].shape == (2, 2, *SHAPE) and batch["fixed_label"][1].sum() == 0
    loss = RegistrationLoss(Losses(label={"dice": {}}))
    both = loss.terms(labels=(batch["moving_label"] * 0.5, batch["fixed_label"]))["label.dice"].raw
    alone = loss.terms(labels=(batch["moving_label"][:1] * 0.5, batch["fixed_label"][:1]))["label.dice"].raw
    torch.testing.assert_close(both, alone)  # what is not there costs nothing, and does not dilute the rest


def test_labels_are_channels_only_where_a_loss_asks_for_them(tmp_path):
    for side, start in (("fixed", 2), ("moving", 3)):
        save(tmp_path / f"{side}_images" / "a.nii.gz", volume(1))
        save(tmp_path / f"{side}_labels" / "a.nii.gz", (7 * label(start) + 3 * (label(start + 2))).astype(np.int16))
    data = Data(train=tmp_path, labels={"kind": "map"}, initialise="none")
    pairs = find_pairs(data, "train", 0)
    item = PairDataset(pairs, data, regions="map").load()[0]
    assert "fixed_label" not in item and not item["fixed_map"].is_floating_point()
    assert item["moving_map"].unique().tolist() == [0, 3, 7, 10]
    assert set(PairDataset(pairs, data, regions=None).load()[0]) == {"fixed", "moving", "spacing"}


def test_landmarks_reach_the_loss_in_mm(tmp_path):
    """The moving image lies 3 mm further along x, and so does its landmark; lps turns x and y around."""
    affine = np.diag([1.0, 2.0, 2.0, 1.0])
    for side in ("fixed", "moving"):
        save(tmp_path / f"{side}_images" / "a.nii.gz", volume(1), affine)
    (tmp_path / "fixed_points").mkdir()
    (tmp_path / "moving_points").mkdir()
    (tmp_path / "fixed_points" / "a.csv").write_text("x,y,z\n-2,-4,6\n-4,-4,8\n")
    (tmp_path / "moving_points" / "a.csv").write_text("x,y,z\n-5,-4,6\n-7,-4,8\n")
    data = Data(train=tmp_path, points="lps", initialise="none")
    item = prepare(Files(data).pair(find_pairs(data, "train", 0)[0]), data)
    torch.testing.assert_close(item["fixed_points"], torch.tensor([[2.0, 2.0, 3.0], [4.0, 2.0, 4.0]]))
    torch.testing.assert_close(item["moving_points"][0], torch.tensor([5.0, 2.0, 3.0]))
    batch = collate([item, {**item, "fixed_points": torch.zeros(0, 3), "moving_points": torch.zeros(0, 3)}])
    loss = RegistrationLoss(Losses(points={"landmark": {"weight": 2.0}}))

    def value(ddf):
        marks = Landmarks(batch["fixed_points"], batch["moving_points"], batch["points_mask"], ddf)
        return loss.terms(points=marks, spacing=batch["spacing"])["points.landmark"]

    still = torch.zeros(2, 3, *SHAPE)
    moved = still.clone()
    moved[:, 0] = 3.0
    assert float(value(still).raw) == pytest.approx(3.0) and float(value(still).value) == pytest.approx(6.0)
    assert float(value(moved).raw) == pytest.approx(0.0, abs=1e-5)


def test_augmentation_moves_labels_and_landmarks_with_their_image():
    """A ball's label and centre are where the ball is afterwards; both sides are moved by fields of their own."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(24.0),) * 3, indexing="ij"))
    centre = torch.tensor([10.0, 13.0, 11.0])
    ball = ((grid - centre.reshape(3, 1, 1, 1)).norm(dim=0) < 5).float()[None]
    item = {"spacing": torch.tensor([1.0, 1.0, 1.5])}
    for side in ("fixed", "moving"):
        item |= {side: ball, f"{side}_label": ball.clone(), f"{side}_points": centre[None]}
    torch.manual_seed(3)
    found = augmented(item, Augment(prob=1.0, rotate=20, scale=0.1, shift=0.05, field=1.5))
    for side in ("fixed", "moving"):
        torch.testing.assert_close(found[side], found[f"{side}_label"])
        weights = found[side][0]
        middle = (grid * weights).flatten(1).sum(1) / weights.sum()
        assert (middle - found[f"{side}_points"][0]).norm() < 0.6 < (middle - centre).norm()
    assert not torch.equal(found["fixed"], found["moving"]) and torch.equal(item["fixed"], ball)
    torch.manual_seed(3)
    again = augmented(item, Augment(prob=1.0, rotate=20, scale=0.1, shift=0.05, field=1.5))
    assert torch.equal(again["moving"], found["moving"])
    noisy = augmented(item, Augment(prob=0.0, noise=0.1))
    assert 0.08 < float((noisy["fixed"] - ball).std()) < 0.12 and torch.equal(noisy["fixed_label"], ball)


def test_landmarks_follow_a_displacement_exactly():
    torch.manual_seed(0)
    ddf = random_displacement(torch.Size((20, 20, 20)), torch.ones(3), Augment(field=1.0))
    ramp = torch.stack(torch.meshgrid(*(torch.arange(20.0),) * 3, indexing="ij"))
    points = torch.tensor([[9.0, 10.0, 8.0], [6.5, 12.0, 11.0]])
    moved = follow(points, ddf)
    read = warp(ramp[None], ddf[None])[0]  # what stands at a voxel is where it came from
    for before, after in zip(points, moved, strict=True):
        low = after.floor().long()
        cell = read[:, low[0] : low[0] + 2, low[1] : low[1] + 2, low[2] : low[2] + 2]
        share = torch.nn.functional.grid_sample(
            cell[None], (2 * (after - low) - 1).flip(0).reshape(1, 1, 1, 1, 3), align_corners=True
        )
        torch.testing.assert_close(share.flatten(), before, atol=1e-3, rtol=0)
