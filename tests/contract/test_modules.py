"""Points 10 to 13: state, gradients, memory, and errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from cases import CLASSES, SAVED, TABLE, LossCase, cases, full_mask, is_first, value_and_gradient
from turns import ranked, representatives

import medloss
from medloss.registry import losses


def test_every_exported_loss_has_a_case() -> None:
    exported = {cls.__name__ for cls in losses().values()}
    assert {case.name for case in cases()} == exported
    assert set(TABLE) <= exported, "a row for a loss that is not exported"


@pytest.mark.parametrize("case", cases(cell="state"), ids=str)
def test_a_loss_has_no_state(case: LossCase) -> None:
    loss = case.make()
    tensors = case.inputs()
    before = {name: value for name, value in vars(loss).items() if not name.startswith("_")}
    value = loss(*tensors)
    assert not loss.state_dict()
    assert {name: value for name, value in vars(loss).items() if not name.startswith("_")} == before
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), case.make().double().float()):
        assert torch.equal(twin(*tensors), value)
    options = ", ".join(repr(loss).split("(", 1)[1].split(", ")[:1])
    assert repr(loss).startswith(type(loss).__name__)
    assert options.startswith("reduction=")


def differentiated() -> list[Any]:
    """Cases, ranks (3 where there is no less) and masks: several for a loss's first options, one for others."""
    found = []
    for param in ranked(cell="gradient"):
        case, rank = param.values
        for masked in (False, True):
            least = max(2, case.row.least)
            everywhere = is_first(case) and rank <= least and (masked or rank == least)
            if everywhere or (rank == least and masked):
                found.append(pytest.param(case, rank, masked, id=f"{param.id}{'-masked' if masked else ''}"))
    return found


ENTRY_BY_ENTRY = [(case, max(2, case.row.least), True) for case in representatives(cases(cell="gradient"))]


@pytest.mark.parametrize("case,rank,masked", differentiated())
def test_gradients(case: LossCase, rank: int, masked: bool) -> None:
    """First and second derivatives in float64; a second one is a number or a clear error, never a wrong number."""
    shape = {1: (9,), 2: (5, 6), 3: (4, 5, 5)}[rank]
    tensors = case.inputs_of(shape, 1, torch.float64)
    mask = torch.rand_like(full_mask(case, tensors[0]), dtype=torch.float64) + 0.1 if masked else None
    loss = case.make()

    def function(first: torch.Tensor) -> torch.Tensor:
        return loss(first, *tensors[1:], mask=mask)

    first = tensors[0].clone().requires_grad_()
    # entry by entry once for each preparation; in a random direction for all else, where one entry is a small part
    fast = (case, rank, masked) not in ENTRY_BY_ENTRY
    torch.autograd.gradcheck(function, first, fast_mode=fast, atol=1e-7 if fast else 1e-5)
    if masked and "second derivative" not in case.row.without:  # the harder half
        torch.autograd.gradgradcheck(function, first, fast_mode=True)  # in random directions: autograd made it


