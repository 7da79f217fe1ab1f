"""Point 10: options of losses around losses, their own and those of the loss inside, set at any time."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from tried import CHOICES, TRIED, alike, made, outcome, same

import medloss
from medloss.options import options

DICE = {"softmax": True, "to_onehot_y": True}


def volumes() -> list[Tensor]:
    """Logits and labels of two samples with several regions."""
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, 3, 9, 10, generator=generator), torch.randint(0, 3, (2, 1, 9, 10), generator=generator)]


def levels() -> list[Any]:
    """Outputs at two resolutions, and labels."""
    generator = torch.Generator().manual_seed(4)
    outputs = [torch.randn(2, 3, size, size, generator=generator) for size in (8, 4)]
    return [outputs, torch.randint(0, 3, (2, 1, 8, 8), generator=generator)]


WRAPPERS: dict[str, tuple[Callable[..., nn.Module], Callable[[], list[Any]]]] = {
    "MultiScaleLoss": (lambda loss, **more: medloss.MultiScaleLoss(loss, **{"scales": [0, 1.0], **more}), volumes),
    "DeepSupervisionLoss": (medloss.DeepSupervisionLoss, levels),
    "DeepSupervisionLoss, soft": (
        lambda loss, **more: medloss.DeepSupervisionLoss(loss, **{"resize": "soft", **more}),
        levels,
    ),
    "BlobLoss": (medloss.BlobLoss, volumes),
    "ConnectedComponentLoss": (medloss.ConnectedComponentLoss, volumes),
    "MaskedLoss": (medloss.MaskedLoss, lambda: [*volumes(), torch.ones(2, 1, 9, 10)]),
    "WeightedSum": (lambda loss: medloss.WeightedSum({"one": loss, "two": medloss.JaccardLoss(**DICE)}), volumes),
}


def inner(wrapper: nn.Module) -> medloss.DiceLoss:
    """The loss inside."""
    return wrapper.losses["one"] if isinstance(wrapper, medloss.WeightedSum) else wrapper.loss


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name != "WeightedSum"])
def test_an_option_of_the_wrapper_counts_or_raises(name: str) -> None:
    """Beside the first value of an option, what a wrapper gives is looked at where it holds anything else."""
    make, inputs = WRAPPERS[name]
    tensors, dice = inputs(), medloss.DiceLoss(**DICE)
    plain = make(dice)
    before = outcome(plain, tensors)
    more = ("cauchy", "same", "two", "exp", "max", "soft", "skip_term", "whole", [0.5, 1.0], [1.0])
    for option in options(plain):
        first = True
        for value in (*TRIED, *CHOICES, *more):
            given = {"loss": value} if option == "loss" else {option: value}
            expected, fault = made(lambda: make(**({"loss": dice} | given)))  # noqa: B023
            wrapper = copy.copy(plain)
            _, raised = made(lambda: setattr(wrapper, option, value))  # noqa: B023
            if fault is None:
                assert raised is None, f"{option}={value!r}: {raised}"
                if first or not alike(wrapper, expected):
                    assert same(outcome(wrapper, tensors), outcome(expected, tensors)), f"{option}={value!r} is ignored"
                first = False
            else:
                assert same(raised, fault), f"{option}={value!r}: raised {raised!r}, and the constructor {fault!r}"
                assert alike(wrapper, plain) or same(outcome(wrapper, tensors), before)
    assert same(outcome(plain, tensors), before)  # no copy has changed what it was copied from


@pytest.mark.parametrize("way", ["plain", "pickled", "deep copy"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_an_option_of_the_loss_inside_counts(name: str, way: str) -> None:
    make, inputs = WRAPPERS[name]
    tensors = inputs()
    changes = {"squared_pred": True, "smooth_nr": 0.5, "weight": [1.0, 2.0, 0.5], "include_background": False}
    for option, value in changes.items():
        wrapper = make(medloss.DiceLoss(**DICE))
        outcome(wrapper, tensors)
        if way != "plain":
            wrapper = pickle.loads(pickle.dumps(wrapper)) if way == "pickled" else copy.deepcopy(wrapper)
        setattr(inner(wrapper), option, value)
        expected = outcome(make(medloss.DiceLoss(**DICE, **{option: value})), tensors)
        assert isinstance(expected, Tensor)
        assert same(outcome(wrapper, tensors), expected), option


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_reduction_that_the_wrapper_cannot_take_raises(name: str) -> None:
    make, inputs = WRAPPERS[name]
    wrapper = make(medloss.DiceLoss(**DICE))
    inner(wrapper).reduction = "none"
    if name in ("MaskedLoss", "MultiScaleLoss"):  # they take it
        assert outcome(wrapper, inputs()).shape == (2, 3) if name == "MaskedLoss" else True
    else:
        with pytest.raises(ValueError, match="reduction"):
            wrapper(*inputs())


@pytest.mark.parametrize("name", WRAPPERS)
def test_another_loss_inside_counts(name: str) -> None:
    make, inputs = WRAPPERS[name]
    wrapper, other = make(medloss.DiceLoss(**DICE)), medloss.TverskyLoss(**DICE, alpha=0.3)
    if isinstance(wrapper, medloss.WeightedSum):
        wrapper.losses["one"] = other
    else:
        wrapper.loss = other
    assert same(outcome(wrapper, inputs()), outcome(make(other), inputs()))


@pytest.mark.parametrize("name", ["MultiScaleLoss", "DeepSupervisionLoss", "MaskedLoss", "WeightedSum"])
def test_a_compiled_wrapper_sees_what_is_set(name: str) -> None:
    make, inputs = WRAPPERS[name]
    torch._dynamo.reset()
    wrapper = make(medloss.DiceLoss(**DICE))
    compiled = torch.compile(wrapper, fullgraph=True, backend="eager")
    before = compiled(*inputs())
    inner(wrapper).squared_pred = True
    expected = make(medloss.DiceLoss(**DICE, squared_pred=True))(*inputs())
    assert not torch.equal(before, expected)
    torch.testing.assert_close(compiled(*inputs()), expected)


def test_weights_of_a_sum() -> None:
    one, two = medloss.DiceLoss(**DICE), medloss.JaccardLoss(**DICE)
    loss = medloss.WeightedSum({"one": one, "two": two})
    expected = [one(*volumes()), two(*volumes())]
    loss.weights["two"] = 0
    torch.testing.assert_close(loss(*volumes()), expected[0])
    loss.weights = {"one": 0.5}
    torch.testing.assert_close(loss(*volumes()), 0.5 * expected[0] + expected[1])
    loss.weights["one"] = medloss.Schedule(0.0, 1.0, 2)
    torch.testing.assert_close(loss(*volumes()), expected[1])
    faults: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (ValueError, "weight of two", lambda: loss.weights.update(two=-1)),
        (ValueError, "weights name three", lambda: setattr(loss, "weights", {"three": 1})),
        (KeyError, "three is none of the terms one, two", lambda: loss.weights.update(three=1)),
        (TypeError, "give it a weight of 0", lambda: loss.weights.pop("two")),
        (ValueError, "reduction='none'", lambda: loss.losses.update(two=medloss.DiceLoss(reduction="none"))),
        (KeyError, "three is none of the terms", lambda: loss.losses.update(three=one)),
    ]
    for kind, words, call in faults:
        with pytest.raises(kind, match=words):
            call()
        torch.testing.assert_close(loss(*volumes()), expected[1])


def test_what_was_learnt_or_hung_on_a_loss_stays() -> None:
    """A parameter keeps its value and its identity, which an optimizer holds; hooks and devices stay."""
    loss = medloss.TLoss(**DICE, learn=True)
    parameter = loss.log_nu
    parameter.data.fill_(0.7)
    calls: list[int] = []
    loss.register_forward_hook(lambda *_: calls.append(1))
    loss.double()
    loss.per_voxel = False
    assert loss.log_nu is parameter
    assert loss.log_nu.item() == pytest.approx(0.7)
    assert outcome(loss, volumes()).ndim == 0
    assert calls
    loss.nu = 2.0
    assert loss.log_nu is parameter
    assert loss.log_nu.exp().item() == pytest.approx(2.0)
    loss.learn = False
    assert not list(loss.parameters())
    weighted = medloss.DiceCELoss(**DICE, weight=[1.0, 1.0, 1.0]).to("meta")
    weighted.weight = [1.0, 2.0, 3.0]  # numbers stay numbers on meta, and follow the input at the call
    expected = outcome(medloss.DiceCELoss(**DICE, weight=[1.0, 2.0, 3.0]), volumes())
    torch.testing.assert_close(outcome(weighted, volumes()), expected)
