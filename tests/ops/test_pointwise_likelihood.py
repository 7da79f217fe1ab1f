"""The CPU kernel of ``pointwise`` for penalties of logits, beside the reference: maps, their sums, and gradients."""

from __future__ import annotations

import pytest
import torch
from by_backend import close, runner_of

from medloss.ops import backend, native, pointwise
from medloss.ops.dispatch import listen
from medloss.ops.pointwise import ACTIVATIONS, LIKELIHOODS
from medloss.ops.pointwise.penalties import LOGITS, SMOOTHED

pytestmark = pytest.mark.skipif(bool(native.unavailable()) or native.slow_machine(), reason="no native library")
run = runner_of(pointwise)

PENALTIES = [
    *((name, gamma) for name in ("softmax", "sigmoid") for gamma in (0.0, 1.0, 2.0, 0.5, 3.3)),
    *((f"poly_{name}", gamma) for name in ("softmax", "sigmoid") for gamma in (1.0, -0.5)),
    *((f"power_{name}", gamma) for name in ("softmax", "sigmoid") for gamma in (0.7, 1.0)),
    ("smoothed_sigmoid", 0.0), ("smoothed_sigmoid", 0.2), ("margin", 0.0), ("margin", 1.5), ("reverse_softmax", 4.0),
]  # fmt: skip
VOLUMES = [(2, (1,)), (3, (517,)), (5, (17, 31)), (14, (5, 6, 7)), (1, (40,)), (130, (70,))]
KINDS = ["softmax", "sigmoid", "poly_softmax", "power_sigmoid", "margin", "reverse_softmax"]
GIVEN = [{}, {"joined": True}, {"reduce": True}, {"reduce": True, "joined": True}]
LABELS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64]


def test_every_penalty_of_the_reference_is_tested() -> None:
    assert {name for name, _ in PENALTIES} == {*ACTIVATIONS, *LIKELIHOODS, SMOOTHED, *LOGITS}


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("penalty", "gamma"), PENALTIES)
def test_the_kernel_is_the_reference(penalty: str, gamma: float, dtype: torch.dtype) -> None:
    """Labels beyond the classes, masks and an ignored label, memberships, factors; full and empty classes.

    Half of the volumes for each type, by turns.
    """
    for classes, shape in VOLUMES[(PENALTIES.index((penalty, gamma)) + (dtype == torch.float64)) % 2 :: 2]:
        logits = 4 * torch.randn(2, classes, *shape, dtype=dtype)
        labels = torch.randint(-1, classes + 2, (2, 1, *shape))
        mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
        factors = {"positive": torch.rand(classes), "negative": torch.rand(classes) * (torch.rand(classes) > 0.3)}
        soft = (2 * torch.rand(2, classes, *shape, dtype=dtype) - 0.5).clamp(0, 1)
        seen = torch.where(mask > 0, logits, torch.nan)
        cases = [
            (logits, labels, {"indexed": True}),
            (seen, labels.to(torch.int16), {"indexed": True, "ignore_index": -1, "mask": mask, **factors}),
            (logits, torch.zeros_like(labels, dtype=torch.uint8), {"indexed": True, **factors}),
            (logits, torch.full_like(labels, -1), {"indexed": True}),
            (seen, torch.where(mask > 0, soft, torch.nan), {"mask": mask > 0, **factors}),
        ]
        for at, (x, target, options) in enumerate(cases):
            form = GIVEN[(at + classes * (dtype == torch.float64)) % 4]
            rest = {"penalty": penalty, "gamma": gamma, **form, **options}
            exact = target.double() if target.is_floating_point() else target
            expected = run("reference", x.double(), exact, **rest)
            close(run("native", x, target, **rest), expected, 1e-11 if dtype == torch.float64 else 2e-5)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("options", GIVEN, ids=lambda given: "+".join(given) or "map")
