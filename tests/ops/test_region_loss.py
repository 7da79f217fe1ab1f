"""``region_loss``: its kernels beside the reference, a value by hand, and the formulas that are read from losses."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path

import pytest
import torch

import medloss
from medloss.forms import Quotient, read
from medloss.ops import COLUMNS, Column, Terms, backend, native, region_loss

needs_library = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
ALL = int(
    Terms.SQUARES | Terms.DIFFERENCE | Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL | Terms.ERRORS | Terms.NEGATIVES
)


def numbers(**coefficients: float) -> list[float]:
    """One linear form, by the names of the columns."""
    return [coefficients.get(column.name.lower(), 0.0) for column in map(Column, range(COLUMNS))]


def test_the_columns_of_the_kernels_are_those_of_python() -> None:
    script = Path(__file__).resolve().parents[2] / "docs" / "columns.py"
    columns = runpy.run_path(str(script))
    assert columns["HEADER"].read_text(encoding="utf-8") == columns["header"](), "stale: run `make docs`"
    assert " OVERLAP = 0, /* w p t */" in columns["header"]()


UNION = numbers(input=1, target=1, voxels=0.1)
QUOTIENT = [0.7, 1.0, 0.1, 0.2, *numbers(overlap=-2, input_squares=0.3, difference=-0.1), *UNION]
ABOVE = numbers(nll_true=0.9, nll_false=0.8, nll_all=0.05, focal_true=0.5, focal_false=0.25)
SHARES = {"by the target": [1.3, *ABOVE, *numbers(target=1)], "by the voxels": [0.6, *ABOVE, *numbers(voxels=1)]}
FORMS = [
    {"quotient": QUOTIENT},
    {"share": SHARES["by the target"], "share_first": 1},
    {"quotient": QUOTIENT, "share": SHARES["by the voxels"], "first": 1},
    {"quotient": QUOTIENT, "share": SHARES["by the target"], "joined": True, "skip": True},
    {"quotient": QUOTIENT, "share": SHARES["by the voxels"], "mean": False, "first": 1, "share_first": 1},
]


def called(name: str, input: torch.Tensor, target: torch.Tensor, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient by one backend; the value is multiplied, so that the slopes are."""
    leaf = input.detach().clone().requires_grad_()
    with backend(name):
        value = region_loss(leaf, target, **{"terms": ALL, "gamma": 1.5, **options})
        (gradient,) = torch.autograd.grad(3 * value, leaf)
    return value.detach(), gradient


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_is_the_reference(activation: str, dtype: torch.dtype, form: dict[str, object]) -> None:
    """A class that no voxel has, an ignored label, a sample without a voxel, and factors of the classes."""
    logits, labels = 2 * torch.randn(3, 4, 9, 8, dtype=dtype), torch.randint(0, 3, (3, 1, 9, 8))
    mask = torch.rand(3, 1, 9, 8) * (torch.rand(3, 1, 9, 8) > 0.3)
    mask[2] = 0
    factors, positive, negative = torch.rand(3, 4)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for options in (
        {},
        {"mask": mask, "ignore_index": 1, "positive": positive},
        {"factors": factors, "positive": positive, "negative": negative},
    ):
        if "quotient" not in form:
            options = {name: value for name, value in options.items() if name != "factors"}
        options = {"activation": activation, "indexed": True, **form, **options}
        found, expected = (called(name, logits, labels, **options) for name in ("native", "reference"))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("form", FORMS)
def test_opcheck_and_gradients(form: dict[str, object]) -> None:
    x, labels = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True), torch.randint(0, 3, (2, 1, 4))
    options = {"quotient": [], "first": 0, "joined": False, "skip": False, "share": [], "share_first": 0, "mean": True}
    given = {**options, **form}
    torch.library.opcheck(
        torch.ops.medloss.region_loss.default,
        (x, labels, None, "softmax", True, None, ALL, 1.5, given["quotient"], None, given["first"], given["joined"],
         given["skip"], given["share"], None, None, given["share_first"], given["mean"]),
    )  # fmt: skip

    def call(input: torch.Tensor) -> torch.Tensor:
        return region_loss(input, labels, activation="softmax", indexed=True, terms=ALL, gamma=1.5, **form)

    torch.autograd.gradcheck(call, (x,))
    torch.autograd.gradgradcheck(call, (x,))


