"""The joint histogram: what opcheck asks, its kernel held to the reference, chunks, and counts worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from medloss.ops import backend, joint_histogram, native
from medloss.ops.joint_histogram import reference

needs_library = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
KERNELS = ("gaussian", "b-spline", "mattes")
SHAPES = [(1,), (63,), (17, 31), (11, 13, 17)]
MANY = (26, 27, 29)  # more than one block of the kernel
WINDOWS = [(23, 0.5), (5, 0.5), (7, 3.0), (64, 0.12), (40, 2.0)]  # bins and sigma


@pytest.mark.parametrize("kernel", KERNELS)
def test_opcheck(kernel: str) -> None:
    x = torch.rand(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    ranges = torch.tensor([[0.0, 1.0, 0.0, 1.0]], dtype=torch.float64).expand(2, 4)
    operator = torch.ops.medloss.joint_histogram.default
    torch.library.opcheck(operator, (x, x.detach().flip(2), None, ranges, kernel, 8, 0.5))


def counted(
    x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor | None, name: str, **options: object
) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts and gradient under a random cotangent, by one backend."""
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with backend(name):
        counts = joint_histogram(leaf, y, mask, **options)
        cotangent = torch.randn(counts.shape, generator=torch.Generator().manual_seed(3)).to(counts.dtype)
        (gradient,) = torch.autograd.grad(counts, leaf, cotangent)
    return counts.detach(), gradient


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float, least: float = 0.0) -> None:
    """Within a part of the largest entry, or of the least size that the entry's terms have."""
    size = max(least, float(expected.abs().max()))
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance * size)


