"""``register train | predict | evaluate``: it learns, resumes exactly, and writes real transforms."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from registration_phantoms import load, oblique, save, warp_by_itk

from medloss.apps.common.config import dump_config, load_config
from medloss.apps.common.errors import UserError
from medloss.apps.registration.config import Data, Network, RegistrationConfig
from medloss.apps.registration.data import PairDataset, collate, load_files, prepare
from medloss.apps.registration.evaluate import evaluate
from medloss.apps.registration.files import find_pairs, train_and_valid
from medloss.apps.registration.networks import NETWORKS, build_network
from medloss.apps.registration.predict import predict
from medloss.apps.registration.train import dry_run, train


def weights(run) -> dict[str, torch.Tensor]:
    return torch.load(run.checkpoints / "last.pt", weights_only=True)["network"]


@pytest.fixture(scope="module")
def trained(deepreg_data, tmp_path_factory):
    config = RegistrationConfig.model_validate(
        {
            "data": {"root": str(deepreg_data), "labels": {"kind": "masks"}, "valid_fraction": 0.25},
            "loss": {"label": {"dice": {}}, "field": {"diffusion": {"weight": 0.05}}, "label_scales": [0, 1]},
            "model": {"name": "unet", "channels": 4, "depth": 2, "output": "dvf"},
            "train": {"epochs": 8, "optimizer": {"lr": 1e-2}},
        }
    )
    run = train(config, tmp_path_factory.mktemp("runs") / "run", progress=False)
    return run, predict(run.path, progress=False)


def test_training_improves_the_dice_of_unseen_pairs(trained):
    _, result = trained
    assert result.summary["cases"] == 2
    regions = result.summary["labels"]["0"]
    assert regions["dice"]["mean"] > regions["dice_before"]["mean"] + 0.05
    assert {row["label"] for row in result.rows if row["case"] == "case1"} == {"0", "1"}


def test_predictions_are_real_transforms(trained, deepreg_data):
    folder = trained[0].predictions / "test" / "case1"
    fixed = deepreg_data / "test" / "fixed_images" / "case1.nii.gz"
    moved = load(folder / "moved.nii.gz")
    assert moved.shape == load(fixed).shape and moved.dtype == np.uint8
    assert load(folder / "moved_label.nii.gz").shape == (*moved.shape, 2)
    assert (folder / "preview.png").is_file() and (folder / "inverse_field.nii.gz").is_file()
    by_itk = warp_by_itk(deepreg_data / "test" / "moving_images" / "case1.nii.gz", folder / "field.nii.gz")
    inside = by_itk > 0
    assert np.abs(by_itk - moved)[inside].max() <= 0.5 + 1e-3 and inside.any()  # rounded to the image's uint8


def test_evaluate_gathers_what_predict_wrote(trained, tmp_path):
    result = evaluate(trained[0].predictions / "test", tmp_path)
    assert "dice_before" in result.table() and "folding_percent" in result.table()
    summary = json.loads((tmp_path / "metrics.json").read_text())
    assert summary["labels"]["0"]["dice"]["interval95"] and summary["labels"]["0"]["dice"]["definition"]
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 4


def test_resuming_gives_the_same_weights(training, tmp_path):
    config = RegistrationConfig.model_validate({**training, "train": {"epochs": 2, "schedule": {"name": "constant"}}})
    through = train(config, tmp_path / "through", progress=False)
    half = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 1})})
    run = train(half, tmp_path / "halves", progress=False)
    run = train(config, run.path, resume=True, progress=False)
    first, second = weights(through), weights(run)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_unpaired_images_without_labels(training, deepreg_data, tmp_path):
    for number in range(4):
        source = deepreg_data / "train" / "fixed_images" / f"case{number}.nii.gz"
        (tmp_path / "images").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "images")
    data = {"kind": "unpaired", "train": str(tmp_path), "valid": str(tmp_path), "initialise": "none"}
    losses = {"image": {"mse": {}}, "field": {"bending": {"weight": 0.1}}}
    changes = {"data": data, "loss": losses, "train": {"epochs": 1, "batch": 2}}
    run = train(RegistrationConfig.model_validate(training | changes), tmp_path / "run", progress=False)
    assert list(run.checkpoints.glob("best_valid_loss=*.pt"))
    with (run.path / "history.csv").open() as stream:
        assert {"image.mse_raw", "image.mse_weighted", "field.bending_raw"} <= set(stream.readline().strip().split(","))


def test_pairs_of_unpaired_images(deepreg_data):
    folder = deepreg_data / "unpaired-view"
    for name in "abcde":
        save(folder / "images" / f"{name}.nii.gz", np.zeros((8, 8, 8), np.uint8))
    every = find_pairs(Data(kind="unpaired", train=folder, pairs="all"), "train", 0)
    assert len(every) == 20 and all(pair.fixed != pair.moving for pair in every)
    some = [find_pairs(Data(kind="unpaired", train=folder), "train", seed) for seed in (1, 1, 2)]
    assert some[0] == some[1] != some[2] and len(some[0]) == 5
    learned, held = train_and_valid(Data(kind="unpaired", train=folder, pairs="all"), 0)
    assert not {p.fixed for p in held} & {q for pair in learned for q in (pair.fixed, pair.moving)}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_take_any_size_and_start_from_no_displacement(name):
    network = build_network(Network(name=name, channels=2, depth=2))
    field = network(torch.rand(1, 2, 13, 9, 10))
    assert field.shape == (1, 3, 13, 9, 10) and field.abs().max() < 1e-2
    field.sum().backward()


def test_one_region_is_drawn_or_all_are_stacked(training, deepreg_data):
    data = Data.model_validate(training["data"])
    pairs = find_pairs(data, "train", 0)
    drawn = PairDataset(pairs, data, sample=True)[1]
    assert drawn["fixed_label"].shape == drawn["moving_label"].shape == (1, 16, 14, 12)
    every = PairDataset(pairs, data, sample=False)
    assert every[1]["moving_label"].shape == (2, 16, 14, 12)
    batch = collate([every[0], every[1]])
    assert batch["fixed_label"].shape == (2, 2, 16, 14, 12) and batch["fixed_label"][0, 1].sum() == 0


def test_classes_choose_the_channels_of_masks(training, deepreg_data):
    data = Data.model_validate({**training["data"], "labels": {"classes": [0]}})
    pairs = find_pairs(data, "train", 0)
    assert [item["fixed_label"].shape[0] for item in PairDataset(pairs, data, sample=False).load().cache] == [1] * 4
    data.labels.classes = [1]
    with pytest.raises(UserError, match="counted from 0"):
        PairDataset(pairs, data, sample=False).load()


def test_a_working_grid_keeps_the_corners(training, deepreg_data):
    data = Data.model_validate({**training["data"], "size": [8, 10, 8]})
    item = prepare(load_files(find_pairs(data, "train", 0)[0], data.labels, None), data)
    assert item["fixed"].shape == item["moving"].shape == (1, 8, 10, 8)
    np.testing.assert_allclose(item["spacing"], np.array([1.0, 1.5, 2.0]) * [15 / 7, 13 / 9, 11 / 7], rtol=1e-5)


def test_label_maps_become_channels(training, deepreg_data, tmp_path):
    root = tmp_path / "maps"
    shutil.copytree(deepreg_data, root)
    for path in sorted(root.glob("*/*_labels/*.nii.gz")):
        array = load(path)
        region = array[..., 0] if array.ndim == 4 else array
        save(path, (region * 5 + (np.indices(region.shape)[0] > 8) * region * 2).astype(np.int16), oblique())
    changes = {"data": {"root": str(root), "labels": {"kind": "map"}}}
    config = RegistrationConfig.model_validate(training | changes)
    assert "fixed_label (1, 2, 16, 14, 12)" in dry_run(config)


def test_the_configuration_loads_again(training, tmp_path):
    config = RegistrationConfig.model_validate(training)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(RegistrationConfig, [tmp_path / "config.yaml"]) == config
