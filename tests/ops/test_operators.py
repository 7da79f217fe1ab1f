"""Every operator: what opcheck asks, and the fast paths held to the reference in value and gradient."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import pytest
import torch

import medloss
from medloss.ops import BackendError, Terms, backend, differences, local_moments, native, pointwise, region_sums
from medloss.ops.dispatch import listen
from medloss.ops.operator import Operator
from medloss.ops.region_loss import reference as region_loss
from medloss.ops.region_sums import COLUMNS, Column
from medloss.ops.region_sums import reference as region_sums_reference

needs_library = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
LIKELIHOODS = Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL
SHAPES = [(1,), (63,), (17, 31), (11, 13, 17)]
MANY = (26, 27, 29)  # more than one block of the kernel

SAMPLES = {
    "region_sums": lambda x, t: (x, t, None, "softmax", True, None, int(LIKELIHOODS), 0.0),
    "pointwise": lambda x, t: (x, t, None, "softmax", True, None, 2.0, None, None, False, 1.0, False),
    "local_moments": lambda x, t: (x, x.detach().flip(2), None, [1.0, 1.0, 1.0], False, 0.0, 1e-5, True),
    "differences": lambda x, t: (x[:, :2], None, "bending", "compact", [1.0, 1.0], [1.0, 1.0], False, "interior", None),
}


OPERATORS = {
    value.name: value
    for name, module in sorted(sys.modules.items())
    if name.startswith("medloss.ops")
    for value in vars(module).values()
    if isinstance(value, Operator)
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_declared_once(name: str) -> None:
    """Its schema has the names of its arguments in their order, and paths differentiate tensors among them."""
    told = getattr(torch.ops.medloss, name).default._schema.arguments
    assert [argument.name for argument in told] == list(OPERATORS[name].arguments._fields)
    tensors = {argument.name for argument in told if "Tensor" in str(argument.type)}
    for path in OPERATORS[name].paths:
        assert set(path.differentiable) <= tensors


def test_no_path_counts_arguments() -> None:
    folder = Path(sys.modules["medloss.ops"].__file__).parent
    counted = [file for file in sorted(folder.glob("*/*.py")) if re.search(r"\bargs\[-?\d", file.read_text())]
    assert not counted


def test_a_region_loss_begins_as_the_sums_of_its_regions() -> None:
    shared = region_sums_reference.Arguments._fields
    assert region_loss.Arguments._fields[: len(shared)] == shared


@pytest.mark.parametrize("name", SAMPLES)
def test_opcheck(name: str) -> None:
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 1, 6, 7))
    torch.library.opcheck(getattr(torch.ops.medloss, name).default, SAMPLES[name](x, target))


@pytest.mark.parametrize("path", ["reference", None])
@pytest.mark.parametrize("name", SAMPLES)
def test_layouts_are_those_that_a_graph_was_written_for(name: str, path: str | None) -> None:
    """``torch.compile`` believes the fakes: results lie in rows, a gradient as its tensor, whatever a path returns."""
    x, target = torch.rand(2, 6, 7, 3).movedim(-1, 1), torch.randint(0, 3, (2, 1, 6, 7))
    args, operator = SAMPLES[name](x, target), getattr(torch.ops.medloss, name)
    with backend(path):
        result = operator.default(*args)
    assert result.is_contiguous()
    gradient = getattr(torch.ops.medloss, f"{name}_backward").default(torch.ones_like(result), 0, *args)
    assert gradient.stride() == torch.empty_like(args[0]).stride()


def sweep(input: torch.Tensor, target: torch.Tensor, name: str, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and gradient under a random cotangent, by one backend."""
    leaf = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with backend(name):
        sums = region_sums(leaf, target, **options)
        cotangent = torch.randn(sums.shape, generator=torch.Generator().manual_seed(3)).to(sums.dtype)
        (gradient,) = torch.autograd.grad(sums, leaf, cotangent)
    return sums.detach(), gradient


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("classes", "shape"), [*itertools.product((1, 2, 5), SHAPES), (3, MANY), (105, (17, 31))])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_the_kernel_equals_the_reference(
    activation: str, classes: int, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    terms = Terms.SQUARES | Terms.DIFFERENCE | (Terms.NONE if activation == "none" else LIKELIHOODS)
    logits = 4 * torch.randn(2, classes, *shape, dtype=dtype)
    labels = torch.randint(-1, classes + 2, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    targets = [
        (labels, {"indexed": True}),
        (labels.to(torch.int16), {"indexed": True, "ignore_index": -1, "mask": mask}),
        (torch.rand(2, classes, *shape, dtype=dtype), {"mask": mask > 0}),
    ]
    tight = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 3e-5, "atol": 3e-5}
    for target, options in targets:
        options = {**options, "activation": activation, "terms": terms}
        expected = sweep(logits.double(), target, "reference", **options)
        sums, gradient = sweep(logits, target, "native", **options)
        torch.testing.assert_close(sums.double(), expected[0], rtol=tight["rtol"], atol=tight["atol"] * max(shape) ** 2)
        torch.testing.assert_close(gradient.double(), expected[1], **tight)


@needs_library
@pytest.mark.parametrize("level", [name for name in native.build.levels() if native.build.holds("region_sums", name)])
def test_every_instruction_set_gives_the_same(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = list(native.build.levels())
    if offered.index(level) < offered.index(native.level()):
        pytest.skip(f"this processor has no {level}")
    logits, labels = torch.randn(1, 4, 33, 35), torch.randint(0, 4, (1, 1, 33, 35), dtype=torch.uint8)
    options = {"indexed": True, "activation": "softmax", "terms": LIKELIHOODS}
    expected = sweep(logits, labels, "reference", **options)
    monkeypatch.setattr(native, "level", lambda: level)
    monkeypatch.setattr(native, "slow_machine", lambda: False)
    monkeypatch.setattr(native, "_functions", {})
    torch.testing.assert_close(sweep(logits, labels, "native", **options), expected, rtol=1e-4, atol=1e-4)


@needs_library
def test_threads_do_not_change_the_sums() -> None:
    logits, labels = torch.randn(2, 3, 50, 51, 52), torch.randint(0, 3, (2, 1, 50, 51, 52))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(sweep(logits, labels, "native", indexed=True, activation="softmax", terms=LIKELIHOODS))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@needs_library
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_kernel_keeps_nan_and_infinity(activation: str) -> None:
    labels = torch.zeros(1, 1, 70, dtype=torch.int64)
    for odd in (torch.nan, torch.inf, -torch.inf):
        logits = torch.zeros(1, 2, 70)
        logits[0, 0, 5] = odd
        expected = sweep(logits, labels, "reference", indexed=True, activation=activation, terms=Terms.LIKELIHOOD)
        found = sweep(logits, labels, "native", indexed=True, activation=activation, terms=Terms.LIKELIHOOD)
        overlap, nll = Column.OVERLAP, Column.NLL_TRUE
        torch.testing.assert_close(found[0][0, 0, [overlap, nll]], expected[0][0, 0, [overlap, nll]], equal_nan=True)


@needs_library
def test_loading_the_library_keeps_denormals() -> None:
    tiny = torch.tensor([1e-40])
    sweep(torch.zeros(1, 2, 4), torch.zeros(1, 1, 4), "native", indexed=True, activation="softmax")
    assert (tiny * 1).item() != 0


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.3])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("scale", [1, 30])
def test_focal_sums(activation: str, gamma: float, scale: float) -> None:
    logits = scale * torch.randn(2, 3, 7, 11, dtype=torch.float64)
    for target in (torch.randint(0, 3, (2, 1, 7, 11)), torch.rand(2, 3, 7, 11, dtype=torch.float64)):
        options = {"indexed": target.shape[1] == 1, "activation": activation, "terms": Terms.FOCAL, "gamma": gamma}
        found = sweep(logits, target, "native", **options)
        torch.testing.assert_close(found, sweep(logits, target, "reference", **options))


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "classes sliced"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(9,), (6, 7), (5, 6, 131)])
def test_types_and_layouts(shape: tuple[int, ...], dtype: torch.dtype, layout: str) -> None:
    """Half precision is widened, channels-last is read as it lies, and the gradient lies and rounds as the input."""
    logits = (4 * torch.randn(2, 6, *shape)).to(dtype)
    if layout == "channels last":
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    logits = (
        logits[:, ::2]
        if layout == "classes sliced"
        else logits[:, :3].contiguous()
        if layout == "contiguous"
        else logits
    )
    classes = logits.shape[1]
    labels = torch.randint(0, classes, (2, 1, *shape))
    options = {"indexed": True, "activation": "softmax", "terms": LIKELIHOODS, "gamma": 2.0}
    found = sweep(logits, labels, "native", **options)
    expected = sweep(logits, labels, "reference", **options)
    assert found[0].dtype == expected[0].dtype
    assert found[1].dtype == dtype
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-2 if dtype.itemsize == 2 else 1e-4, atol=1e-5)


