"""The usual losses of a pair without autograd: the same terms and gradient as with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from registration_phantoms import SHAPE, smooth

from medloss.apps.common.config import load_config
from medloss.apps.registration import config as config_module
from medloss.apps.registration.adam import Adam
from medloss.apps.registration.config import ALIKE, Losses, PairConfig
from medloss.apps.registration.direct import Direct, known
from medloss.apps.registration.losses import RegistrationLoss, numbers, total
from medloss.apps.registration.pyramid import resize_field
from medloss.apps.registration.transform import warp

DEFAULT = PairConfig().with_image(ALIKE).loss
FIELDS = {
    "default": DEFAULT.field,
    "folding up to the border": {"jacobian": {"weight": 3.0, "stencil": "all"}},
    "bending and logarithm": {
        "bending_energy": {"weight": 0.5, "border": "interior"},
        "jacobian": {"penalty": "log", "weight": 0.2},
    },
    "curvature": {"curvature": {"weight": 2.0}},
}


def setting(amplitude: float = 2.0):
    images = [torch.tensor(smooth((1, *SHAPE), 1.0, seed, 2.0))[None] for seed in (1, 2)]
    return *images, torch.tensor(smooth((3, *SHAPE), amplitude, 3, 2.0))[None]


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", FIELDS)
def test_terms_and_gradient_are_those_of_autograd(name, masked, coarse):
    fixed, moving, field = setting()
    field = resize_field(field, (12, 11, 13)) if coarse else field
    image = {"lncc": {"kernel_size": 5, "border": "renormalise", "weight": 2.0}, "local": {"name": "lncc"}}
    loss = RegistrationLoss(Losses(image=image, field=FIELDS[name]))
    mask = (torch.rand(fixed.shape, generator=torch.Generator().manual_seed(0)) > 0.3).float() if masked else None
    spacing = (1.0, 2.5, 0.8)
    terms, value, gradient = Direct(loss, fixed, moving, mask, field.shape[2:], spacing)(field)

    field.requires_grad_(True)
    warped = warp(moving, resize_field(field, fixed.shape[2:]))
    wanted = loss.terms(images=(warped, fixed), field=field, spacing=spacing, mask=mask)
    total(wanted).backward()
    assert known(loss) and terms == pytest.approx(numbers(wanted), rel=1e-4) and list(terms) == list(numbers(wanted))
    assert value == pytest.approx(total(wanted).item(), rel=1e-5)
    torch.testing.assert_close(gradient, field.grad, rtol=1e-4, atol=1e-5 * float(field.grad.abs().max()))


@pytest.mark.parametrize(
    "groups",
    [
        {"image": {"mind_ssc": {}}, "field": {"diffusion": {}}},
        {"image": {"lncc": {"signed": True}}},
        {"image": {"lncc": {}}, "field": {"jacobian": {"penalty": "sdlog"}}},
        {"image": {"lncc": {}}, "field": {"field_total_variation": {}}},
        {"image": {"lncc": {}}, "field": {"linear_elasticity": {}}},
        {"image": {"lncc": {}}, "label": {"dice": {}}},
    ],
)
def test_other_losses_go_by_autograd(groups):
    assert not known(RegistrationLoss(Losses(**groups)))
    assert known(RegistrationLoss(DEFAULT))


def test_the_grid_that_carries_the_field():
    """At 1 mm 2 mm are two voxels and at 0.1 mm two voxels are less; a level's own voxel is the least."""
    config = PairConfig()
    assert [config.control_mm(level, 1.0) for level in (4.0, 2.0, 1.0)] == [4.0, 4.0, 2.0]
    assert [config.control_mm(level, 0.1) for level in (0.4, 0.2, 0.1)] == [0.4, 0.4, 0.2]
    assert [config.control_mm(level, 3.0) for level in (6.0, 3.0)] == [6.0, 3.0]
    assert PairConfig(control=1).control_mm(1.0, 1.0) == 1.0 and PairConfig(transform="dvf").control_mm(4.0, 1.0) == 8.0


def test_the_example_is_the_default():
    assert load_config(PairConfig, [Path(config_module.__file__).parent / "examples" / "pair.yaml"]) == PairConfig()


def test_adam_is_torchs():
    start, made = torch.randn(4, 3), torch.Generator().manual_seed(0)
    theirs = start.clone().requires_grad_()
    ours, optimiser = start.clone(), torch.optim.Adam([theirs], eps=1e-12)
    adam = Adam(ours)
    for lr in (0.3, 0.2, 0.1):
        theirs.grad = torch.randn(4, 3, generator=made)
        optimiser.param_groups[0]["lr"] = lr
        optimiser.step()
        adam.step(theirs.grad, lr)
    torch.testing.assert_close(ours, theirs.detach())


def test_a_pair_needs_neither_torchs_compiler_nor_monai(tmp_path):
    """Seconds of processor time at each start of the command."""
    code = (
        "import sys, torch\n"
        "from medloss.apps.registration.pair import register\n"
        "from medloss.apps.registration.config import PairConfig\n"
        "images = torch.rand(2, 12, 12, 12)\n"
        "register(*images, PairConfig(iterations=[1, 1, 1], device='cpu'))\n"
        "print([name for name in ('torch._dynamo', 'monai', 'scipy.stats') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.strip() == "[]"
