"""Pools, skeletons, boundaries and erosions: against the definition window by window, and by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from medloss.ops import boundary_sums, erosion_hausdorff, max_pool, skeleton_sums, soft_skeleton

SHAPES = [(1,), (11,), (7, 4), (5, 1, 6)]
BOX, CROSS = "box", "cross"

SAMPLES = {
    "soft_skeleton": lambda x, t, m: (x, m, 1),
    "max_pool": lambda x, t, m: (x, m, 3),
    "skeleton_sums": lambda x, t, m: (x, t, m, 0),
    "boundary_sums": lambda x, t, m: (x, t, m, 3, 3),
    "erosion_hausdorff": lambda x, t, m: (x, t, m, 2.0, 2),
}
PUBLIC: dict[str, Callable[..., Tensor]] = {
    "soft_skeleton": lambda x, t, m: soft_skeleton(x, m, iterations=2),
    "max_pool": lambda x, t, m: max_pool(x, m, size=5),
    "skeleton_sums": lambda x, t, m: skeleton_sums(x, t, m, iterations=1),
    "boundary_sums": lambda x, t, m: boundary_sums(x, t, m, inner=3, outer=5),
    "erosion_hausdorff": lambda x, t, m: erosion_hausdorff(x, t, m, alpha=1.5, k=3),
}


def maps(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, memberships, and weights of which a third are zero."""
    generator = torch.Generator().manual_seed(seed)
    one, two = (torch.rand(2, 3, *shape, generator=generator, dtype=dtype) for _ in range(2))
    weight = torch.rand(2, 1, *shape, generator=generator, dtype=dtype) + 0.1
    return one, two, torch.where(torch.rand(2, 1, *shape, generator=generator) > 0.3, weight, 0)


def windows(map: Tensor, size: int, kind: str, fill: float) -> list[Tensor]:
    """The map shifted to each place of a window."""
    rank, half = map.ndim - 2, size // 2
    padded = F.pad(map, [half, half] * rank, value=fill)
    offsets = itertools.product(range(size), repeat=rank)
    if kind == CROSS:
        offsets = (offset for offset in offsets if sum(at != half for at in offset) <= 1)
    cut = [tuple(slice(at, at + n) for at, n in zip(offset, map.shape[2:], strict=True)) for offset in offsets]
    return [padded[(slice(None), slice(None), *place)] for place in cut]


def largest(map: Tensor, mask: Tensor | None, size: int, kind: str = BOX) -> Tensor:
    """The definition: the maximum over the voxels of the window that count."""
    seen = map if mask is None else torch.where(mask > 0, map, -torch.inf)
    result = torch.stack(windows(seen, size, kind, -torch.inf)).amax(0)
    return result if mask is None else torch.where(mask > 0, result, 0)


def least(map: Tensor, mask: Tensor | None, size: int, kind: str = BOX) -> Tensor:
    return -largest(-map, mask, size, kind)


def skeleton(map: Tensor, mask: Tensor | None, iterations: int) -> Tensor:
    """The definition: what opening takes off each erosion, joined as s + r - s r."""
    joined = torch.zeros_like(map)
    for _ in range(iterations + 1):
        eroded = least(map, mask, 3, CROSS)
        ridge = torch.relu(map - largest(eroded, mask, 3))
        joined, map = joined + ridge - joined * ridge, eroded
    return joined


def gradient_of(function: Callable[[Tensor], Tensor], map: Tensor, seed: int = 5) -> tuple[Tensor, Tensor]:
    """Value, and gradient under a random cotangent."""
    leaf = map.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = function(leaf)
    cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return value.detach(), torch.autograd.grad(value, leaf, cotangent.to(value.dtype))[0]


