"""Connected components beside SciPy's, to the number, and the kernel beside the reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import generate_binary_structure, label

from medloss.ops import BackendError, backend, components, native

needs_library = pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
BACKENDS = ["reference", pytest.param("native", marks=needs_library)]


def test_opcheck() -> None:
    torch.library.opcheck(torch.ops.medloss.components.default, (torch.rand(2, 2, 6, 7) > 0.5, 2))


@pytest.mark.parametrize("path", BACKENDS)
@pytest.mark.parametrize("connectivity", [1, 2, None])
@pytest.mark.parametrize("shape", [(1,), (40,), (17, 31), (1, 7), (6, 7, 8), (12, 9, 11)])
def test_numbers_are_those_of_scipy(shape: tuple[int, ...], connectivity: int | None, path: str) -> None:
    structure = generate_binary_structure(len(shape), connectivity or len(shape))
    for density in (0.0, 0.15, 0.4, 0.6, 1.0):
        mask = torch.rand(2, 2, *shape) < density
        with backend(path):
            found = components(mask, connectivity)
        assert found.dtype == torch.int64
        for b, c in itertools.product(range(2), range(2)):
            np.testing.assert_array_equal(found[b, c].numpy(), label(mask[b, c].numpy(), structure)[0])


@pytest.mark.parametrize("path", BACKENDS)
def test_a_winding_path_is_one_component(path: str) -> None:
    """The number of rounds must not be that of the neighbours which a voxel sees."""
    mask = torch.zeros(1, 1, 33, 33, dtype=torch.bool)
    mask[..., ::2, :] = True
    for row in range(1, 33, 2):
        mask[..., row, -1 if row % 4 == 1 else 0] = True
    with backend(path):
        assert components(mask, 1).max() == 1
        mask[..., 16, 16] = False
        assert components(mask, 1).max() == 2


def test_strides_and_more_axes() -> None:
    mask = torch.rand(2, 2, 5, 6, 7) < 0.4
    permuted = mask.movedim(2, 4).contiguous().movedim(4, 2)
    assert torch.equal(components(permuted), components(mask))
    many = torch.rand(1, 1, 3, 4, 3, 4) < 0.3
    np.testing.assert_array_equal(components(many)[0, 0].numpy(), label(many[0, 0].numpy(), np.ones([3] * 4))[0])
    with backend("native"), pytest.raises(BackendError, match="4 spatial axes, the kernel takes 1 to 3"):
        components(many)
