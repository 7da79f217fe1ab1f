"""The small operators of image similarities: what opcheck asks, and what each says of maps, masks and reductions."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import global_moments, gradient_alignment, local_correlation, local_moments

SAMPLES = {
    "global_moments": lambda x: (x, x.detach().flip(2), None),
    "local_correlation": lambda x: (x, x.detach().flip(2), None, [1.0, 1.0, 1.0], False, 1e-5, True),
    "gradient_alignment": lambda x: (x, x.detach().flip(2), None, [1.0], 0.1, True, False),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_opcheck(name: str) -> None:
    x = torch.randn(2, 2, 7, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(getattr(torch.ops.medloss, name).default, SAMPLES[name](x))


def test_weighted_moments_by_hand() -> None:
    """Of 1, 2, 9 and 2, 6, 9 with weights 1, 3, 0: means 7/4 and 5, so covariance 3/4, variances 3/16 and 3."""
    x, y = torch.tensor([[[1.0, 2.0, torch.nan]]]), torch.tensor([[[2.0, 6.0, torch.inf]]])
    moments = global_moments(x, y, torch.tensor([[[1.0, 3.0, 0.0]]]))
    torch.testing.assert_close(moments, torch.tensor([[[4.0, 0.75, 0.1875, 3.0]]]))
    assert not global_moments(x, y, torch.zeros(1, 1, 3)).any()


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_square_of_the_correlation_is_that_of_the_moments(renormalise: bool, masked: bool) -> None:
    x, y = (torch.rand(2, 2, 8, 9, dtype=torch.float64) for _ in range(2))
    mask = (torch.rand(2, 1, 8, 9) > 0.3) if masked else None
    options = {"window": [1.0, 2.0, 3.0, 2.0, 1.0], "renormalise": renormalise}
    map = local_correlation(x, y, mask, **options)
    torch.testing.assert_close(map**2, local_moments(x, y, mask, **options))
    torch.testing.assert_close(local_correlation(x, y, mask, **options, reduce=True), map.sum((2, 3)))


def test_gradients_are_those_of_torch() -> None:
    """In the whole volume they are torch.gradient's, one-sided at the border."""
    x, y = (torch.rand(1, 1, 6, 7, 5, dtype=torch.float64) for _ in range(2))
    sizes = (2.0, 0.5, 1.0)
    slopes = [torch.stack(torch.gradient(image[0, 0], spacing=list(sizes))) for image in (x, y)]
    energies = [(slope**2).sum(0) for slope in slopes]
    expected = 1 - (slopes[0] * slopes[1]).sum(0) ** 2 / ((energies[0] + 0.09) * (energies[1] + 0.09))
    scale = [1 / size for size in sizes]
    found = gradient_alignment(x, y, axis_scale=scale, edge=0.3, relative=False)
    torch.testing.assert_close(found[0, 0], expected)
    total = gradient_alignment(x, y, axis_scale=scale, edge=0.3, relative=False, reduce=True)
    torch.testing.assert_close(total, expected.sum().view(1, 1))
    relative = gradient_alignment(x, y, axis_scale=scale, edge=0.3)
    noise = [0.09 * energy.mean() for energy in energies]
    expected = 1 - (slopes[0] * slopes[1]).sum(0) ** 2 / ((energies[0] + noise[0]) * (energies[1] + noise[1]))
    torch.testing.assert_close(relative[0, 0], expected)
