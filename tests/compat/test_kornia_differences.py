"""Every known difference from kornia: its number or its exception, and ours, side by side."""

from __future__ import annotations

import kornia.core.check
import kornia.core.exceptions
import kornia.losses
import pytest
import torch
from kornia_pairs import labelled, outcome
from peer_differences import KNOWN_DIFFERENCES, Difference
from peer_differences.kornia import DIFFERENCES

import medloss
import medloss.compat.kornia as losses
from medloss.compat.kornia import base

LOGITS, LABELS = labelled(0, (2, 3, 6, 7))


def close(value, expected, **tolerance):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), **tolerance)


def test_every_difference_is_shown_and_every_test_is_of_one():
    keys = [row.key for row in DIFFERENCES]
    tests = {name.removeprefix("test_d_").replace("_", "-") for name in globals() if name.startswith("test_d_")}
    assert len(set(keys)) == len(keys)
    assert set(keys) == tests
    assert all(isinstance(row, Difference) and all(row) and row.peer == "kornia" for row in DIFFERENCES)
    assert set(DIFFERENCES) <= set(KNOWN_DIFFERENCES)


def test_d_cancelled_variance():
    x, y = (1000 + torch.rand(1, 1, 20, 20) for _ in range(2))
    double = kornia.losses.ssim_loss(x.double(), y.double(), 11)
    assert (kornia.losses.ssim_loss(x, y, 11) - double).abs() > 0.03
    close(losses.ssim_loss(x, y, 11).double(), double, rtol=1e-2, atol=1e-3)


def test_d_similarity_eps():
    black = torch.zeros(1, 1, 12, 12)
    close(kornia.losses.ssim_loss(black, black, 11), 5.6e-6, rtol=0.02, atol=0)
    assert losses.ssim_loss(black, black, 11) == 0
    for package in (losses, kornia.losses):
        close(package.ssim_loss(black, black, 11, eps=9e-8), 0.25, rtol=1e-4, atol=0)  # c1 c2 = 9e-8: 1 - 1/2, halved


def test_d_equal_images():
    x = torch.rand(2, 3)
    for package, slope in ((kornia.losses, torch.nan), (losses, 0.0)):
        value, gradients = outcome(package.PSNRLoss(1.0), (x, x.clone()))
        assert value == -torch.inf
        close(gradients[0], torch.full_like(x, slope), equal_nan=True)


def test_d_no_range():
    x, y = torch.rand(2, 3), torch.rand(2, 3)
    assert kornia.losses.psnr_loss(x, y, 0.0) == torch.inf
    with pytest.raises(ValueError):
        losses.psnr_loss(x, y, 0.0)


def test_d_half_errors():
    x, y = torch.full((4,), 1000.0, dtype=torch.float16), torch.zeros(4, dtype=torch.float16)
    assert kornia.losses.psnr_loss(x, y, 1000.0) == torch.inf
    close(losses.psnr_loss(x, y, 1000.0), 0.0, rtol=0, atol=1e-2)


def test_d_bytes():
    x, y = torch.tensor([2], dtype=torch.uint8), torch.tensor([3], dtype=torch.uint8)
    found = [package.cauchy_loss(x, y) for package in (kornia.losses, losses)]
    close(found[0], [0.4055], rtol=1e-3, atol=0)  # 255^2 = 1 again: two faults that cancel out, but not for 2 and 18
    close(found[1], [0.4055], rtol=1e-3, atol=0)
    found = [package.cauchy_loss(x, y + 15) for package in (kornia.losses, losses)]
    close(found[0], [0.0])  # 16^2 = 256 is 0
    close(found[1], [4.8598], rtol=1e-3, atol=0)  # log(1 + 256 / 2)


def test_d_one_pixel_axis():
    depth, image = torch.tensor([[[[0.0, 2.0, 2.0]]]]), torch.tensor([[[[0.0, 1.0, 1.0]]]])
    assert kornia.losses.inverse_depth_smoothness_loss(depth, image).isnan()
    close(losses.inverse_depth_smoothness_loss(depth, image), 0.3679, rtol=1e-3, atol=0)  # 2 exp(-1) / 2


