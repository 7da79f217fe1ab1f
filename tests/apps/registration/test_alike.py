"""``loss.image: auto``: images that look alike are compared by LNCC, others by mutual information, and this is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from registration_phantoms import SHAPE, blobs, save, smooth, warped_pair

from medloss.apps.common.config import dump_config, load_config
from medloss.apps.common.deformation import target_registration_error
from medloss.apps.common.errors import UserError
from medloss.apps.registration.alike import agreement, choose
from medloss.apps.registration.config import ALIKE, AUTO, UNLIKE, Losses, PairConfig
from medloss.apps.registration.pair import register, register_pair
from medloss.apps.registration.views import Views

QUICK = {"pyramid": [2, 1], "iterations": [25, 20], "device": "cpu", "threads": 1}
STILL = {**QUICK, "iterations": [0, 0]}
INNER = np.pad(np.ones(tuple(size - 8 for size in SHAPE)), 4)


def config(image=None, base=QUICK, **changes) -> PairConfig:
    losses = {} if image is None else {"loss": {"image": image}}
    return PairConfig.model_validate({**base, **losses, **changes})


def v_shaped(image: torch.Tensor) -> torch.Tensor:
    """Another modality: what is darkest or brightest here is bright there, and what lies between is dark."""
    return (image - 40).abs()


def test_two_modalities_are_registered_by_default():
    """Voxels of 1 mm. LNCC finds the field worse than none, since the same edge has either sign."""
    fixed, moving, truth = warped_pair(seed=1, amplitude=2.5)
    before = target_registration_error(torch.zeros_like(truth), truth, np.eye(4), INNER).mean()
    error = {}
    for name, image in (("auto", None), ("lncc", ALIKE)):
        found = register(v_shaped(fixed), moving, config(image))
        error[name] = target_registration_error(found.ddf, truth, np.eye(4), INNER).mean()
    assert error["auto"] < 0.5 < before < error["lncc"]


@pytest.mark.parametrize("other", [lambda image: image, lambda image: 5 - 2 * image])
def test_one_modality_is_registered_as_by_lncc(other):
    """Also in reversed contrast; to the last bit."""
    fixed, moving, _ = warped_pair()
    auto, named = (register(other(fixed), moving, config(image)) for image in (None, ALIKE))
    assert auto.chosen.image == ALIKE and named.chosen is None
    assert torch.equal(auto.ddf, named.ddf) and auto.history == named.history


def test_two_modalities_are_registered_as_by_mutual_information():
    """The stage that LNCC has looked at leaves nothing behind."""
    fixed, moving, _ = warped_pair()
    auto, named = (register(v_shaped(fixed), moving, config(image)) for image in (None, UNLIKE))
    assert auto.chosen.image == UNLIKE
    assert torch.equal(auto.ddf, named.ddf) and auto.history == named.history


def shifted() -> tuple[torch.Tensor, torch.Tensor]:
    """Texture without an outline and the same 4 voxels further: as they lie, the two have nothing in common."""
    texture = smooth(SHAPE, 50.0, seed=3)
    return torch.tensor(texture), torch.tensor(np.roll(texture, 4, axis=0))


def test_without_an_affine_stage_the_search_comes_before_the_choice():
    options = {"affine": {"model": "none"}, "search": {"step": 1, "radius": 4}}
    auto, named = (register(*shifted(), config(each, STILL, **options)) for each in (None, ALIKE))
    assert auto.chosen.image == ALIKE and torch.equal(auto.ddf, named.ddf)
    assert register(*shifted(), config(None, STILL, **options | {"search": {"use": False}})).chosen.image == UNLIKE


def test_a_start_is_looked_through():
    """What lies apart is alike where the start leads."""
    start = torch.zeros(1, 3, *SHAPE)
    assert register(*shifted(), config(None, STILL), start=start).chosen.image == UNLIKE
    start[:, 0] = 4
    assert register(*shifted(), config(None, STILL), start=start).chosen.image == ALIKE


@pytest.mark.parametrize("side", ["mask", "moving_mask"])
def test_what_a_mask_hides_has_no_say(side):
    """Reversed in one half, the images agree in no sign."""
    image = torch.tensor(blobs())
    half = image.clone()
    half[:12] = 100 - half[:12]
    pair = (half, image) if side == "mask" else (image, half)
    mask = torch.zeros(SHAPE)
    mask[12:] = 1
    still = config(None, STILL, affine={"model": "none"}, search={"use": False})
    assert register(*pair, still).chosen.image == UNLIKE
    assert register(*pair, still, **{side: mask}).chosen.image == ALIKE


def test_masks_that_came_apart_leave_the_fixed_one():
    """As for the losses: masks that had something in common as they lay may have nothing after the affine stage."""
    image = torch.tensor(blobs())[None, None] / 100
    mask = (torch.arange(SHAPE[0]) < 12).float().view(1, 1, -1, 1, 1).expand(1, 1, *SHAPE)
    apart = Views(image, image, fixed_mask=mask, moving_mask=1 - mask)
    assert torch.equal(apart.mask, mask) and choose(apart).image == ALIKE


def test_agreement_by_hand():
    """Two halves far apart, alike in the one and reversed in the other: as many squares of either sign."""
    ramp = torch.linspace(0, 1, 9).expand(9, 9, 9)
    empty = torch.zeros(9, 9, 9)
    fixed = torch.cat([ramp, empty, ramp])[None, None]
    for sign, wanted in ((1, 1.0), (-1, 0.0)):
        moved = torch.cat([ramp, empty, sign * ramp])[None, None]
        assert agreement(fixed, moved) == pytest.approx(wanted, abs=1e-3)
        assert agreement(fixed, 1 - moved) == pytest.approx(wanted, abs=1e-3)
    assert agreement(fixed, torch.zeros_like(fixed)) == 0


def test_the_folder_says_what_was_chosen(tmp_path, capsys):
    """In the log, the metrics and the page; the configuration stays the one that was asked for."""
    image = blobs()
    paths = [save(tmp_path / "a.nii.gz", image), save(tmp_path / "b.nii.gz", v_shaped(torch.tensor(image)).numpy())]
    for moving, loss, words in ((paths[0], "lncc", "look alike"), (paths[1], next(iter(UNLIKE)), "do not look alike")):
        run = register_pair(paths[0], moving, config(None, STILL), tmp_path / loss, progress=False)
        metrics = json.loads((run.path / "metrics.json").read_text())
        assert metrics["image_loss"].startswith(f"{loss}: the images {words}")
        assert f"image.{loss}" in metrics and "image_loss" in metrics["definitions"]
        for name in ("log.txt", "report.html"):
            assert f"mage loss {loss}: the images {words}" in (run.path / name).read_text()
        assert load_config(PairConfig, [run.config]) == config(None, STILL)
        doubt = "compared by mutual information" in (run.path / "log.txt").read_text()
        told = capsys.readouterr()
        assert doubt == (loss != "lncc") == ("compared by mutual information" in told.err)
        assert "compared by mutual information" not in told.out  # a terminal shows both
    run = register_pair(*paths, config(UNLIKE, STILL), tmp_path / "named", progress=False)
    assert "image loss" not in (run.path / "log.txt").read_text()
    assert "image_loss" not in json.loads((run.path / "metrics.json").read_text())


def test_the_columns_are_those_of_the_chosen_loss():
    fixed, moving, _ = warped_pair()
    few = {**QUICK, "iterations": [2, 2]}
    for image, name in ((fixed, "image.lncc"), (v_shaped(fixed), "image.global_mutual_information")):
        history = register(image, moving, config(None, few)).history
        assert {tuple(row) for row in history} == {tuple(history[0])} and name in history[0]


@pytest.mark.parametrize(
    ("given", "image"),
    [
        ([], AUTO),
        (["loss.image=auto"], AUTO),
        (["loss.field={bending: {}}"], AUTO),
        (["loss.label=dice"], AUTO),
        (["loss.image=mse"], {"mse": {}}),
        (["loss.image={}", "loss.label=dice"], {}),
    ],
)
def test_who_names_no_image_loss_leaves_it_open(given, image):
    assert load_config(PairConfig, [], given).loss.image == image


def test_a_group_that_is_left_out_keeps_its_default():
    found = load_config(PairConfig, [], ["loss.image=mse"])
    assert found.loss.field == PairConfig().loss.field and list(found.loss.field) == ["diffusion", "jacobian"]
    whole = PairConfig(loss=Losses(image={"mse": {}}))
    assert whole.loss.field == {}, "what another command's losses lack is not filled in"
    assert "auto" in dump_config(PairConfig())


@pytest.mark.parametrize("image", ["{auto: {weight: 2}}", "[auto, mse]"])
def test_auto_stands_alone(image):
    with pytest.raises(UserError, match="auto chooses the losses itself: it takes no options, and no loss beside it"):
        load_config(PairConfig, [], [f"loss.image={image}"])