def off_the_edges(y: torch.Tensor, ranges: torch.Tensor, bins: int, shift: float) -> torch.Tensor:
    """The image with no intensity at the edge of a box, where rounding decides on the bin; half a bin from the centre,
    or with a shift of 1/2 at whole bins."""
    low, high = (bound.view(-1, *[1] * (y.ndim - 1)) for bound in ranges[:, 2:].unbind(1))
    step = (high - low) / (bins - 4)
    place = (y - low) / step + shift
    return (low + (place.round() + 0.9 * (place - place.round()) - shift) * step).to(y.dtype)


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [*SHAPES, MANY])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_kernel_equals_the_reference(kernel: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Of the three forms of a mask two with each window, by turns."""
    x, y = (1.2 * torch.rand(2, 2, *shape, dtype=dtype) - 0.1 for _ in range(2))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    ranges = torch.tensor([[0.0, 1.0, -0.05, 0.9], [0.2, 0.7, 0.0, 1.0]], dtype=dtype)
    weights = (None, mask, (mask > 0).expand(2, 2, *shape))
    first = KERNELS.index(kernel) + len(shape) + (dtype == torch.float64)
    for number, (bins, sigma) in enumerate(WINDOWS if shape != MANY else WINDOWS[:1], first):
        shift = 0.5 if kernel == "mattes" else 0.0
        target = off_the_edges(y, ranges, bins, shift) if kernel != "gaussian" and bins > 5 else y
        # the place of an intensity among the bins has the rounding of its type, which steep windows magnify; counts are
        # added in double one by one, whose rounding shows beside double (226 eps where 4862 voxels add one constant)
        parts = 50 + x[0].numel() / 10 if dtype == torch.float64 else 50
        tolerance = parts * torch.finfo(dtype).eps * max(1.0, 0.1 * bins / sigma)
        for weight in (weights[number % 3], weights[(number + 1) % 3]):
            options = {"kernel": kernel, "bins": bins, "sigma_ratio": sigma, "ranges": ranges}
            expected = counted(x.double(), target.double(), weight, "reference", **options)
            counts, gradient = counted(x, target, weight, "native", **options)
            assert counts.dtype == dtype
            close(counts, expected[0], tolerance)
            close(gradient, expected[1], tolerance, least=0.5 * bins)


@needs_library
@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0])
def test_a_common_part_of_the_cotangents_costs_no_digits(sigma: float) -> None:
    """The weights of a voxel sum to one, so that a constant added to all cotangents adds nothing to the slope."""
    x, y = torch.rand(1, 1, 500), torch.rand(1, 1, 500)
    cotangent = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(3))
    gradients = []
    for common in (0, 4096):
        leaf = x.clone().requires_grad_()
        with backend("native"):
            counts = joint_histogram(leaf, y, kernel="gaussian", bins=16, sigma_ratio=sigma)
        # a multiple of 1/64 of that size: the sum is exact
        rounded = (64 * cotangent).round() / 64
        gradients.append(torch.autograd.grad(counts, leaf, rounded + common)[0])
    assert torch.equal(*gradients)


@needs_library
@pytest.mark.parametrize("kernel", KERNELS)
def test_layouts_and_half_precision(kernel: str) -> None:
    x, y = torch.rand(2, 2, 5, 6, 7), torch.rand(2, 2, 5, 6, 7)
    expected = counted(x, y, None, "native", kernel=kernel, bins=9)
    laid = [image.contiguous(memory_format=torch.channels_last_3d) for image in (x, y)]
    torch.testing.assert_close(counted(*laid, None, "native", kernel=kernel, bins=9), expected)
    for dtype in (torch.float16, torch.bfloat16):
        halves = [image.to(dtype) for image in (x, y)]
        counts, gradient = counted(*halves, None, "native", kernel=kernel, bins=9)
        assert counts.dtype == torch.float32
        assert gradient.dtype == dtype
        close(counts, counted(*[image.double() for image in halves], None, "reference", kernel=kernel, bins=9)[0], 1e-6)


@needs_library
@pytest.mark.parametrize("kernel", KERNELS)
def test_threads_do_not_change_the_counts(kernel: str) -> None:
    x, y = torch.rand(2, 1, 50, 51, 52), torch.rand(2, 1, 50, 51, 52)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(counted(x, y, None, "native", kernel=kernel, bins=16))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@needs_library
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_the_kernel_keeps_nan_and_counts_infinity_at_the_ends(kernel: str, odd: float) -> None:
    x, y = torch.rand(1, 1, 70), torch.rand(1, 1, 70)
    for images in ((x.index_fill(2, torch.tensor(5), odd), y), (x, y.index_fill(2, torch.tensor(5), odd))):
        found, expected = (
            counted(*images, None, name, kernel=kernel, bins=9)[0].sum() for name in ("native", "reference")
        )
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_what_the_kernel_leaves_to_the_reference() -> None:
    x = torch.rand(1, 1, 20)
    for options, why in (
        ({"bins": 2000}, "2000 bins are more than"),
        ({"bins": 200, "sigma_ratio": 9.0}, "reach more than"),
        ({"bins": 20, "sigma_ratio": 0.05}, "is below"),
    ):
        with backend("native"), pytest.raises(RuntimeError, match=why):
            joint_histogram(x, x, kernel="gaussian", **options)
        assert float(joint_histogram(x, x, kernel="gaussian", **options).sum()) == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_chunks_change_nothing(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value, gradients of all tensors, and second derivatives, with the voxels taken a few at a time."""
    x, y = (torch.rand(2, 1, 5, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = torch.rand(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    ranges = torch.tensor([[0.0, 1.0, -0.5, 2.0]], dtype=torch.float64).expand(2, 4).contiguous().requires_grad_()

    def run() -> tuple[torch.Tensor, ...]:
        counts = joint_histogram(x, y, mask, kernel=kernel, bins=6, ranges=ranges)
        cotangent = torch.randn(counts.shape, generator=torch.Generator().manual_seed(3)).to(counts.dtype)
        return (counts, *torch.autograd.grad(counts, (x, y, mask, ranges), cotangent))

    with backend("reference"):
        expected = run()
        monkeypatch.setattr(reference, "CHUNK", 100)  # 8 of the 25 voxels
        torch.testing.assert_close(run(), expected)
        few = slice(0, 1), slice(0, 1), slice(0, 3), slice(0, 4)
        torch.autograd.gradgradcheck(
            lambda x: joint_histogram(x, y[few], mask[few], kernel=kernel, bins=6), x[few].detach().requires_grad_()
        )


@needs_library
def test_nothing_of_voxels_times_bins_is_made() -> None:
    """The largest tensor that backward makes, for the kernel and for the reference: no more than the images."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.size = max(self.size, result.numel())
            return result

    voxels = 60**3
    x, y = torch.rand(1, 1, voxels, requires_grad=True), torch.rand(1, 1, voxels)
    for name in ("native", "reference"):
        with Largest() as largest, backend(name):
            torch.autograd.grad(joint_histogram(x, y, kernel="gaussian", bins=23).square().sum(), x)
        assert largest.size <= max(voxels, reference.CHUNK), name


def test_gaussian_counts_by_hand() -> None:
    """Three bins at 0, 1/2 and 1; sigma of one bin: weights exp(-d^2 / 2) over their sum."""
    x, y = torch.tensor([[[0.25]]], dtype=torch.float64), torch.tensor([[[1.0]]], dtype=torch.float64)
    near, far = (
        math.exp(-0.125),
        math.exp(-1.125),
    )  # half a bin from the first two centres, one and a half from the last
    rows = torch.tensor([near, near, far], dtype=torch.float64) / (2 * near + far)
    columns = torch.tensor([math.exp(-2), math.exp(-0.5), 1], dtype=torch.float64)
    columns = columns / columns.sum()
    for name in ("native", "reference"):
        with backend(name):
            counts = joint_histogram(x, y, kernel="gaussian", bins=3, sigma_ratio=1.0)
        torch.testing.assert_close(counts[0], rows.unsqueeze(1) * columns)


def test_spline_counts_by_hand() -> None:
    """Eight bins, of which two are padding on either side: x = 3/8 lies at 2 + 4 * 3/8 = 3.5, halfway between two."""
    x, y = torch.tensor([[[0.375]]], dtype=torch.float64), torch.tensor([[[0.375]]], dtype=torch.float64)
    near, far = (4 - 6 / 4 + 3 / 8) / 6, 0.5**3 / 6  # 23/48 at a distance of 1/2, 1/48 at 3/2
    rows = torch.tensor([0, 0, far, near, near, far, 0, 0], dtype=torch.float64)
    columns = torch.tensor([0, 0, 0, 0.5, 0.5, 0, 0, 0], dtype=torch.float64)
    assert 2 * (near + far) == 1
    for name in ("native", "reference"):
        with backend(name):
            counts = joint_histogram(x, y, kernel="b-spline", bins=8)
        torch.testing.assert_close(counts[0], rows.unsqueeze(1) * columns)


def test_every_voxel_counts_once() -> None:
    x, y, mask = torch.rand(2, 3, 40), torch.rand(2, 3, 40), torch.rand(2, 1, 40)
    for kernel in KERNELS:
        counts = joint_histogram(x, y, mask, kernel=kernel, bins=11)
        torch.testing.assert_close(counts.sum((1, 2)), 3 * mask.sum((1, 2)))


def test_faults() -> None:
    x = torch.rand(1, 1, 4)
    with pytest.raises(ValueError, match="kernel 'box' is unknown"):
        joint_histogram(x, x, kernel="box", bins=4)
    with pytest.raises(ValueError, match="4 bins are too few: the b-spline kernel needs 5"):
        joint_histogram(x, x, kernel="b-spline", bins=4)