def test_a_forced_backend_says_all_its_reasons() -> None:
    x = torch.zeros(1, 2, 4, dtype=torch.bfloat16)
    with (
        backend("native"),
        pytest.raises(BackendError, match=r"mask has a weight per class.*; .*from logits, not from probabilities"),
    ):
        region_sums(x, torch.zeros(1, 1, 4), torch.ones(1, 2, 4), indexed=True, terms=Terms.FOCAL)
    with backend("triton"), pytest.raises(BackendError, match=r"pointwise: .*target is not an image"):
        pointwise(x, x[:, :1], penalty="squared")
    with pytest.raises(ValueError, match="backend 'gpu' is unknown"), backend("gpu"):
        pass


def test_the_environment_forces_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")
    with listen() as heard:
        region_sums(torch.zeros(1, 2, 4), torch.zeros(1, 1, 4), indexed=True, activation="softmax")
    assert [decision.backend for decision in heard] == ["reference"]


def test_explain_tells_path_and_reason() -> None:
    loss, x, y = medloss.FocalLoss(to_onehot_y=True), torch.zeros(1, 2, 4, 5).movedim(2, 3), torch.zeros(1, 1, 5, 4)
    assert "region_loss: reference (not native:" in medloss.explain(loss, x, y)


def test_without_a_library_the_reference_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_load", lambda: (None, "no C compiler found"))
    loss, x, y = medloss.DiceLoss(softmax=True, to_onehot_y=True), torch.zeros(1, 2, 4), torch.zeros(1, 1, 4)
    expected = "region_loss: reference (not native: there is no native library: no C compiler found; not triton: "
    assert medloss.explain(loss, x, y).startswith(expected)
    assert torch.isfinite(loss(x, y))


