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
from medloss.apps.common.notes import note
from medloss.apps.registration import loading
from medloss.apps.registration.config import Data, PairConfig, RegistrationConfig
from medloss.apps.registration.data import PairDataset, collate, prepare
from medloss.apps.registration.evaluate import evaluate
from medloss.apps.registration.files import find_pairs, train_and_valid
from medloss.apps.registration.loading import Files
from medloss.apps.registration.network_config import Network
from medloss.apps.registration.networks import NETWORKS, OnCoarserGrid, build_network, nearest_affine
from medloss.apps.registration.predict import Predictor, predict
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


def test_a_prediction_reads_each_file_once_and_keeps_one_pair(trained, tmp_path, monkeypatch):
    read = []
    for name in ("load_intensities", "load_masks"):
        original = getattr(loading, name)
        monkeypatch.setattr(
            loading, name, lambda path, *rest, original=original: read.append(path) or original(path, *rest)
        )
    predict(trained[0].path, tmp_path / "out", progress=False)
    assert len(read) == len(set(read)) == 8


def test_refinement_begins_with_the_network(trained, tmp_path):
    """It gains in what its loss compares; without iterations the field is the network's."""
    network = trained[1].summary["field"]
    settings = {"symmetric": False, "loss": {"image": {"mse": {}}, "field": {"diffusion": {"weight": 0.001}}}}
    still = predict(
        trained[0].path, tmp_path / "a", progress=False, refine=1, settings={**settings, "iterations": [0, 0]}
    )
    assert still.summary["field"]["ncc"]["mean"] == pytest.approx(network["ncc"]["mean"], abs=1e-3)
    refined = predict(trained[0].path, tmp_path / "b", progress=False, refine=30, settings=settings)
    assert refined.summary["field"]["ncc"]["mean"] > network["ncc"]["mean"]
    with pytest.raises(UserError, match="these settings"):
        predict(trained[0].path, tmp_path / "b", progress=False)


def test_refinement_holds_the_field_as_the_training_did(training, tmp_path, trained, capsys):
    """With pair's weights, a fraction of the training's, it would go on to fit noise, and leave a good field worse."""
    losses = {
        "image": {"lncc": {"weight": 0.5, "kernel_size": 7, "border": "renormalise"}},
        "label": {"dice": {}},
        "field": {
            "diffusion": {"weight": 1.0, "stencil": "forward"},
            "jacobian": {"weight": 100.0, "penalty": "hinge"},
        },
    }
    config = RegistrationConfig.model_validate(training | {"loss": losses, "train": {"epochs": 1}})
    run = train(config, tmp_path / "run", progress=False)
    chosen = Predictor(run, refine=10).refinement.loss
    assert chosen.image == config.loss.image and chosen.field == config.loss.field and not chosen.label
    note.cache_clear()
    assert Predictor(trained[0], refine=10).refinement.loss == PairConfig().loss
    assert "compared no images" in capsys.readouterr().err


def test_the_page_shows_the_worst_pair_first(trained):
    folder = trained[0].predictions / "test"
    page = (folder / "report.html").read_text()
    rows = {row["case"]: row["dice"] for row in trained[1].rows if row["label"] == "0"}
    assert all(name in page for name in rows) and "case1/field.nii.gz" in page and "itksnap" in page
    assert "<script" not in page and page.count("data:image/png;base64") == 3


