"""Optimizers of the applications: torch's numbers and states, without torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from medloss.apps.common import optimizers

KINDS = {
    "SGD": {"lr": 0.1, "momentum": 0.99, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"lr": 0.1, "weight_decay": 0.01},
    "AdamW": {"lr": 0.1, "weight_decay": 0.01},
}

STEPS = """
import sys, torch
from medloss.apps.common import optimizers
for kind in (optimizers.SGD, optimizers.Adam, optimizers.AdamW):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = kind([weight], lr=0.1)
    weight.grad = torch.ones(3)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
print("torch._dynamo" in sys.modules)
"""


def weights_after(kind: Any, steps: int, **options: float) -> tuple[torch.Tensor, dict[str, Any]]:
    """Weights and state after some steps down a bowl, of which half are taken by an optimizer that loads the state."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = kind([weight], **options)
    for step in range(steps):
        if step == steps // 2:
            state, optimizer = optimizer.state_dict(), kind([weight], **options)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        (weight**2 * torch.tensor([1.0, 3.0, 5.0])).sum().backward()
        optimizer.step()
    return weight.detach(), optimizer.state_dict()


@pytest.mark.parametrize("name", KINDS)
def test_weights_and_state_are_those_of_torch(name: str) -> None:
    ours, state = weights_after(getattr(optimizers, name), 4, **KINDS[name])
    theirs, expected = weights_after(getattr(torch.optim, name), 4, **KINDS[name])
    assert torch.equal(ours, theirs)
    assert state["param_groups"] == expected["param_groups"]
    assert all(torch.equal(state["state"][0][key], value) for key, value in expected["state"][0].items())


def test_steps_do_not_import_the_compiler() -> None:
    answer = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False", "a second or more, and 70 MB, for nothing that a training uses"