def test_columns_by_hand() -> None:
    """Two voxels, two classes: every column from its definition."""
    p = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]], dtype=torch.float64)
    target = torch.tensor([[[0, 1]]])
    sums = region_sums(p.log(), target, activation="softmax", indexed=True, terms=127, gamma=2.0)
    assert sums.shape == (1, 2, COLUMNS)
    log = torch.log(p)
    expected = {
        Column.OVERLAP: [0.25, 0.5],
        Column.INPUT: [0.75, 1.25],
        Column.TARGET: [1, 1],
        Column.VOXELS: [2, 2],
        Column.INPUT_SQUARES: [0.0625 + 0.25, 0.5625 + 0.25],
        Column.TARGET_SQUARES: [1, 1],
        Column.SURPLUS: [0.5, 0.75],
        Column.LACK: [0.75, 0.5],
        Column.COMMON: [0.25, 0.5],
        Column.FALSE_POSITIVE: [0.5, 0.75],
        Column.FALSE_NEGATIVE: [0.75, 0.5],
        Column.TRUE_NEGATIVE: [0.5, 0.25],
        Column.SQUARED_ERROR: [0.5625 + 0.25, 0.5625 + 0.25],
        Column.NLL_TRUE: [-log[0, 0, 0], -log[0, 1, 1]],
        Column.NLL_FALSE: [0, 0],
        Column.NLL_ALL: [-(log[0, 0, 0] + log[0, 0, 1]), -(log[0, 1, 0] + log[0, 1, 1])],
        Column.FOCAL_TRUE: [-(0.75**2) * log[0, 0, 0], -(0.5**2) * log[0, 1, 1]],
        Column.FOCAL_FALSE: [0, 0],
    }
    for column, values in expected.items():
        torch.testing.assert_close(sums[0, :, column], torch.tensor(values, dtype=torch.float64), msg=column.name)


@pytest.mark.parametrize(("energy", "stencil"), [("diffusion", "central"), ("bending", "compact"), ("bending", "wide")])
def test_a_reduced_map_is_its_sum(energy: str, stencil: str) -> None:
    field, mask = torch.randn(2, 2, 9, 10), (torch.rand(2, 1, 9, 10) > 0.1).float()
    options = {"energy": energy, "stencil": stencil, "axis_scale": [1.0, 0.5], "component_scale": [1.0, 2.0]}
    for weight in (None, mask):
        map = differences(field, weight, **options)
        torch.testing.assert_close(differences(field, weight, **options, reduce=True), map.sum((2, 3)))


def test_windows_of_a_mask_by_hand() -> None:
    """A window of three with one voxel masked is a window of two, whose correlation is perfect."""
    x, y = torch.tensor([[[1.0, 7.0, 3.0]]]), torch.tensor([[[2.0, -50.0, 8.0]]])
    mask = torch.tensor([[[1.0, 0.0, 1.0]]])
    result = local_moments(x, y, mask, window=[1, 1, 1, 1, 1])
    torch.testing.assert_close(result, torch.tensor([[[1.0, 0.0, 1.0]]]))


def test_every_pair_of_terms_is_independent() -> None:
    """Asking for more columns leaves the others as they are, in value and gradient."""
    logits, target = torch.randn(1, 3, 40), torch.randint(0, 3, (1, 1, 40))
    whole = region_sums(logits, target, indexed=True, activation="softmax", terms=15)
    for few, more in itertools.combinations((0, 1, 2, 4, 8), 2):
        part = region_sums(logits, target, indexed=True, activation="softmax", terms=few | more)
        asked = part != 0
        torch.testing.assert_close(part[asked], whole[asked])


def test_lazy_negation_reaches_no_kernel() -> None:
    x, weights = torch.randn(1, 2, 40), torch.randn(1, 2, COLUMNS)
    labels = torch.randint(0, 2, (1, 1, 40))
    options = {"activation": "softmax", "indexed": True}
    lazy = torch._neg_view(x)  # as the imaginary part of a conjugate is
    torch.testing.assert_close(region_sums(lazy, labels, **options), region_sums(-x, labels, **options))
    x.requires_grad_()
    sums = region_sums(x, labels, **options)
    found = torch.autograd.grad(sums, x, torch._neg_view(weights), retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(sums, x, -weights))