@pytest.mark.parametrize("name", SAMPLES)
def test_opcheck(name: str) -> None:
    x, t, mask = maps((5,))
    torch.library.opcheck(getattr(torch.ops.medloss, name).default, SAMPLES[name](x.requires_grad_(), t, mask))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_pools_and_skeletons_are_their_definition(shape: tuple[int, ...], masked: bool) -> None:
    x, _, mask = maps(shape)
    mask = mask if masked else None
    x = x if mask is None else torch.where(mask > 0, x, torch.nan)
    shown = x.nan_to_num()
    for size in (1, 3, 5, 9):
        found = gradient_of(lambda map, size=size: max_pool(map, mask, size=size), x)
        torch.testing.assert_close(found, gradient_of(lambda map, size=size: largest(map, mask, size), shown))
    for iterations in (0, 1, 3):
        found = gradient_of(lambda map, n=iterations: soft_skeleton(map, mask, iterations=n), x)
        torch.testing.assert_close(found, gradient_of(lambda map, n=iterations: skeleton(map, mask, n), shown))


@pytest.mark.parametrize("masked", [False, True])
def test_sums_are_their_definition(masked: bool) -> None:
    x, t, mask = maps((7, 6))
    weight, mask = (mask, mask) if masked else (1, None)

    def crossed(thin: list[Tensor], wide: list[Tensor]) -> Tensor:
        columns = (thin[0] * wide[1], thin[0], thin[1] * wide[0], thin[1])
        return torch.stack([(weight * column).sum((2, 3)) for column in columns], -1)

    def expected_skeletons(x: Tensor) -> Tensor:
        return crossed([skeleton(x, mask, 2), skeleton(t, mask, 2)], [x, t])

    def expected_boundaries(x: Tensor) -> Tensor:
        edges = [map - least(map, mask, 3) for map in (x, t)]
        return crossed(edges, [largest(edge, mask, 5) for edge in edges])

    found = gradient_of(lambda x: skeleton_sums(x, t, mask, iterations=2), x)
    torch.testing.assert_close(found, gradient_of(expected_skeletons, x))
    found = gradient_of(lambda x: boundary_sums(x, t, mask, inner=3, outer=5), x)
    torch.testing.assert_close(found, gradient_of(expected_boundaries, x))


def test_the_target_has_a_gradient_too() -> None:
    x, t, mask = maps((6, 5))
    swapped = [2, 3, 0, 1]
    for name in ("skeleton_sums", "boundary_sums"):
        found = gradient_of(lambda t, name=name: PUBLIC[name](x, t, mask), t)
        torch.testing.assert_close(found, gradient_of(lambda t, name=name: PUBLIC[name](t, x, mask)[..., swapped], t))


@pytest.mark.parametrize("shape", [(9,), (7, 8), (6, 7, 5)])
@pytest.mark.parametrize("name", PUBLIC)
def test_a_masked_voxel_lies_beyond_the_border(name: str, shape: tuple[int, ...]) -> None:
    """Under a box mask everything is as in the box alone, whatever stands outside."""
    x, t, _ = maps(shape)
    box = (slice(None), slice(None), *(slice(1, size - 1) for size in shape))
    mask = torch.zeros(2, 1, *shape)
    mask[box] = 1
    dirty = torch.where(mask > 0, x, torch.nan)
    value, gradient = gradient_of(lambda x: PUBLIC[name](x, t, mask)[box if name in MAPS else ...], dirty)
    expected, inside = gradient_of(lambda x: PUBLIC[name](x, t[box], None), x[box])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient[box], inside)
    gradient[box] = 0
    assert not gradient.any()


MAPS = ("soft_skeleton", "max_pool", "erosion_hausdorff")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(6,), (3, 3), (2, 2, 3)])
@pytest.mark.parametrize("name", PUBLIC)
def test_gradients(name: str, shape: tuple[int, ...], masked: bool) -> None:
    """The values are far apart, so that no step of gradcheck changes a winner."""
    x, t, mask = (tensor[:1, :1] for tensor in maps(shape))
    order = torch.randperm(x.numel(), generator=torch.Generator().manual_seed(1)).view_as(x)
    x = (order.double() + 0.5) / x.numel()
    t = (x < 0.4).double() if name == "erosion_hausdorff" else t  # errors that outlive an erosion
    mask = mask if masked else None

    def function(x: Tensor) -> Tensor:
        return PUBLIC[name](x, t, mask)

    x.requires_grad_()
    torch.autograd.gradcheck(function, x, check_forward_ad=False)
    torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("name", PUBLIC)
