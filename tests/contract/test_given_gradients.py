"""Point 11: a gradient of a target, a mask or class weights that is asked for is right, or an error tells of none."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from cases import LossCase, cases, full_mask

NONE = r"requires a gradient, and the loss gives it none: pass \w+\.detach\(\)"


def asked() -> list[Any]:
    """Every case, with the numbers of its floating arguments beside the first, and the mask as the last."""
    found = []
    for case in cases(cell="given gradients"):
        case = case.with_options(to_onehot_y=False) if case.indexed else case
        approximate = case.kind == "image" and {"target gradient", "gradient"} & set(case.row.without)
        others = [] if approximate else range(1, count_of(case))
        found += [pytest.param(case, at, id=f"{case}-{at}") for at in (*others, count_of(case))]
    return found


def count_of(case: LossCase) -> int:
    return len(case.inputs_of((3, 3, 3)))


@pytest.mark.parametrize("case,at", asked())
def test_it_is_right_or_an_error(case: LossCase, at: int) -> None:
    shape = {1: (9,), 2: (5, 6), 3: (4, 5, 5)}[max(2, case.row.least)]
    tensors = case.inputs_of(shape, 1, torch.float64)
    if case.kind == "label":
        tensors[1] = 0.1 + 0.8 * torch.rand_like(tensors[0])
    mask = torch.rand_like(full_mask(case, tensors[0]), dtype=torch.float64) + 0.1
    for arguments in ([*tensors, mask], tensors)[: 1 if at == len(tensors) else 2]:

        def function(wanted: torch.Tensor, arguments: list[torch.Tensor] = arguments) -> torch.Tensor:
            given = [*arguments[:at], wanted, *arguments[at + 1 :]]
            options = {"mask": given[len(tensors)]} if len(given) > len(tensors) else {}
            return case.make()(*given[: len(tensors)], **options)

        wanted = arguments[at].clone().requires_grad_()
        try:
            value = function(wanted)
        except ValueError as fault:
            assert re.search(NONE, str(fault)), fault
            with torch.no_grad():
                function(wanted)
            continue
        assert value.requires_grad, "it is silently absent"
        assert torch.autograd.gradcheck(function, wanted, fast_mode=True)


@pytest.mark.parametrize("case", cases("label", cell="option forms"), ids=str)
def test_class_weights_have_no_gradient_and_say_so(case: LossCase) -> None:
    """A Parameter is a tensor like others, as long as nobody wants its gradient."""
    logits, target = case.inputs(2)
    classes = logits.shape[1]
    for name in ("weight", "pos_weight", "alpha"):
        if not case.accepts(name) or (
            name == "alpha" and not isinstance(case.options.get("alpha"), (list, type(None)))
        ):
            continue
        numbers = [1.0, 0.25, 0.5][:classes]
        try:
            expected = case.make(**{name: numbers})(logits, target)
        except (TypeError, ValueError):
            continue  # another meaning of alpha
        frozen = torch.nn.Parameter(torch.tensor(numbers), requires_grad=False)
        loss = case.make(**{name: frozen})
        torch.testing.assert_close(loss(logits, target), expected, rtol=0, atol=0)
        assert not list(loss.parameters())
        for asking in (torch.nn.Parameter(torch.tensor(numbers)), torch.tensor(numbers, requires_grad=True)):
            with pytest.raises(ValueError, match=name + " " + NONE):
                case.make(**{name: asking})