@pytest.mark.parametrize(("penalty", "gamma"), [("softmax", 2.0), ("sigmoid", 0.0), ("margin", 1.0)])
def test_more_than_one_block(penalty: str, gamma: float, options: dict[str, bool]) -> None:
    logits, labels = torch.randn(2, 3, 27, 29, 43), torch.randint(0, 3, (2, 1, 27, 29, 43))
    options = {"penalty": penalty, "gamma": gamma, "indexed": True, **options}
    close(run("native", logits, labels, **options), run("reference", logits.double(), labels, **options), 1e-5)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "batch sliced"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_and_layouts(dtype: torch.dtype, layout: str) -> None:
    logits = (4 * torch.randn(4, 3, 5, 6, 131)).to(dtype)
    if layout == "channels last":
        logits = logits.to(memory_format=torch.channels_last_3d)
    logits = logits[::2] if layout == "batch sliced" else logits[:2]
    labels = torch.randint(0, 3, (2, 1, 5, 6, 131))
    soft = torch.rand(2, 3, 5, 6, 131)
    for penalty, target, options in (
        ("softmax", labels, {"indexed": True, "gamma": 1.5}),
        ("softmax", soft, {"joined": True}),
        ("sigmoid", labels, {"indexed": True, "reduce": True, "gamma": 2.0}),
        ("margin", soft, {}),
        ("reverse_softmax", labels, {"indexed": True, "gamma": 2.0}),
    ):
        options = {"penalty": penalty, **options}
        expected = run("reference", logits.double(), target, **options)
        value, gradient = run("native", logits, target, **options)
        assert gradient.dtype == dtype
        close((value,), expected[:1], 1e-5)
        close((gradient,), expected[1:], {torch.float16: 1e-3, torch.bfloat16: 8e-3}.get(dtype, 1e-5))
        if layout == "channels last":
            assert gradient.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("kind", LABELS, ids=str)
@pytest.mark.parametrize("penalty", ["softmax", "sigmoid"])
def test_labels_of_any_type_and_out_of_range(penalty: str, kind: torch.dtype) -> None:
    logits, labels = torch.randn(1, 4, 700), torch.randint(0, 4, (1, 1, 700)).to(kind)
    top = 1e30 if kind.is_floating_point else torch.iinfo(kind).max
    for at, odd in enumerate([-1, 4, top, -top]):
        if kind != torch.uint8 or odd >= 0:
            labels[0, 0, 3 * at] = odd
    if kind.is_floating_point:
        labels[0, 0, 50], labels[0, 0, 51] = torch.nan, 1.5
    for given in GIVEN:
        options = {"penalty": penalty, "indexed": True, "gamma": 2.0, **given}
        close(run("native", logits, labels, **options), run("reference", logits.double(), labels, **options), 1e-5)


