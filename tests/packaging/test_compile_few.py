"""A few losses in one graph: what ``make test-oldest`` asks of the oldest torch."""

from __future__ import annotations

import pytest
import torch

import medloss

LOSSES = (
    medloss.DiceCELoss(softmax=True, to_onehot_y=True),
    medloss.TverskyLoss(sigmoid=True, to_onehot_y=True, include_background=False),
    medloss.FocalLoss(to_onehot_y=True),
    medloss.MSELoss(),
    medloss.SSIMLoss(),
    medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=3),
    medloss.BendingEnergyLoss(),
)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_one_graph_has_the_value_and_gradient(loss: medloss.Loss, masked: bool) -> None:
    torch._dynamo.reset()
    shape = (12, 13)
    input = torch.rand(2, 2, *shape, requires_grad=True)
    mask = (torch.rand(2, 1, *shape) > 0.3) if masked else None
    if isinstance(loss, medloss.FieldLoss):
        tensors = [input]
    else:
        labels = torch.randint(0, 2, (2, 1, *shape))
        tensors = [input, labels if isinstance(loss, medloss.LabelLoss) else torch.rand(2, 2, *shape)]
    found = []
    for function in (torch.compile(loss, fullgraph=True, backend="aot_eager"), loss):
        value = function(*tensors, mask=mask)
        found.append((value.detach(), *torch.autograd.grad(value, input)))
    torch.testing.assert_close(*found)
