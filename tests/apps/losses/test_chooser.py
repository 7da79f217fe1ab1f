"""The chooser names the right loss for tasks that were described before it was written, and whatever it names runs."""

from __future__ import annotations

import itertools

import pytest
import torch

import medloss
from medloss.apps.common.errors import UserError
from medloss.apps.losses.choice import choose, usage, yaml_of
from medloss.apps.losses.chooser import ADVICE, QUESTIONS, TASKS
from medloss.config import build_loss, loss_names

# a task as a reader would tell it -> the answers to the questions -> the losses that the literature names for it
DESCRIBED = [
    (
        "Fourteen abdominal organs in CT. Every organ is drawn in every scan, and the mean Dice decides.",
        {"task": "segment", "labels": "complete", "foreground": "large", "structure": "solid", "metric": "overlap"},
        ["dice_ce"],
    ),
    (
        "Multiple sclerosis lesions in brain MRI: a thousandth of the voxels, and each missed lesion counts.",
        {
            "task": "segment",
            "labels": "complete",
            "foreground": "small",
            "structure": "instances",
            "metric": "detection",
        },
        ["dice_focal", "cc_dice"],
    ),
    (
        "Coronary arteries in CT angiography: a vessel must not be cut in two.",
        {"task": "segment", "labels": "complete", "foreground": "small", "structure": "tubes", "metric": "topology"},
        ["dice_focal", "skeleton_recall"],
    ),
    (
        "The prostate in MRI for radiotherapy. The 95th percentile of the Hausdorff distance in mm decides.",
        {"task": "segment", "labels": "complete", "foreground": "large", "structure": "solid", "metric": "surface"},
        ["dice_ce", "boundary"],
    ),
    (
        "Four public data sets in one training: one labels the liver alone, one the kidneys, and so on.",
        {"task": "segment", "labels": "partial", "foreground": "large", "structure": "solid", "metric": "overlap"},
        ["marginal_dice_ce", "exclusion"],
    ),
    (
        "Light microscopy volumes in which every tenth slice is labelled.",
        {"task": "segment", "labels": "sparse", "foreground": "large", "structure": "solid", "metric": "overlap"},
        ["dice_ce"],
    ),
    (
        "The masks of three readers, averaged: a voxel belongs to the tumour by 0, 1/3, 2/3 or 1.",
        {"task": "segment", "labels": "soft", "foreground": "large", "structure": "solid", "metric": "overlap"},
        ["dice_ce"],
    ),
    (
        "Lung infections in CT, drawn in a hurry by many hands; some masks are wrong.",
        {"task": "segment", "labels": "noisy", "foreground": "large", "structure": "solid", "metric": "overlap"},
        ["generalized_cross_entropy", "noise_robust_dice"],
    ),
    (
        "MRI of the head onto CT of the same person, without labels. The field must not fold.",
        {"task": "register", "images": "modality", "guidance": "none", "field": "invertible"},
        ["global_mutual_information", "diffusion", "jacobian"],
    ),
    (
        "T1 images of two brains, with label maps of the structures that shall lie on each other.",
        {"task": "register", "images": "same", "guidance": "labels", "field": "smooth"},
        ["lncc", "dice", "diffusion"],
    ),
    (
        "A map of tumour probabilities that a doctor reads as a number: 0.7 must mean seven of ten.",
        {"task": "segment", "labels": "complete", "foreground": "large", "structure": "solid", "metric": "calibration"},
        ["dice_ce", "ace"],
    ),
    (
        "Low-dose CT to full-dose CT: the picture must look like the full-dose one.",
        {"task": "restore", "metric": "ssim"},
        ["l1", "ssim"],
    ),
    (
        "Lung nodules in CT: the outlines are good, but the readers drew the large nodules and not all small ones.",
        {"task": "segment", "labels": "missing", "foreground": "small", "structure": "instances"},
        ["tversky_ce"],
    ),
]
SETTINGS = {  # what decides beside the names, by the number of the task above
    4: {"marginal_dice_ce": {"softmax": True}},
    5: {"dice_ce": {"ignore_index": 255}},
    6: {"dice_ce": {"soft_label": True}},
    9: {"lncc": {"border": "renormalise"}},
    12: {"tversky_ce": {"alpha": 0.3, "beta": 0.7, "batch": True}},
}


@pytest.mark.parametrize("number", range(len(DESCRIBED)), ids=[told[:30] for told, _, _ in DESCRIBED])
def test_a_described_task_gets_its_loss(number):
    _, answers, wanted = DESCRIBED[number]
    found = choose(answers)
    assert [term.name for term in found.terms] == wanted
    for name, settings in SETTINGS.get(number, {}).items():
        options = next(term.options for term in found.terms if term.name == name)
        assert settings.items() <= options.items()
    assert all(term.why for term in found.terms)


def every_answer():
    """Every combination of answers that the questions allow."""
    for task in TASKS:
        asked = [question for question in QUESTIONS if question.task == task]
        for answers in itertools.product(*(question.answers for question in asked)):
            yield {"task": task, **dict(zip((question.name for question in asked), answers))}