@pytest.mark.parametrize("penalty", ["softmax", "sigmoid", "poly_softmax", "power_softmax", "margin"])
def test_certain_and_excluded_classes(penalty: str) -> None:
    """Logits far apart, and minus infinity for a class that is not the true one."""
    labels = torch.arange(3).repeat(90).view(1, 1, -1)
    logits = 60 * torch.nn.functional.one_hot((labels[:, 0] + torch.arange(270) // 90) % 3, 3).movedim(-1, 1).float()
    options = {"penalty": penalty, "gamma": 0.5, "indexed": True}
    close(run("native", logits, labels, **options), run("reference", logits.double(), labels, **options), 1e-5)
    if penalty != "margin":
        logits[0, 0, 1::3] = -torch.inf
        options["gamma"] = 1.0
        value, gradient = run("native", logits, labels, **options)
        close((value,), run("reference", logits.double(), labels, **options)[:1], 1e-5)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
@pytest.mark.parametrize("penalty", ["softmax", "sigmoid", "margin", "reverse_softmax"])
def test_nothing_under_a_mask_is_looked_at(penalty: str, poison: float) -> None:
    logits, labels = torch.randn(1, 3, 600), torch.randint(0, 3, (1, 1, 600))
    mask = (torch.arange(600) < 500).view(1, 1, -1)
    options = {"penalty": penalty, "gamma": 1.5, "indexed": True}
    value, slope = run("reference", logits.masked_fill(~mask, 0), labels, mask=mask, **options)
    logits[..., 500:] = poison
    leaf = logits.clone().requires_grad_()
    pointwise(leaf, labels, mask, **options).backward(torch.where(mask, 1.0, poison).expand(1, 3, 600))
    assert not leaf.grad[..., 500:].any()
    for rest in ({"mask": mask}, {"mask": mask.double()}, {"ignore_index": 9}):
        target = torch.where(mask, labels, 9) if "ignore_index" in rest else labels
        found, gradient = run("native", logits, target, **options, **rest)
        close((found, gradient), (value, slope), 1e-5)
        assert not found[..., 500:].any()
        assert not gradient[..., 500:].any()


@pytest.mark.parametrize("penalty", KINDS)
def test_a_nan_that_counts_stays_a_nan(penalty: str) -> None:
    logits, labels = torch.randn(1, 3, 300), torch.arange(300).view(1, 1, -1) % 3
    soft = torch.rand(1, 3, 300)
    logits[0, 1, 7] = torch.nan
    others = torch.arange(300) != 7
    for target, indexed in ((labels, True), (soft, False)):
        for gamma in (0.0, 1.5) if "sigmoid" in penalty or penalty == "softmax" else (1.5,):
            options = {"penalty": penalty, "gamma": gamma or (0.5 if "power" in penalty else 0.0), "indexed": indexed}
            value, gradient = run("native", logits, target, joined=True, **options)
            assert value[0, 0, 7].isnan()
            assert value[0, 0, others].isfinite().all()
            assert gradient[0, 1, 7].isnan()
            assert gradient[0][:, others].isfinite().all()


@pytest.mark.parametrize("penalty", ["softmax", "sigmoid"])
def test_the_number_of_threads_changes_nothing(penalty: str) -> None:
    logits, labels = torch.randn(1, 4, 40, 41, 30), torch.randint(0, 4, (1, 1, 40, 41, 30))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for given in GIVEN[::2]:
                results.append(run("native", logits, labels, penalty=penalty, indexed=True, **given))
    finally:
        torch.set_num_threads(before)
    for at, (value, gradient) in enumerate(results):
        assert torch.equal(value, results[at % 2][0])
        assert torch.equal(gradient, results[at % 2][1])


def test_equal_voxels_have_equal_values_wherever_they_lie() -> None:
    """Those that tie for the hardest are told by equality."""
    logits = torch.randn(1, 5, 1).expand(1, 5, 1111).contiguous()
    for penalty in ("softmax", "sigmoid", "poly_softmax", "power_softmax"):
        for target, indexed in ((torch.full((1, 1, 1111), 2), True), (torch.full((1, 5, 1111), 0.3), False)):
            with backend("native"):
                value = pointwise(logits, target, penalty=penalty, gamma=0.6, indexed=indexed, joined=True)
            assert value.unique().numel() == 1


def test_what_the_kernel_leaves_to_the_reference() -> None:
    logits, labels = torch.randn(1, 3, 20), torch.randint(0, 3, (1, 1, 20))
    options = {"penalty": "softmax", "indexed": True}
    with listen() as heard:
        pointwise(logits, labels, torch.rand(1, 3, 20), **options)
        pointwise(logits.repeat_interleave(3, 2)[..., ::3], labels, **options)
        pointwise(logits, labels, **options)
        pointwise(logits, labels, **options, gamma=-1.0)
    assert [decision.backend for decision in heard] == ["reference", "reference", "native", "reference"]
    assert "weight per class" in heard[0].reasons["native"][0]
    assert "below 0" in heard[3].reasons["native"][0]
    positive = torch.ones(3, requires_grad=True)
    pointwise(logits, labels, positive=positive, **options).sum().backward()  # its gradient is the reference's
    assert positive.grad.sum() > 0
