"""The distance transform beside SciPy's and brute force, its kernel beside the reference, and what borders are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from medloss.ops import BackendError, backend, border_distance, distance_map, native, nearest_source, signed_distance

needs_library = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
BACKENDS = ["reference", pytest.param("native", marks=needs_library)]
SHAPES = [(1,), (33,), (17, 31), (1, 9), (7, 6, 8), (11, 5, 17)]
SPACINGS = {
    "unit": (1.0, 1.0, 1.0),
    "cubic": (0.7, 0.7, 0.7),
    "thick slices": (0.7, 1.3, 5.1),
    "dyadic": (0.5, 2.0, 1.0),
}


def sources_of(shape: tuple[int, ...], density: float, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(seed)) < density


def places(shape: tuple[int, ...], spacing: list[float]) -> np.ndarray:
    """Where each voxel lies, V d."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(-1, len(shape)) * spacing


@pytest.mark.parametrize("name", ["distance_map", "nearest_source"])
def test_opcheck(name: str) -> None:
    arguments = (sources_of((6, 7), 0.2), [1.0, 2.5])
    arguments += (torch.float64,) if name == "distance_map" else ()
    torch.library.opcheck(getattr(torch.ops.medloss, name).default, arguments)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("path", BACKENDS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_distances_are_those_of_scipy(shape: tuple[int, ...], spacing: str, path: str) -> None:
    sizes = list(SPACINGS[spacing][-len(shape) :])
    for density in (0.02, 0.3, 0.9):
        sources = sources_of(shape, density)
        with backend(path):
            distance = distance_map(sources, sizes, torch.float64)
            assert torch.equal(distance_map(sources, sizes), distance.float())
        for b, c in itertools.product(range(2), range(3)):
            outside = ~sources[b, c].numpy()
            expected = np.zeros(shape) if outside.all() else distance_transform_edt(outside, sampling=sizes)
            np.testing.assert_allclose(distance[b, c].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("path", BACKENDS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_nearest_source_is_the_first_of_the_nearest(shape: tuple[int, ...], spacing: str, path: str) -> None:
    """By brute force over all pairs; where rounding decides between two distances, the nearest still is nearest."""
    sizes = list(SPACINGS[spacing][-len(shape) :])
    where = places(shape, sizes)
    for density in (0.05, 0.5):
        sources = sources_of(shape, density).flatten(0, 1)
        with backend(path):
            found = nearest_source(sources[None], sizes)[0]
        for mask, index in zip(sources.flatten(1).numpy(), found.flatten(1).numpy()):
            if not mask.any():
                assert (index == -1).all()
                continue
            candidates = np.flatnonzero(mask)
            pairs = ((where[:, None] - where[candidates]) ** 2).sum(-1)
            assert mask[index].all()
            np.testing.assert_allclose(((where - where[index]) ** 2).sum(-1), pairs.min(1), rtol=1e-12)
            if spacing in ("unit", "dyadic"):
                np.testing.assert_array_equal(index, candidates[pairs.argmin(1)])


@pytest.mark.parametrize("path", BACKENDS)
def test_no_source_and_nothing_but_sources(path: str) -> None:
    sources = torch.zeros(1, 2, 4, 5, dtype=torch.bool)
    sources[0, 1] = True
    with backend(path):
        assert not distance_map(sources).any()
        assert (nearest_source(sources)[0, 0] == -1).all()
        assert torch.equal(nearest_source(sources)[0, 1].flatten(), torch.arange(20))


def test_four_dimensions_have_the_reference() -> None:
    sources = sources_of((3, 4, 2, 5), 0.1)
    expected = distance_transform_edt(~sources[1, 1].numpy(), sampling=[1, 2, 3, 4])
    np.testing.assert_allclose(distance_map(sources, [1, 2, 3, 4], torch.float64)[1, 1].numpy(), expected, rtol=1e-12)
    with backend("native"), pytest.raises(BackendError, match="4 spatial axes, the kernel takes 1 to 3"):
        distance_map(sources)


@needs_library
def test_strides_and_threads_change_nothing() -> None:
    sources = sources_of((20, 30, 40), 0.01)
    expected = distance_map(sources)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(distance_map(sources), expected)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(distance_map(sources.movedim(2, 4)), expected.movedim(2, 4))
    assert torch.equal(nearest_source(sources.repeat_interleave(2, 3)[:, :, :, ::2]), nearest_source(sources))


def test_no_gradient_flows_through_a_distance() -> None:
    probability = torch.rand(1, 1, 6, 6, requires_grad=True)
    assert not distance_map(probability > 0.5).requires_grad


def test_borders_by_hand() -> None:
    """Voxels of 2 x 3 mm with one row inside: to the other side it is 2 mm across, and 3 mm along where it ends."""
    inside = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    inside[..., 1, :2] = True
    spacing = [2.0, 3.0]
    diagonal = 13**0.5
    expected = torch.tensor([[2, 2, diagonal, 40**0.5], [2, 2, 3, 6], [2, 2, diagonal, 40**0.5]])
    torch.testing.assert_close(border_distance(inside, None, spacing)[0, 0], expected)
    expected[1, :2] = 0  # on the inner side of the border
    torch.testing.assert_close(signed_distance(inside, None, spacing)[0, 0], expected)


def test_what_does_not_count_is_on_neither_side() -> None:
    inside = torch.tensor([[[True, True, True, False, False, True]]])
    valid = torch.tensor([[[True, True, True, False, True, False]]])
    assert border_distance(inside, valid).tolist() == [[[4, 3, 2, 0, 2, 0]]]
    assert border_distance(inside, valid & inside).tolist() == [[[0] * 6]]  # no voxel outside is left


def test_empty_and_full_regions_have_no_border() -> None:
    for inside in (torch.zeros(1, 1, 3, 3, dtype=torch.bool), torch.ones(1, 1, 3, 3, dtype=torch.bool)):
        assert not border_distance(inside).any()
        assert not signed_distance(inside, None, [0.5, 0.5]).any()


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 3, 190), (3, 600)])
def test_borders_are_those_of_the_reference(shape: tuple[int, ...], spacing: str) -> None:
    """Both sides in one transform: cells of 16 bits, of 32 (whole squares, large volumes) and doubles."""
    sizes = list(SPACINGS[spacing][-len(shape) :])
    for density in (0.0, 0.002, 0.4, 0.97, 1.0):
        inside = sources_of(shape, density) if density < 1 else torch.ones(2, 3, *shape, dtype=torch.bool)
        results = []
        for path in ("reference", "native"):
            with backend(path):
                whole = [signed_distance(inside, None, sizes), border_distance(inside, None, sizes, squared=True)]
                results.append([*whole, border_distance(inside, None, sizes, torch.float64)])
        torch.testing.assert_close(*results, rtol=1e-6, atol=1e-5)
        torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-12, atol=0)


@needs_library
def test_cells_of_each_width_agree() -> None:
    """A volume of cubic voxels, with steps that are whole but large, and with steps that are none."""
    inside = sources_of((9, 10, 40), 0.05)
    for factor, sizes in ((1, [2.0, 1, 3]), (1, [50.0, 1, 150]), (1.1, [2.2, 1.1, 3.3])):
        where = [size / factor for size in sizes]
        found = border_distance(inside, None, sizes, torch.float64) / factor
        for b, c in itertools.product(range(2), range(3)):
            region = inside[b, c].numpy()
            both = [distance_transform_edt(side, sampling=where) for side in (region, ~region)]
            np.testing.assert_allclose(found[b, c].numpy(), both[0] + both[1], rtol=1e-12)


def test_opcheck_of_borders() -> None:
    arguments = (sources_of((6, 7), 0.2), [1.0, 2.5], torch.float32, "signed")
    torch.library.opcheck(torch.ops.medloss.border_distance.default, arguments)