def test_an_affine_network_writes_a_transform_of_itk(training, deepreg_data, tmp_path):
    from medloss.apps.registration.transform_files import read_transform

    changes = {
        "model": {"name": "global", "output": "affine", "channels": 4, "depth": 2},
        "loss": {"image": {"mse": {}}, "label": {"dice": {}}},
        "train": {"epochs": 1, "optimizer": {"lr": 1e-3}},
    }
    changes["data"] = {**training["data"], "size": [16, 16, 12]}
    run = train(RegistrationConfig.model_validate(training | changes), tmp_path / "run", progress=False)
    predict(run.path, progress=False)
    folder = run.predictions / "test" / "case0"
    affine, field = (read_transform(folder / name) for name in ("affine.tfm", "field.nii.gz"))
    points = torch.tensor(oblique()[:3, :3] @ np.array([[3.0, 8, 14], [2, 7, 12], [1, 6, 10]]) + oblique()[:3, 3:])
    torch.testing.assert_close(affine(points), field(points), atol=1e-3, rtol=0)
    jacobian = load(folder / "jacobian.nii.gz")
    assert jacobian.std() < 1e-3


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
    assert held and not {p.fixed for p in held} & {q for pair in learned.of(0) for q in (pair.fixed, pair.moving)}


@pytest.mark.parametrize("downsample", [1, 2])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_take_any_size_and_start_from_no_displacement(name, downsample):
    chosen = Network(
        name=name,
        channels=2 if name != "segresnet" else 8,
        depth=2,
        output="affine" if name == "global" else "ddf",
        downsample=downsample,
    )
    network = build_network(chosen, (13, 9, 10))
    field = network(torch.rand(1, 2, 13, 9, 10))
    assert field.shape == (1, 3, 13, 9, 10) and field.abs().max() < 1e-2
    field.sum().backward()


def test_a_field_of_a_coarser_grid_is_in_voxels_of_the_fine_one():
    """The corner voxels are the same: 17 steps of the fine grid are 8 of the coarse one."""
    seen = []

    def network(images):
        seen.append(images.shape)
        return torch.full((1, 3, *images.shape[2:]), 4.0)

    field = OnCoarserGrid(network, 2)(torch.rand(1, 2, 18, 18, 18))
    assert seen == [(1, 2, 9, 9, 9)]
    torch.testing.assert_close(field, torch.full((1, 3, 18, 18, 18), 4.0 * 17 / 8))


def test_the_nearest_affine_field():
    """An affine field is its own; what is orthogonal to all of them, here a wave along an axis, leaves nothing."""
    points = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in (9, 8, 7)), indexing="ij"))
    matrix = torch.tensor([[0.1, 0.02, -0.3], [0.0, -0.05, 0.2], [0.3, 0.1, 0.0]])
    field = (torch.einsum("ab,b...->a...", matrix, points) + 1.5)[None]
    torch.testing.assert_close(nearest_affine(field), field, atol=1e-4, rtol=0)
    wave = torch.zeros(1, 3, 9, 8, 7)
    wave[:, 1] = torch.tensor([1.0, -2.0, 1.0] * 3).reshape(9, 1, 1)  # symmetric, and sums to nothing
    wave[:, 1] = (wave[:, 1] + wave[:, 1].flip(1)) / 2
    torch.testing.assert_close(nearest_affine(wave), torch.zeros_like(wave), atol=1e-5, rtol=0)


def test_one_region_is_drawn_or_all_are_stacked(training, deepreg_data):
    data = Data.model_validate(training["data"])
    pairs = find_pairs(data, "train", 0)
    drawn = PairDataset(pairs, data, sample=True).load()[1]
    assert drawn["fixed_label"].shape == drawn["moving_label"].shape == (1, 16, 14, 12)
    every = PairDataset(pairs, data, sample=False).load()
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
    item = prepare(Files(data).pair(find_pairs(data, "train", 0)[0]), data)
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


@pytest.mark.parametrize("name", NETWORKS)
def test_one_pair_in_a_batch_trains_no_batch_norm(name):
    """It predicts by running statistics, once it no longer trains; one pair is then given another field."""

    def has_one(norm: str, pairs: int) -> bool:
        network = build_network(Network(name=name, channels=4, depth=2, norm=norm), (16, 16, 16), pairs)
        return any(isinstance(layer, torch.nn.BatchNorm3d) for layer in network.modules())

    assert not has_one("auto", 1) and not has_one("instance", 4)
    assert has_one("auto", 4) == has_one("class", 1) == (name in ("unet", "local", "global"))
