"""``components`` in Triton: the numbers of the reference. What threads do to each other is shown by a GPU alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, move

from medloss.ops import BackendError, backend, components
from medloss.ops.components import OPERATOR
from medloss.ops.components import triton_launch as path

DENSITIES = torch.tensor([0.0, 0.2, 0.5, 1.0])


def compare(mask: Tensor, connectivity: int | None = None) -> Tensor:
    """Triton gives the reference's numbers."""
    (mask,) = move((mask,))
    with backend("reference"):
        expected = components(mask, connectivity)
    with backend("triton"):
        found = components(mask, connectivity)
    assert found.dtype == torch.int64
    assert torch.equal(found, expected)
    return found


def noise(*shape: int) -> Tensor:
    """A channel of each density."""
    return torch.rand(1, len(DENSITIES), *shape) < DENSITIES.view(-1, *[1] * len(shape))


@pytest.mark.parametrize(
    ("shape", "connectivity"),
    [((1,), 1), ((150,), 1), ((1, 9), 1), ((9, 1), 2), ((13, 11), 1), ((13, 11), 2)]
    + [((3, 5, 6), connectivity) for connectivity in (1, 2, 3)],
    ids=str,
)
def test_equals_the_reference(shape, connectivity, monkeypatch) -> None:
    """Tiles that cut runs and rows, and end behind the last voxel."""
    monkeypatch.setattr(path, "TILE", 64)
    monkeypatch.setattr(path, "PAIRS_TILE", 64)
    compare(noise(*shape), connectivity)


def test_a_winding_path_is_one_component(monkeypatch) -> None:
    """Links of links of links, through all tiles and back."""
    monkeypatch.setattr(path, "TILE", 64)
    mask = torch.zeros(1, 1, 17, 17, dtype=torch.bool)
    mask[..., ::2, :] = True
    for row in range(1, 17, 2):
        mask[..., row, -1 if row % 4 == 1 else 0] = True
    mask = torch.cat([mask, mask.flip(-1), mask.mT, mask.mT.flip(-1)])
    assert compare(mask, 1).amax() == 1
    mask[..., 8, 8] = False
    assert compare(mask, 1).amax() == 2


def test_strides_and_batches() -> None:
    mask = torch.rand(2, 6, 5, 3, 2) < 0.4
    compare(mask.movedim(-1, 1))
    compare(mask[:, ::2, :, 1])


def test_reasons() -> None:
    mask = torch.zeros(1, 1, 2, 3, 2, 2, dtype=torch.bool)
    for args, why in (
        ((mask, 3), "4 spatial axes, the kernel takes 1 to 3"),
        ((mask[0].long(), 3), "mask is torch.int64"),
        ((mask[0], 0), "connectivity is 0"),
        ((mask[0, :, :0], 1), "there are no voxels"),
    ):
        with backend("triton"), pytest.raises(BackendError, match=why):
            OPERATOR(*move(args))


def shapes(edge: int) -> Tensor:
    """Noise about where it first hangs together, a ball, and two combs whose teeth meet in the first or last row."""
    at = torch.linspace(-1, 1, edge)
    ball = (at**2 + at[:, None] ** 2 + at[:, None, None] ** 2 < 0.9).expand(edge, edge, edge)
    comb = torch.zeros(2, edge, edge, edge, dtype=torch.bool)
    comb[..., ::2] = True
    comb[0, 0, 0], comb[1, -1, -1] = True, True
    percolating = torch.rand(3, edge, edge, edge) < torch.tensor([0.1, 0.32, 0.5])[:, None, None, None]
    return torch.cat([percolating, ball[None], comb])[None]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_large_volumes_on_a_gpu(connectivity: int) -> None:
    """The numbers of the reference, the same however threads come; and the host does not wait."""
    mask = shapes(161).cuda()
    first = compare(mask, connectivity)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with backend("triton"):
            others = [components(mask, connectivity) for _ in range(10)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < 40 * 2**30, reason="needs 40 GB of a GPU's memory"
)
def test_offsets_beyond_32_bits() -> None:
    """The last of many volumes, whose offset is beyond 2^31, is as it is alone."""
    last = torch.rand(1, 1, 256, 256, 256, device="cuda") < 0.3
    mask = last.repeat(1, 129, 1, 1, 1)
    found = OPERATOR.paths[-1].forward(OPERATOR.arguments(mask, 1))
    assert torch.equal(found[:, -1:], OPERATOR.paths[-1].forward(OPERATOR.arguments(last, 1)))


def launch(*shape: int) -> Launch:
    """A call on a mask that is never written."""
    return Launch(
        lambda: OPERATOR.paths[-1].forward(OPERATOR.arguments(torch.empty(2, 3, *shape, dtype=torch.bool), len(shape))),
        wide=0,
    )


LAUNCHES = {"volumes": launch(96, 96, 96), "images": launch(333, 512)}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
