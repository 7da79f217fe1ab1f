"""The instance norm that keeps the memory format: values, gradients and parameters of torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medloss.apps.common.compute import placed
from medloss.apps.segmentation.config import Network
from medloss.apps.segmentation.instance_norm import ChannelsLastInstanceNorm, with_fast_norms
from medloss.apps.segmentation.network import build_network

LAST = torch.channels_last_3d


def pair(channels=5):
    torch.manual_seed(0)
    theirs = nn.InstanceNorm3d(channels, eps=1e-3, affine=True)
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours = ChannelsLastInstanceNorm(channels, eps=1e-3, affine=True)
    ours.load_state_dict(theirs.state_dict())
    volume = 3 * torch.randn(2, channels, 6, 5, 7) + 2
    return ours, theirs, volume


@pytest.mark.parametrize("layout", [LAST, torch.contiguous_format])
def test_values_and_gradients_are_those_of_torch(layout):
    ours, theirs, volume = pair()
    cotangent = torch.randn(volume.shape)
    found, expected = [], []
    for norm, results, given in ((ours, found, volume.to(memory_format=layout)), (theirs, expected, volume)):
        given = given.detach().requires_grad_()
        value = norm(given)
        results += [value, *torch.autograd.grad(value, [given, norm.weight, norm.bias], cotangent)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)
    assert found[0].is_contiguous(memory_format=layout) and found[1].is_contiguous(memory_format=layout)


def test_what_it_cannot_serve_goes_to_torch(monkeypatch):
    ours, _, volume = pair()
    called = []
    monkeypatch.setattr(nn.InstanceNorm3d, "forward", lambda own, given: called.append(given.dtype) or given)
    ours(volume)
    ours.double()(volume.double().to(memory_format=LAST))
    assert called == [torch.float32, torch.float64]


def test_one_voxel_has_nothing_to_compare_with():
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        pair()[0](torch.zeros(2, 5, 1, 1, 1).to(memory_format=LAST))


def test_a_network_has_it_everywhere_and_the_same_state():
    network = build_network(Network(channels=[4, 8, 8]), 2)
    norms = [each for each in network.modules() if isinstance(each, nn.InstanceNorm3d)]
    assert norms and all(isinstance(each, ChannelsLastInstanceNorm) for each in norms)
    assert len(list(network.parameters())) == len({id(each) for each in network.parameters()})
    volume = torch.randn(1, 1, 16, 16, 16)
    plain = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4, affine=True))
    fast = placed(
        with_fast_norms(nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4, affine=True))),
        torch.device("cpu"),
    )
    fast.load_state_dict(plain.state_dict())
    torch.testing.assert_close(fast(volume.to(memory_format=LAST)), plain(volume), atol=2e-5, rtol=1e-5)