@pytest.mark.parametrize("name", ["reference", pytest.param("native", marks=needs_library)])
def test_by_hand(name: str) -> None:
    """One region: I = 1, S = 2, T = 2. Another without a voxel of weight, which does not count."""
    p = torch.tensor([[[1.0, 1.0, 0.0]], [[1.0, torch.nan, 0.0]]])
    t, mask = torch.tensor([[[1.0, 0.0, 1.0]], [[1.0, 0.0, 1.0]]]), torch.tensor([[[1.0, 1, 1]], [[0.0, 0, 0]]])
    quotient = [5.0, 1.0, 0.0, 1.0, *numbers(overlap=-2), *numbers(input=1, target=1)]
    share = [10.0, *numbers(overlap=1), *numbers(voxels=1)]
    value, gradient = called(name, p, t, mask=mask, quotient=quotient, share=share, terms=0)
    assert value.item() == pytest.approx(5 * (1 - 2 / 5) + 10 / 3)
    # 3 d/dp: 5 (-2 t (S + T + 1) + 2 I) / 25 + 10 t / 3
    assert gradient[0, 0].tolist() == pytest.approx([3 * (5 * -8 / 25 + 10 / 3), 6 / 5, 3 * (5 * -8 / 25 + 10 / 3)])
    assert gradient[1].tolist() == [[0, 0, 0]]


def test_nothing_counts() -> None:
    x, labels, mask = torch.randn(2, 3, 5), torch.randint(0, 3, (2, 1, 5)), torch.zeros(2, 1, 5)
    for form in FORMS:
        value, gradient = called(None, x, labels, mask=mask, activation="softmax", indexed=True, **form)
        assert value == 0
        assert not gradient.any()


def test_a_wrong_length_is_told() -> None:
    with pytest.raises(ValueError, match="quotient has 3 numbers, not 40"):
        region_loss(torch.rand(1, 2, 3), torch.rand(1, 2, 3), quotient=[1, 2, 3])


class Asking(medloss.DiceLoss):
    """A formula that looks at the numbers."""

    def finalise(self, sums: medloss.sums.RegionSums) -> torch.Tensor:
        values = super().finalise(sums)
        return values if (sums.target > 0).all() else values / 2


def test_formulas_are_read() -> None:
    dice = read(medloss.DiceLoss(jaccard=True, soft_label=True, smooth_nr=0.5, smooth_dr=0.25).finalise)
    # 1 - (2 I + nr) / (2 (S + T - I) + dr) with the minimum for I
    assert dice.numbers() == [1, -0.5, 0.25, *numbers(common=-2), *numbers(input=2, target=2, common=-2)]
    tversky = read(medloss.TverskyLoss(alpha=0.25, beta=0.75).finalise)
    assert tversky.below.numbers() == numbers(overlap=0, input=0.25, target=0.75)
    for loss in (medloss.LogCoshDiceLoss(), medloss.FocalTverskyLoss(), Asking()):
        assert read(loss.finalise) is None
    with pytest.raises(TypeError):
        bool(dice == dice)
    assert isinstance(2 - dice / 4, Quotient)


def test_a_formula_that_looks_at_numbers_is_left_alone() -> None:
    p, t = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    options = {"smooth_nr": 0, "smooth_dr": 0}
    assert Asking(**options)(p, t) == 0.5
    assert Asking(**options)(p, t * 0) == 0.5


class Scaled(medloss.DiceLoss):
    """A formula that looks at more than options."""

    scale_by = [1.0]

    def finalise(self, sums: medloss.sums.RegionSums) -> torch.Tensor:
        return self.scale_by[0] * super().finalise(sums)


def test_a_formula_is_read_again_where_it_has_changed() -> None:
    p, t = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    loss = medloss.DiceLoss(smooth_nr=0, smooth_dr=0)
    assert loss(p, t) == 0.5
    loss.smooth_dr = 4
    assert loss(p, t) == 0.75  # 1 - 2 / (4 + 4)
    assert copy.deepcopy(loss)(p, t) == 0.75
    scaled = Scaled(smooth_nr=0, smooth_dr=0)
    assert scaled(p, t) == 0.5
    scaled.scale_by[0] = 2.0
    assert scaled(p, t) == 1.0