@pytest.mark.parametrize("name", ["dice_loss", "tversky_loss", "binary_focal_loss_with_logits", "focal_loss"])
def test_d_ignored_nan(name):
    options = {"tversky_loss": (0.3, 0.7), "focal_loss": (0.3, 2.0, "sum"), "dice_loss": ("macro",)}.get(name, ())
    options = (0.3, 2.0, "sum") if name.startswith("binary") else options
    labels = LABELS.clone() if not name.startswith("binary") else (LOGITS > 0).long()
    labels[..., 0] = -100
    logits = LOGITS.clone()
    logits[..., 0] = torch.nan
    theirs = getattr(kornia.losses, name)(logits, labels, *options)
    assert theirs.isnan() or name == "focal_loss"
    value, (gradient,) = outcome(lambda x: getattr(losses, name)(x, labels, *options), (logits,))
    close(value, getattr(kornia.losses, name)(LOGITS, labels, *options), rtol=1e-4, atol=1e-6)
    assert gradient.isfinite().all() and (gradient[..., 0] == 0).all()


def test_d_error_classes():
    for name in ("BaseError", "ShapeError", "TypeCheckError", "DeviceError"):
        ours, theirs = getattr(base, name), getattr(kornia.core.exceptions, name)
        assert ours is not theirs
        for kind in (ValueError, TypeError, Exception):
            assert issubclass(ours, kind) >= issubclass(theirs, kind)
    for package, kind in ((kornia.losses, kornia.core.exceptions.BaseError), (losses, base.BaseError)):
        with pytest.raises(kind) as caught:
            package.dice_loss(LOGITS, LABELS, "average")
        assert isinstance(caught.value, ValueError) == (package is losses)


def test_d_checks_off():
    kornia.core.check.disable_checks()
    try:
        with pytest.raises(NotImplementedError):  # which a check would have told before
            kornia.losses.cauchy_loss(LOGITS, LOGITS, "average")
        with pytest.raises(base.CheckError):
            losses.cauchy_loss(LOGITS, LOGITS, "average")
    finally:
        kornia.core.check.enable_checks()


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_d_labels_on_a_gpu(device):
    labels = LABELS.clone()
    labels[0, 0, 0] = 7
    if device == "cpu":
        for package in (kornia.losses, losses):
            with pytest.raises(RuntimeError):
                package.dice_loss(LOGITS, labels)
        return
    value = losses.focal_loss(LOGITS.cuda(), labels.cuda(), None, 2.0, "sum").cpu()
    ignored = torch.where(labels == 7, -100, labels)
    close(value, losses.focal_loss(LOGITS, ignored, None, 2.0, "sum"))
    with medloss.check_values(), pytest.raises(ValueError, match="outside"):
        losses.lovasz_softmax_loss(LOGITS.cuda(), labels.cuda())


def test_d_complex_images():
    image = torch.rand(4, 5, dtype=torch.complex64)
    assert kornia.losses.total_variation(image) > 0
    for name, args in (
        ("total_variation", (image,)),
        ("psnr_loss", (image, image, 1.0)),
        ("cauchy_loss", (image,) * 2),
    ):
        with pytest.raises(TypeError, match="complex"):
            getattr(losses, name)(*args)


@pytest.mark.filterwarnings("ignore")
def test_d_torchscript():
    scripted = torch.jit.script(kornia.losses.WelschLoss("sum"))
    close(scripted(LOGITS, LOGITS + 1), losses.WelschLoss("sum")(LOGITS, LOGITS + 1))
    with pytest.raises(Exception):  # noqa: B017 - the type is PyTorch's matter
        torch.jit.script(losses.WelschLoss("sum"))


def test_d_helper_methods():
    for kind, name in (("HausdorffERLoss", "perform_erosion"), ("MILossFromRef", "fix_mask")):
        assert hasattr(getattr(kornia.losses, kind), name)
        assert not hasattr(getattr(losses, kind), name)
    loss = losses.HausdorffERLoss()
    close(loss.get_kernel(), kornia.losses.HausdorffERLoss().get_kernel())
    close(losses.HausdorffERLoss3D().kernel, kornia.losses.HausdorffERLoss3D().kernel)
    assert losses.MILossFromRef2D.arrange_shape(LOGITS).shape == (2, 3, 42)