EVERY = list(every_answer())
KIND = {"segment": "label", "restore": "image", "points": None}


def tensors(task: str, soft: bool) -> list[torch.Tensor]:
    """What the losses of a task take: two samples of three classes, or two images."""
    torch.manual_seed(0)
    if task == "restore":
        return [torch.rand(2, 1, 16, 16, requires_grad=True), torch.rand(2, 1, 16, 16)]
    labels = torch.randint(0, 3, (2, 1, 16, 16))
    return [
        torch.randn(2, 3, 16, 16, requires_grad=True),
        torch.rand(2, 3, 16, 16).softmax(1) if soft else labels,
    ]


@pytest.mark.parametrize("task", [task for task in TASKS if task in KIND])
def test_every_choice_builds_and_has_a_finite_gradient(task):
    seen = set()
    for answers in (each for each in EVERY if each["task"] == task):
        found = choose(answers)
        mapping = found.mapping()
        if repr(mapping) in seen:
            continue
        seen.add(repr(mapping))
        loss = build_loss(mapping, kind=KIND[task])
        plain = [next(iter(question.answers)) for question in QUESTIONS if question.task == task]
        if task == "points" or sum(answer not in plain for answer in list(answers.values())[1:]) > 1:
            continue  # all are built, and of those with one answer that is not the first the gradient is looked at
        inputs = tensors(task, answers.get("labels") == "soft")
        loss(*inputs).backward()
        assert inputs[0].grad.isfinite().all(), answers
    assert len(seen) > 1


def test_every_choice_for_a_registration_is_a_configuration_of_the_application():
    from medloss.apps.registration.config import PairConfig

    for answers in (each for each in EVERY if each["task"] == "register"):
        groups = choose(answers).mapping()
        PairConfig(loss={group: terms for group, terms in groups.items() if group != "points"})


def test_every_answer_changes_something():
    """An answer that never matters would be a question asked for nothing."""
    neutral = {"complete", "large", "few", "solid", "overlap", "none", "smooth"}
    for question in QUESTIONS:
        for answer in set(question.answers) - neutral:
            others = [each for each in EVERY if each["task"] == question.task and each[question.name] == answer]
            plain = next(iter(question.answers))
            if answer == plain:
                continue
            assert any(choose(each) != choose({**each, question.name: plain}) for each in others), answer


def test_every_name_in_the_table_is_a_loss():
    known = loss_names()
    for row in ADVICE:
        for name in [row.loss, *row.others]:
            assert not name or name in known, name


def test_yaml_reads_back_as_the_mapping():
    yaml = pytest.importorskip("yaml")
    found = choose(DESCRIBED[3][1])
    assert yaml.safe_load(yaml_of(found)) == {"loss": found.mapping()}


@pytest.mark.parametrize(
    "answers, message",
    [
        ({"task": "segmnt"}, "did you mean segment"),
        ({"task": "segment", "labels": "complte"}, "did you mean complete"),
        ({"task": "restore", "labels": "soft"}, "no question of the task restore"),
        ({}, "task"),
    ],
)
def test_a_wrong_answer_is_told(answers, message):
    with pytest.raises(UserError, match=message):
        choose(answers)


def test_what_is_not_answered_has_the_first_answer():
    assert choose({"task": "segment"}) == choose(DESCRIBED[0][1])
    assert medloss.DiceCELoss(**choose({"task": "segment"}).terms[0].options)


def test_an_answer_without_effect_is_told():
    notes = choose({"task": "segment", "labels": "partial", "foreground": "small", "metric": "recall"}).notes
    assert "foreground=small changes nothing here: other answers come first." in " ".join(notes)
    assert "the start would be tversky_ce" in " ".join(notes)
    plain = {"task": "segment", "labels": "complete", "foreground": "small", "metric": "detection"}
    assert "changes nothing" not in " ".join(choose(plain).notes)


def test_every_answer_has_an_effect_or_a_sentence():
    """Beside any other answers: it changes the terms, or a note names it."""
    for answers in EVERY:
        found = choose(answers)
        for question in [each for each in QUESTIONS if each.task == answers["task"]]:
            answer, plain = answers[question.name], next(iter(question.answers))
            assert answer == plain or choose({**answers, question.name: plain}) != found, answers


def test_several_answers_of_one_question():
    """Small lesions that many patches lack: the focal term of the one answer, the batch of the other."""
    (term,) = choose({"task": "segment", "foreground": "small,absent"}).terms
    assert term.name == "dice_focal" and term.options["batch"]


def test_the_lines_of_python_run_and_the_command_is_a_configuration():
    from medloss.apps.common.config import load_config
    from medloss.apps.registration.config import PairConfig
    from medloss.apps.segmentation.config import Config

    for answers in ({"task": "segment", "structure": "tubes"}, {"task": "restore"}, {"task": "register"}):
        *first, line = usage(choose(answers))
        exec(f"from medloss.config import build_loss\n{line.strip()}")
        for command in first[:-2]:
            override = command.split("'")[1]
            kind = Config if answers["task"] == "segment" else PairConfig
            assert load_config(kind, [], ["data.root=.", override] if kind is Config else [override]).loss