@pytest.mark.parametrize("case", cases(cell="functional"), ids=str)
def test_functional_transforms_and_forward_mode_agree(case: LossCase) -> None:
    tensors, loss = case.inputs(2), case.make()
    _, gradient = value_and_gradient(loss, tensors)
    torch.testing.assert_close(torch.func.grad(lambda first: loss(first, *tensors[1:]))(tensors[0]), gradient)
    direction = torch.randn_like(tensors[0])
    _, slope = torch.func.jvp(lambda first: loss(first, *tensors[1:]), (tensors[0],), (direction,))
    torch.testing.assert_close(slope, (direction * gradient).sum(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", cases("image", cell="target gradient"), ids=str)
def test_the_target_of_an_image_loss_has_a_gradient(case: LossCase) -> None:
    """A gradient that is asked for is never silently absent."""
    one, two = case.inputs(2)
    two = two.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(case.make()(one, two), two)
    _, expected = value_and_gradient(case.make(), [two.detach(), one])
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("case", cases(cell="deterministic"), ids=str)
def test_results_repeat_under_deterministic_algorithms(case: LossCase) -> None:
    tensors = case.inputs()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (value_and_gradient(case.make(), tensors) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("backend", [None, "reference"])
@pytest.mark.parametrize("case", cases(cell="memory"), ids=str)
def test_backward_keeps_the_inputs_and_no_more(case: LossCase, backend: str | None) -> None:
    tensors = case.inputs()
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() > 1000:  # the sums of regions are no voxels
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    first = tensors[0].clone().requires_grad_()
    with medloss.backend(backend), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        case.make()(first, *tensors[1:])
    ratio = sum(kept.values()) / (first.numel() * first.element_size())
    dense = case.kind == "label" and not case.indexed
    allowed = case.row.saved or (2.1 if dense else SAVED[case.kind] + 0.1)
    assert ratio <= allowed, f"{ratio:.2f} times the input is kept"


LABEL_CASES = cases("label", cell="errors", when=lambda case: case.indexed)


@pytest.mark.parametrize("case", cases("label", cell="errors"), ids=str)
def test_errors_name_the_fix(case: LossCase) -> None:
    logits, _ = case.inputs()
    loss = case.make()
    with pytest.raises(TypeError, match=r"input is torch.int64 and must be floating.*\.float\(\)"):
        loss(logits.long(), logits)
    with pytest.raises(TypeError, match=r"target is ndarray and must be a torch\.Tensor"):
        loss(logits, logits.numpy())
    with pytest.raises(medloss.ShapeError, match=r"target has shape 2x1x3x3x3 and input 2x3x9x8x10"):
        loss(logits, torch.zeros(2, 1, 3, 3, 3))
    target = torch.zeros(2, 1 if case.indexed else CLASSES, 9, 8, 10)
    with pytest.raises(medloss.ShapeError, match="mask has shape 2x1x3x3: expected 2x1x9x8x10"):
        loss(logits, target, mask=torch.ones(2, 1, 3, 3))
    assert issubclass(medloss.ShapeError, ValueError)
    assert issubclass(medloss.ShapeError, AssertionError)


def test_the_message_of_a_missing_to_onehot_y() -> None:
    message = r"target has 1 channels and input 4: pass to_onehot_y=True for index maps \(B1\[spatial\]\)"
    with pytest.raises(medloss.ShapeError, match=message):
        medloss.DiceLoss(softmax=True)(torch.zeros(1, 4, 5), torch.zeros(1, 1, 5))


@pytest.mark.parametrize("case", LABEL_CASES, ids=str)
def test_labels_outside_the_classes(case: LossCase) -> None:
    """They raise on request; unasked they belong to no class, and no kernel reads out of bounds."""
    logits, target = case.inputs()
    target[0, 0, 0, 0] = torch.tensor([CLASSES, -1, 250, 10**6, -(10**12), 2**40, 3, 4, 5, 77])
    with medloss.check_values(), pytest.raises(ValueError, match=r"labels outside the 3 classes 0\.\.2: \[-10"):
        case.make()(logits, target)
    with medloss.backend("reference"):
        expected = value_and_gradient(case.make(), [logits, target])
    found = value_and_gradient(case.make(), [logits, target])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("dtype", "ignored", "alike"), [("uint8", -1, 255), ("uint8", 300, 44), ("int8", 255, -1)])
@pytest.mark.parametrize("backend", ["reference", None])
def test_an_ignored_label_that_the_type_cannot_hold(dtype: str, ignored: int, alike: int, backend: str | None) -> None:
    """It is nowhere. torch wraps it, and another label would be ignored in its place."""
    labels = torch.tensor([[[0, 1, alike]]]).to(getattr(torch, dtype))
    plain = {"softmax": True, "to_onehot_y": True}
    logits = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.5]]])
    with medloss.backend(backend):
        found = medloss.DiceLoss(**plain, ignore_index=ignored)(logits, labels)
        torch.testing.assert_close(found, medloss.DiceLoss(**plain)(logits, labels))


def test_logits_without_an_activation() -> None:
    """They raise on request, but not where nobody looks."""
    logits, target, mask = torch.tensor([[[0.5, 3.0, -2.0]]]), torch.ones(1, 1, 3), torch.tensor([[[1, 0, 0]]])
    with medloss.check_values():
        with pytest.raises(ValueError, match=r"from -2 to 3, and no activation is chosen: pass softmax=True"):
            medloss.DiceLoss()(logits, target)
        assert medloss.DiceLoss()(logits, target, mask) < 1
        assert medloss.DiceLoss(sigmoid=True)(logits, target) < 1


@pytest.mark.parametrize("case", cases(cell="errors"), ids=str)
def test_options_are_keywords_and_checked(case: LossCase) -> None:
    cls = getattr(medloss, case.name)
    with pytest.raises(TypeError, match="positional"):
        cls(True)
    with pytest.raises(TypeError, match="smoth"):
        case.make(smoth=1)
    with pytest.raises(ValueError, match="reduction='avg' is unknown: choose one of"):
        case.make(reduction="avg")


@pytest.mark.parametrize("case", cases("image", "field", cell="errors"), ids=str)
def test_errors_of_image_and_field_losses(case: LossCase) -> None:
    tensors = case.inputs()
    with pytest.raises(medloss.ShapeError, match="mask has shape"):
        case.make()(*tensors, mask=torch.ones(2, 1, 3, 3, 3))
    if case.kind == "image":
        with pytest.raises(medloss.ShapeError, match="they must be equal"):
            case.make()(tensors[0], tensors[1][:, :1])
    else:
        with pytest.raises(medloss.ShapeError, match="expected 3 components for 3 spatial axes"):
            case.make()(tensors[0][:, :2], *tensors[1:])
        with pytest.raises(ValueError, match="spacing must be above 0"):
            case.make()(*tensors, spacing=(1.0, 0.0, 1.0))
