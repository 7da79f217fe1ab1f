"""``medloss losses``: every loss can be shown, has a gradient on the standard phantom, and every option its words."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

import medloss
from medloss.apps.commands import app
from medloss.apps.common.errors import UserError
from medloss.apps.losses import ask, measure
from medloss.apps.losses.describe import example, formulas, options_in_words, section, summary, text_of
from medloss.apps.losses.formula_text import plain_formula
from medloss.apps.losses.peers import PEERS
from medloss.apps.losses.phantom import kind_of, made, scene
from medloss.apps.losses.picture import draw
from medloss.apps.losses.show import listed, loss_named, sizes_of
from medloss.registry import losses

EVERY = losses()


def run(*arguments: str, **more) -> str:
    done = CliRunner().invoke(app, ["losses", *arguments], **more)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", EVERY)
def test_every_loss_has_a_value_and_a_gradient_on_the_phantom(name):
    loss, tensors = scene(EVERY[name], (48, 48))
    value = loss(*tensors)
    value.backward()
    gradient = tensors[0].grad
    assert value.isfinite() and gradient.isfinite().all() and gradient.abs().max() > 0


@pytest.mark.parametrize("name", EVERY)
def test_every_option_has_words_of_its_own(name):
    for option in options_in_words(EVERY[name]):
        assert len(option.words) > 3, option
        assert not option.words.lower().startswith("see "), option


@pytest.mark.parametrize("name", EVERY)
def test_every_docstring_has_its_parts(name):
    text = text_of(EVERY[name])
    assert summary(text) and section(text, "References") and example(text).startswith(">>>")
    assert formulas(text) or ":math:" in text or "of :class:" in text or "whose call" in text


def test_parts_of_a_docstring():
    text = "Sum of x.\n\n.. math:: L = x\n\nRange: from 0\nto 1.\n\nArgs:\n    a, b: both\n        of them.\n\n>>> 1\n1"
    assert summary(text) == "Sum of x."
    assert formulas(text) == ["L = x"]
    assert section(text, "Range") == "from 0\nto 1."
    assert section(text, "Args") == "a, b: both\n    of them."
    assert section(text, "Raises") == ""
    assert example(text) == ">>> 1\n1"


def test_an_inherited_option_is_told_in_the_words_of_where_it_comes_from():
    told = {option.name: option for option in options_in_words(medloss.DiceCELoss)}
    assert told["jaccard"].source == "DiceLoss" and "union" in told["jaccard"].words.lower()
    assert told["batch"].source == "RegionLoss"
    assert told["process_group"].words.endswith("For both terms.")
    assert told["ignore_index"].source == "LabelLoss"


def test_list_names_every_loss_once():
    lines = run("list").splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(names) == sorted(EVERY)
    assert "gradicon" not in run("list", "--kind", "image")


def test_show_tells_formula_options_path_and_example():
    shown = run("show", "iou")
    for part in (
        "medloss.JaccardLoss, in YAML jaccard",
        "(I + nr) / (S + T - I + dr)",
        "ignore_index = None   (of every label loss)",
    ):
        assert part in shown
    with medloss.backend("reference"):
        assert "region_loss: reference" in run("show", "dice") or "region_sums: reference" in run("show", "dice")


@pytest.mark.parametrize("name", EVERY)
def test_no_two_options_share_their_words(name):
    words = [option.words for option in options_in_words(EVERY[name])]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    "latex, told",
    [
        (r"L = \frac{1}{2} \sum_i w_i", "L = (1 / 2) sum_i w_i"),
        (
            r"L = 1 - \frac{2 I + nr}{S}, \qquad S = \sum_{i < j} s_{ij}^2",
            "L = 1 - (2 I + nr) / S,\nS = sum_(i < j) s_ij^2",
        ),
        (r"\lambda_{ce} \cdot \log\left( x^{1 / \gamma} \right)", "lambda_ce * log(x^(1 / gamma))"),
        (r"\begin{cases} a & |r| \le 1 \\ b & \text{else} \end{cases}", "{ a if |r| <= 1; b if else }"),
        (r"\sqrt{\max(x, 0)}, \quad \tfrac12 y", "sqrt(max(x, 0)),\n(1 / 2) y"),
    ],
)
def test_a_formula_as_plain_text(latex, told):
    assert plain_formula(latex) == told


@pytest.mark.parametrize("name", EVERY)
def test_no_formula_keeps_latex_and_brackets_close(name):
    for formula in formulas(text_of(EVERY[name])):
        told = plain_formula(formula)
        assert "\\" not in told and "&" not in told
        assert all(told.count(left) == told.count(right) for left, right in ("()", "{}", "[]"))
        assert told.count("|") % 2 == 0


def test_list_finds_by_name_text_family_and_what_the_chooser_says():
    assert "skeleton_recall" in run("list", "vessel") and "dice_ce" not in run("list", "vessel")
    assert "local_normalized_cross_correlation" in run("list", "LNCC")
    assert "  ace " in run("list", "calibration")
    assert "gradicon" in run("list", "fields") and "Images:" not in run("list", "fields", "gradicon")
    assert "hausdorff_er" not in run("list", "hausdorff", "log")
    with pytest.raises(UserError, match="no loss of the kind image has 'skeleton'"):
        CliRunner().invoke(app, ["losses", "list", "skeleton", "--kind", "image"], catch_exceptions=False)


def test_list_is_whole_where_no_terminal_cuts_it():
    assert " ...\n" not in run("list")
    cut = list(listed(width=60))
    assert max(map(len, cut[:-1])) <= 62 and cut[-1].startswith("whole texts: ")
    assert not any(line.startswith("whole texts") for line in listed())


def test_an_unknown_name_that_is_a_word_of_some_text_is_told_how_to_search():
    with pytest.raises(UserError, match=r"'vessel'; see medloss losses list vessel$"):
        loss_named("vessel")
    with pytest.raises(UserError, match=r"see medloss losses list$"):
        loss_named("qqqqq")


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(UserError, match="did you mean dice"):
        loss_named("dise")
    with pytest.raises(UserError, match="label, image, field, points"):
        CliRunner().invoke(app, ["losses", "list", "--kind", "x"], catch_exceptions=False)


@pytest.mark.parametrize("name", ["dice_ce", "lovasz_hinge", "ssim", "jacobian", "landmark"])
def test_a_picture_of_each_kind(tmp_path, name):
    draw(EVERY[name], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_choose_answers_with_yaml():
    output = run("choose", "task=segment", "metric=surface")
    assert "start from dice_ce" in output and "boundary: {softmax: true" in output
    assert "labels=partial" in run("choose", "--questions")


def test_choose_asks_on_a_terminal(monkeypatch):
    typed = iter(["2", "9", "modality", "1", "invertible"])
    monkeypatch.setattr(ask.typer, "prompt", lambda *_, **__: next(typed))
    monkeypatch.setattr(ask, "sys", type("System", (), {"stdin": type("Input", (), {"isatty": lambda: True})}))
    assert ask.ask({}) == {"task": "register", "images": "modality", "guidance": "none", "field": "invertible"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_takes_the_phantom_and_gives_a_gradient(name):
    cls = getattr(medloss, name)
    tensors = [tensor.detach() for tensor in scene(cls, (16, 16, 16)).tensors]
    found = measure.contestants(next(key for key, each in EVERY.items() if each is cls))
    assert set(found) - {"medloss"} <= set(PEERS[name])
    for loss in found.values():
        assert measure.step(loss, tensors).shape == tensors[0].shape


def test_time_tells_ours_and_theirs_and_why_there_is_no_memory(monkeypatch):
    monkeypatch.setattr(measure, "peaks", lambda name, size: measure.Peaks({"medloss": 1.25}, {"torch": "killed"}))
    output = run("time", "mse", "--size", "24")
    assert "1.25" in output and "a batch of 1, 1 channel, 24^3 voxels" in output
    assert "no memory of torch: killed" in output


def test_sizes_in_words():
    assert sizes_of("dice_ce", 24) == "a batch of 1, 3 classes, 24^3 voxels"
    assert sizes_of("gradicon", 24) == "a batch of 1, 3 components, 24^3 voxels"
    assert sizes_of("landmark", 24) == "a batch of 1, 12 points"


def test_a_peak_that_cannot_be_measured_has_its_reason(monkeypatch, tmp_path):
    class Done:
        returncode, stdout, stderr = 1, "", "Traceback\nPermissionError: clear_refs\n"

    monkeypatch.setattr(measure, "CLEAR", tmp_path)
    monkeypatch.setattr(measure.subprocess, "run", lambda *_, **__: Done)
    assert measure.peaks("l1", 24).faults["medloss"] == "PermissionError: clear_refs"
    monkeypatch.setattr(measure, "CLEAR", tmp_path / "none")
    assert "does not tell a process its peak" in measure.peaks("l1", 24).faults[""]


def test_the_phantom_is_made_for_what_a_loss_sees():
    assert [kind_of(EVERY[name]) for name in ("dice", "mse", "gradicon")] == [
        "label",
        "image",
        "field",
    ]
    assert made(medloss.DiceLoss).softmax and made(medloss.DiceLoss, softmax=False, sigmoid=True).sigmoid
    target = scene(medloss.DiceLoss, (48, 48)).tensors[1]
    assert set(torch.unique(target).tolist()) == {0, 1, 2}
