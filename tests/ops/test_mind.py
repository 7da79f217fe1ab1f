"""The descriptors of self-similarity: what opcheck asks, the definition voxel by voxel, and slabs."""

from __future__ import annotations

import itertools

import pytest
import torch

from medloss.ops import mind
from medloss.ops.mind import reference
from medloss.ops.mind.reference import pairs_of


def test_opcheck() -> None:
    x = torch.rand(2, 2, 9, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.medloss.mind.default, (x, x.detach().flip(2), None, 1, 1, "squared", False))


@pytest.mark.parametrize(("rank", "count"), [(1, 2), (2, 4), (3, 12)])
def test_the_pairs(rank: int, count: int) -> None:
    """In 2D and 3D those of neighbours that touch: a square root of two apart."""
    pairs = pairs_of(rank)
    assert len(pairs) == len({frozenset(pair) for pair in pairs}) == count
    for p, q in pairs:
        assert sum((a - b) ** 2 for a, b in zip(p, q)) == (1 if rank == 1 else 2)


def descriptors(image: torch.Tensor, seen: torch.Tensor, radius: int, dilation: int) -> list[dict[int, float]]:
    """Each voxel's entries by pair, [spatial], in plain Python: the definition read aloud."""
    pairs, rank = pairs_of(image.ndim), image.ndim
    inside = {voxel: image[voxel].item() for voxel in itertools.product(*map(range, image.shape)) if seen[voxel]}
    patch = list(itertools.product(range(-radius, radius + 1), repeat=rank))
    above = {}
    for voxel in inside:
        distances = {}
        for k, (p, q) in enumerate(pairs):
            squares = []
            for offset in patch:
                one, two = (
                    tuple(v + dilation * s + o for v, s, o in zip(voxel, step, offset)) for step in (p, q)
                )  # fmt: skip
                if one in inside and two in inside:
                    squares.append((inside[one] - inside[two]) ** 2)
            if squares:
                distances[k] = sum(squares) / len(squares)
        least = min(distances.values(), default=0.0)
        above[voxel] = {k: value - least for k, value in distances.items()}
    noise = {voxel: sum(entries.values()) / max(1, len(entries)) for voxel, entries in above.items()}
    mean = sum(noise.values()) / len(noise)
    result = {}
    for voxel, entries in above.items():
        scale = torch.tensor(min(max(noise[voxel], 1e-3 * mean), 1e3 * mean), dtype=torch.float64)
        result[voxel] = {k: torch.exp(-value / scale).item() for k, value in entries.items()}
    return result


@pytest.mark.parametrize(
    ("shape", "radius", "dilation"), [((9,), 1, 2), ((6, 5), 1, 1), ((5, 6), 0, 2), ((4, 5, 4), 1, 1)]
)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("penalty", ["squared", "absolute"])
def test_the_definition(shape: tuple[int, ...], radius: int, dilation: int, masked: bool, penalty: str) -> None:
    x, y = torch.rand(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    x[: shape[0] // 2] *= 0.01  # so flat that the least noise is in force
    seen = torch.rand(shape) > 0.3 if masked else torch.ones(shape, dtype=torch.bool)
    expected = torch.zeros(shape, dtype=torch.float64)
    one, two = (descriptors(image, seen, radius, dilation) for image in (x, y))
    for voxel, entries in one.items():
        gaps = [abs(value - two[voxel][k]) ** (2 if penalty == "squared" else 1) for k, value in entries.items()]
        expected[voxel] = sum(gaps) / max(1, len(gaps))
    mask = seen[None, None] if masked else None
    found = mind(x[None, None], y[None, None], mask, radius=radius, dilation=dilation, penalty=penalty)
    torch.testing.assert_close(found[0, 0], expected)


@pytest.mark.parametrize("reduce", [False, True])
def test_slabs_change_nothing(reduce: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value, gradients and second derivatives, with a few planes of the volume at a time."""
    x, y = (torch.rand(1, 2, 7, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = (torch.rand(1, 1, 7, 4, 4) > 0.2).double()

    def run() -> tuple[torch.Tensor, ...]:
        values = mind(x, y, mask, radius=1, dilation=1, reduce=reduce)
        cotangent = torch.randn(values.shape, generator=torch.Generator().manual_seed(3)).to(values.dtype)
        first = torch.autograd.grad(values, (x, y), cotangent, create_graph=True)
        return (values, *first, *torch.autograd.grad(first[0].square().sum(), (x, y)))

    expected = run()
    monkeypatch.setattr(reference, "CHUNK", 12 * 2 * 16 * 3)  # three planes
    torch.testing.assert_close(run(), expected)
