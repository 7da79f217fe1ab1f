"""What no interpreter shows, on a real GPU: large volumes, offsets beyond 32 bits, races, synchronisation.

The parity tests beside this file run on a GPU, too, where there is one; these are the ones that need it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from triton_harness import compare, value_and_gradient

import medloss
from medloss.ops import Terms
from medloss.ops.confusion import OPERATOR as CONFUSION
from medloss.ops.region_sums import OPERATOR

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
ALL = int(Terms.SQUARES | Terms.DIFFERENCE | Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL)


def free_memory() -> int:
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(("classes", "edge"), [(2, 128), (4, 97), (14, 96), (105, 40), (250, 31)])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_large_volumes(activation: str, classes: int, edge: int, dtype: torch.dtype) -> None:
    x = (4 * torch.randn(2, classes, edge, edge, edge, device="cuda")).to(dtype)
    labels = torch.randint(-1, classes + 1, (2, 1, edge, edge, edge), device="cuda")
    mask = (torch.rand_like(labels, dtype=torch.float32) > 0.3) * torch.rand_like(labels, dtype=torch.float32)
    for weight, terms in ((None, int(Terms.LIKELIHOOD)), (mask, ALL)):
        args = (x, labels, weight, activation, True, -1 if weight is not None else None, terms, 2.0)
        compare(OPERATOR, args, scale=5)
        last = x.movedim(1, -1).contiguous().movedim(-1, 1)
        compare(OPERATOR, (last, *args[1:]), scale=5)
        first, second = (value_and_gradient(OPERATOR, "triton", args) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("classes", "edge"), [(3, 97), (14, 96), (105, 40)])
def test_large_confusion(classes: int, edge: int) -> None:
    x = 4 * torch.randn(2, classes, edge, edge, edge, device="cuda")
    labels = torch.randint(-1, classes + 1, (2, 1, edge, edge, edge), device="cuda")
    weight = torch.rand(2, 1, edge, edge, edge, device="cuda")
    for args in (
        (x, labels, weight, "softmax", True, -1),
        (x[:, :60], x[:, :60].sigmoid(), None, "sigmoid", False, None),
    ):
        compare(CONFUSION, args, scale=5)
        first, second = (value_and_gradient(CONFUSION, "triton", args) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.skipif(free_memory() < 20 * 2**30, reason="needs 20 GB of a GPU's memory")
def test_offsets_beyond_32_bits() -> None:
    """The whole is the sum of its halves, which are views of it; the classes' offsets alone pass 2**31."""
    x = torch.empty(1, 65, 330, 330, 330, dtype=torch.bfloat16, device="cuda").normal_()
    assert x.numel() > 2**31
    labels = torch.randint(0, 65, (1, 1, 330, 330, 330), dtype=torch.uint8, device="cuda")
    options = (None, "softmax", True, None, int(Terms.LIKELIHOOD), 0.0)
    path, cotangent = OPERATOR.paths[-1], torch.randn(1, 65, 12, device="cuda")
    whole, gradient = (
        path.forward(OPERATOR.arguments(x, labels, *options)),
        path.backward(cotangent, OPERATOR.arguments(x, labels, *options)),
    )
    halves = [(x[:, :, part].clone(), labels[:, :, part]) for part in (slice(0, 165), slice(165, None))]
    torch.testing.assert_close(
        whole, sum(path.forward(OPERATOR.arguments(*half, *options)) for half in halves), rtol=1e-5, atol=1e-2
    )
    for half, part in zip(halves, (slice(0, 165), slice(165, None)), strict=True):
        assert torch.equal(path.backward(cotangent, OPERATOR.arguments(*half, *options)), gradient[:, :, part])


def test_a_loss_never_waits_for_the_gpu() -> None:
    loss = medloss.DiceCELoss(softmax=True, to_onehot_y=True)
    x = torch.randn(2, 4, 33, 34, 35, device="cuda", requires_grad=True)
    labels = torch.randint(0, 4, (2, 1, 33, 34, 35), device="cuda")
    assert medloss.explain(loss, x, labels).startswith("region_sums: triton")
    loss(x, labels).backward()  # compiled by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, labels).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    compiled = torch.compile(loss, fullgraph=True)
    torch.testing.assert_close(compiled(x, labels), loss(x, labels))


STEPS = {
    "dice_ce": (lambda: medloss.DiceCELoss(softmax=True, to_onehot_y=True), 4),
    "focal": (lambda: medloss.FocalLoss(softmax=True, to_onehot_y=True), 4),
    "lovasz": (lambda: medloss.LovaszSoftmaxLoss(to_onehot_y=True), 4),
    "lncc": (lambda: medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=5), 1),
    "mutual_information": (lambda: medloss.GlobalMutualInformationLoss(), 1),
    "bending": (lambda: medloss.BendingEnergyLoss(), 3),
    "jacobian": (lambda: medloss.JacobianLoss(), 3),
}


def step_of(name: str) -> tuple[torch.Tensor, Callable[[torch.Tensor], tuple[torch.Tensor, ...]]]:
    """An input, and what makes value and gradient of one."""
    make, channels = STEPS[name]
    x, loss = torch.rand(2, channels, 20, 24, 28, device="cuda"), make()
    rest = {4: [torch.randint(0, 4, (2, 1, 20, 24, 28), device="cuda")], 1: [torch.rand_like(x)], 3: []}[channels]

    def step(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        value = loss(x, *rest)
        return value, *torch.autograd.grad(value, x)

    return x.requires_grad_(), step


@pytest.mark.parametrize("name", STEPS)
def test_a_step_on_another_stream_and_in_a_recorded_graph(name: str) -> None:
    """A replay computes from what the input holds by then."""
    x, step = step_of(name)
    expected, stream = step(x), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            found = step(x)
    torch.cuda.current_stream().wait_stream(stream)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = step(x)
    with torch.no_grad():
        x.copy_(torch.rand_like(x))
    graph.replay()
    torch.testing.assert_close(recorded, step(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["dice_ce", "lncc", "bending"])
def test_a_compiled_step_in_another_layout(name: str) -> None:
    x, step = step_of(name)
    last = x.detach().contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    torch.testing.assert_close(torch.compile(step, fullgraph=False)(last), step(x), rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_tensors_gpu_need_not_be_the_current_one() -> None:
    labels = torch.randint(0, 3, (1, 1, 9, 9), device="cuda:1")
    compare(OPERATOR, (torch.randn(1, 3, 9, 9, device="cuda:1"), labels, None, "softmax", True, None, 4, 0.0))
