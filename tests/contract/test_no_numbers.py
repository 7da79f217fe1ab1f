"""Point 6: what is no number shows in the value, and a finite value has a finite gradient, by every path."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from cases import LossCase, cases, full_mask
from row import ONE_IMAGE
from torch import Tensor
from turns import combined, numbered

import medloss

POISONS = [float("nan"), float("inf"), float("-inf")]


def with_memberships(case: LossCase) -> LossCase:
    """The case with a target of memberships, which are floating."""
    return case.with_options(to_onehot_y=False) if case.indexed else case


def tensors_of(case: LossCase) -> tuple[dict[str, Tensor], int]:
    """The arguments by name, maps that a loss may be given beside them included, and how many of them it must have."""
    parameters = inspect.signature(case.make().forward).parameters
    tensors = case.inputs(max(2, case.row.least))
    found = dict(zip(parameters, tensors))
    beside = {name: torch.rand_like(tensors[0]) for name in ("distance_map", "skeleton") if name in parameters}
    return found | beside, len(tensors)


def poisoned(tensor: Tensor, poison: float, everywhere: bool, channel: int) -> Tensor:
    """A copy that holds a poison in every entry, or in one of the first sample and of a channel."""
    tensor = tensor.clone()
    place = (0, min(channel, tensor.shape[1] - 1), *(size // 2 for size in tensor.shape[2:]))
    return (
        tensor.fill_(poison) if everywhere else tensor.index_put_(tuple(map(torch.tensor, place)), torch.tensor(poison))
    )


def floating() -> list[Any]:
    """Every case with its number and each floating tensor that it looks at, a target of labels as memberships."""
    found = []
    for case, number in numbered(cases(cell="no number")):
        for each in dict.fromkeys([case, with_memberships(case)]) if case.kind == "label" else [case]:
            names = [name for name, tensor in tensors_of(each)[0].items() if tensor.is_floating_point()]
            if case.row.without.get("target gradient") == ONE_IMAGE:
                names.remove("target")
            found += [
                pytest.param(each, number, name, id=f"{each}-{name}")
                for name in names
                if each is case or name == "target"
            ]
    return found


def situations(number: int) -> Iterator[tuple[float, bool, tuple[bool, str | None]]]:
    """What is put into a tensor, whether everywhere, and whether under a mask and by which backend.

    All of it for number 0. For any other NaN, which must show, in two situations, and each infinity in one.
    """
    for poisons in (POISONS[:1], POISONS[1:]):
        yield from combined(number, poisons, (False, True), ((False, None), (True, "reference")))


@pytest.mark.parametrize("case,number,name", floating())
def test_no_number_hides(case: LossCase, number: int, name: str) -> None:
    channel = case.options.get("labelled", [1])[0]  # others are not looked at
    for poison, everywhere, (masked, backend) in situations(number):
        tensors, needed = tensors_of(case)  # what is given beside stands for something, which is not looked at
        tensors = {key: each for at, (key, each) in enumerate(tensors.items()) if at < needed or key == name}
        tensors[name] = poisoned(tensors[name], poison, everywhere, channel)
        first = next(iter(tensors.values())).requires_grad_()
        mask = {"mask": full_mask(case, first)} if masked else {}
        with medloss.backend(backend):
            value = case.make()(**tensors, **mask)
            (gradient,) = torch.autograd.grad(value, first)
        told = f"{poison} {'everywhere' if everywhere else 'in one entry'} of {name}: {value.item()}"
        assert poison == poison or not value.isfinite(), told
        assert not value.isfinite() or gradient.isfinite().all(), told


@pytest.mark.parametrize("backend", [None, "reference"])
@pytest.mark.parametrize("case", cases(cell="no number"), ids=str)
def test_a_mask_that_is_no_number_shows(case: LossCase, backend: str | None) -> None:
    tensors, needed = tensors_of(case)
    given = list(tensors.values())[:needed]
    for poison in POISONS:
        mask = full_mask(case, given[0]).float()
        mask.view(-1)[-1] = poison
        with medloss.backend(backend):
            assert not case.make()(*given, mask=mask).isfinite()


def test_a_landmark_without_coordinates_is_no_hit() -> None:
    """Distances 3, 4 and unknown: unknown, and under a mask their mean."""
    points, found = torch.tensor([[[3.0], [4.0], [torch.nan]]]), torch.zeros(1, 3, 1)
    assert medloss.LandmarkLoss()(points, found).isnan()
    assert medloss.LandmarkLoss()(points, found, mask=torch.tensor([[1, 1, 0]])) == 3.5
    assert medloss.ChamferLoss()(points, found).isnan()


def test_a_mask_that_is_no_number_raises_on_request() -> None:
    """It is neither a weight nor none; unasked, most losses show it."""
    mask, image = torch.tensor([[[1.0, torch.nan, 0.0]]]), torch.rand(1, 1, 3)
    assert medloss.MSELoss()(image, image, mask).isnan()
    with medloss.check_values():
        for loss, tensors, given in (
            (medloss.MSELoss(), (image, image), mask),
            (medloss.LandmarkLoss(), (image.mT, image.mT), mask[0]),
        ):
            with pytest.raises(ValueError, match="mask holds negative weights, or NaN"):
                loss(*tensors, mask=given)
