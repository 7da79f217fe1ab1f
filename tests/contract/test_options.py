"""Point 10: options. One that is set later counts or raises; to other libraries a loss is no container."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from cases import LossCase, cases, is_first
from tried import CHOICES, TRIED, alike, made, outcome, same
from turns import representatives

import medloss
from medloss.options import changed, options
from medloss.registry import losses

FIRST = [case for case in cases(cell="options") if is_first(case)]


REPRESENTATIVES = {case.name for case in representatives(FIRST)}


def tried(case: LossCase, name: str, default: Any) -> tuple[Any, ...]:
    """The values for an option: a third of them, by turns, where the loss has the option of its base alone.

    One loss of those that prepare their tensors by the same functions is given them all.
    """
    values = (*TRIED, *(CHOICES if isinstance(default, str) else ()))
    own = name in inspect.get_annotations(getattr(medloss, case.name))
    return values if own or case.name in REPRESENTATIVES else values[FIRST.index(case) % 3 :: 3]


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_an_option_that_is_set_later_counts_or_raises(case: LossCase) -> None:
    """Every option of every loss, with values that its constructor takes and others: as if it had been given them.

    Losses that hold the same give the same: beside the first value of an option, only others are asked what they give.
    """
    tensors, plain, twin = case.inputs(2), case.make(), case.make()
    before, counted = outcome(plain, tensors), 0
    for name in options(plain):
        if name == "process_group":
            continue
        first = True
        for value in tried(case, name, getattr(plain, name)):
            expected, fault = made(lambda: case.make(**{name: value}))  # noqa: B023
            loss = copy.copy(twin)
            _, raised = made(lambda: setattr(loss, name, value))  # noqa: B023
            if fault is None:
                assert raised is None, f"{name}={value!r}: {raised}"
                assert repr(loss) == repr(expected)
                if first or not alike(loss, expected):
                    assert same(outcome(loss, tensors), outcome(expected, tensors)), f"{name}={value!r} is ignored"
                first = False
                counted += 1
            else:
                assert same(raised, fault), f"{name}={value!r}: raised {raised!r}, and the constructor {fault!r}"
                assert repr(loss) == repr(plain)
                assert alike(loss, twin) or same(outcome(loss, tensors), before)
    assert counted
    assert same(outcome(twin, tensors), before)  # no copy has changed what it was copied from


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_what_is_set_stays_in_copies_and_is_kept_from_change(case: LossCase) -> None:
    tensors, loss = case.inputs(2), case.make()
    loss.reduction = "sum"
    for twin in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), changed(loss)):
        assert repr(twin) == repr(loss)
        assert same(outcome(twin, tensors), outcome(loss, tensors))
        twin.reduction = "mean"
        assert repr(twin) == repr(case.make())
        assert loss.reduction == "sum"
    with pytest.raises(AttributeError, match="has no option 'reductoin'; did you mean reduction"):
        loss.reductoin = "mean"
    with pytest.raises(AttributeError, match="is an option of"):
        del loss.reduction


@pytest.mark.parametrize("case", cases(cell="options", when=lambda case: case.accepts("weight")), ids=str)
def test_class_weights_of_any_kind_and_at_any_time(case: LossCase) -> None:
    """Lists, arrays and tensors are one thing, and nobody changes them behind the loss's back."""
    tensors, numbers = case.inputs(2), [1.0, 2.0, 0.5]
    expected = outcome(case.make(weight=numbers), tensors)
    kinds = (tuple(numbers), np.array(numbers), torch.tensor(numbers), torch.nn.Parameter(torch.tensor(numbers), False))
    for weight in kinds:
        loss = case.make()
        loss.weight = weight
        assert same(outcome(loss, tensors), expected)
        assert loss.weight == tuple(numbers)
    with pytest.raises(TypeError):
        loss.weight[0] = 5.0
    with pytest.raises(ValueError, match="weight requires a gradient, and the loss gives it none"):
        loss.weight = torch.tensor(numbers, requires_grad=True)


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_a_misspelt_option_is_told(case: LossCase) -> None:
    with pytest.raises(TypeError, match="has no option 'reducton'; did you mean reduction"):
        case.make(reducton="mean")


def as_a_container(thing: Any) -> Any:
    """What libraries that move batches do (Lightning's ``apply_to_collection``): rebuild whatever is a container."""
    if isinstance(thing, Mapping):
        return type(thing)({key: as_a_container(value) for key, value in thing.items()})
    if isinstance(thing, (list, tuple)):
        return type(thing)(as_a_container(value) for value in thing)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        copied = copy.copy(thing)
        for field in dataclasses.fields(thing):
            setattr(copied, field.name, as_a_container(getattr(thing, field.name)))
        return copied
    return thing


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_a_loss_is_no_dataclass(case: LossCase) -> None:
    loss = case.make()
    assert not dataclasses.is_dataclass(loss)
    assert not dataclasses.is_dataclass(type(loss))
    held = as_a_container({"criterion": loss, "list": [loss], "tuple": (loss,)})
    assert all(one is loss for one in (held["criterion"], held["list"][0], held["tuple"][0]))


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_a_configuration_holds_a_loss_as_it_is(case: LossCase) -> None:
    """OmegaConf, and so Hydra, takes a dataclass for a configuration of its own."""
    omegaconf = pytest.importorskip("omegaconf")
    loss = case.make()
    configuration = omegaconf.OmegaConf.create({"loss": loss, "some": [loss]}, flags={"allow_objects": True})
    assert configuration.loss is loss
    assert configuration.some[0] is loss
    assert omegaconf.OmegaConf.to_container(configuration)["loss"] is loss
    with pytest.raises(omegaconf.errors.UnsupportedValueType):
        omegaconf.OmegaConf.create({"loss": type(loss)})


def test_wrappers_are_no_dataclasses_either() -> None:
    dice = medloss.DiceLoss(softmax=True, to_onehot_y=True)
    for wrapper in (
        medloss.WeightedSum({"dice": dice}),
        medloss.MaskedLoss(dice),
        medloss.MultiScaleLoss(dice),
        medloss.DeepSupervisionLoss(dice),
        medloss.BlobLoss(dice),
        medloss.ConnectedComponentLoss(dice),
    ):
        assert not dataclasses.is_dataclass(wrapper)
        assert as_a_container([wrapper])[0] is wrapper


def test_a_class_that_is_a_dataclass_says_so() -> None:
    @dataclasses.dataclass(eq=False, kw_only=True)
    class Mine(medloss.LabelLoss):
        factor: float = 1.0

    with pytest.raises(TypeError, match="Mine is a dataclass, and a loss is none: leave out @dataclass"):
        Mine()


def test_an_activation_that_is_a_module_is_used() -> None:
    """The default on the class would hide a child of the same name."""
    logits, target = torch.randn(2, 3, 5), torch.rand(2, 3, 5)
    found = medloss.DiceLoss(other_act=torch.nn.Softmax(1))(logits, target)
    torch.testing.assert_close(found, medloss.DiceLoss(softmax=True)(logits, target))


def test_every_loss_is_held_to_its_options() -> None:
    assert {case.name for case in FIRST} == {cls.__name__ for cls in losses().values()}