def test_layouts_and_precision(name: str) -> None:
    x, t, mask = maps((6, 7), dtype=torch.float32)
    expected = gradient_of(lambda x: PUBLIC[name](x, t, mask), x)
    laid = x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT
    for form in laid:
        assert not form.is_contiguous()
        torch.testing.assert_close(gradient_of(lambda x: PUBLIC[name](x, t, mask), form), expected)
    half = x.half()
    value, gradient = gradient_of(lambda x: PUBLIC[name](x, t, mask), half)
    exact = gradient_of(lambda x: PUBLIC[name](x, t, mask), half.float())
    assert value.dtype == torch.float32
    assert gradient.dtype == torch.float16
    torch.testing.assert_close(value, exact[0])
    torch.testing.assert_close(gradient.float(), exact[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PUBLIC)
def test_backward_keeps_the_inputs_alone(name: str) -> None:
    x, t, mask = maps((9, 8))
    kept: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        PUBLIC[name](x.requires_grad_(), t, mask)
    assert kept <= {tensor.untyped_storage().data_ptr() for tensor in (x, t, mask)}


def test_of_equal_values_one_wins() -> None:
    """A constant map has many largest voxels; each window hands its whole gradient to one of them."""
    x = torch.full((1, 1, 6, 6), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(max_pool(x, size=3).sum(), x)
    assert gradient.sum() == 36
    assert torch.equal(gradient, gradient.round())


def test_a_skeleton_by_hand() -> None:
    """Of a bar of three by seven the middle line is left; opening gives it back but for its ends."""
    bar = torch.zeros(1, 1, 7, 11)
    bar[..., 2:5, 2:9] = 1
    line = torch.zeros(1, 1, 7, 11)
    line[..., 3, 3:8] = 1
    expected = line.clone()
    # the cross erodes a box to a box, and the box dilates it back whole: nothing is taken off the bar itself
    assert torch.equal(soft_skeleton(bar, iterations=0), torch.zeros_like(bar))
    assert torch.equal(soft_skeleton(bar, iterations=1), expected)
    assert torch.equal(soft_skeleton(bar, iterations=4), expected)


def test_erosions_by_hand() -> None:
    """In one dimension: means of three, less one half, stretched to one."""
    x, t = torch.tensor([[[0.0, 1, 1, 1, 1, 1, 0]]], dtype=torch.float64), torch.zeros(1, 1, 7)
    first = torch.tensor([0, 1 / 3, 1, 1, 1, 1 / 3, 0], dtype=torch.float64)  # means 1/3, 2/3, 1, .. less 1/2, times 2
    means = torch.tensor([1 / 9, 4 / 9, 7 / 9, 1, 7 / 9, 4 / 9, 1 / 9], dtype=torch.float64)
    second = (means - 0.5).clamp_min(0) * 2
    torch.testing.assert_close(erosion_hausdorff(x, t, alpha=2, k=1)[0, 0], first)
    torch.testing.assert_close(erosion_hausdorff(x, t, alpha=2, k=2)[0, 0], first + 4 * second)


def test_sizes_are_odd() -> None:
    x = torch.zeros(1, 1, 4)
    for size in (0, -1, 2, 6):
        with pytest.raises(ValueError, match=f"size={size} must be an odd number of voxels"):
            max_pool(x, size=size)
    with pytest.raises(ValueError, match="outer=4 must be an odd number of voxels"):
        boundary_sums(x, x, inner=3, outer=4)
