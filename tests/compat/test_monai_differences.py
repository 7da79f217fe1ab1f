"""Every known difference from MONAI: its number or its exception, and ours, side by side."""

from __future__ import annotations

import importlib
import math
from types import SimpleNamespace

import monai.losses
import numpy as np
import pytest
import torch
from monai_pairs import call, segmentation
from peer_differences import KNOWN_DIFFERENCES, Difference
from peer_differences.monai import DIFFERENCES

import medloss
import medloss.compat.monai as losses

LOGITS, LABELS = segmentation(0, (6, 7), classes=3)
MEMBERS = torch.nn.functional.one_hot(LABELS[:, 0], 3).movedim(-1, 1).float()
INPUT = torch.softmax(LOGITS, 1)


def pair(name, *args, **options):
    """The loss of either package."""
    return SimpleNamespace(
        ours=getattr(losses, name)(*args, **options), theirs=getattr(monai.losses, name)(*args, **options)
    )


def close(value, expected, **tolerance):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), **tolerance)


def test_every_difference_is_shown_and_every_test_is_of_one():
    keys = [row.key for row in DIFFERENCES]
    tests = {name.removeprefix("test_d_").replace("_", "-") for name in globals() if name.startswith("test_d_")}
    assert len(set(keys)) == len(keys)
    assert set(keys) == tests
    assert all(isinstance(row, Difference) and all(row) and row.peer == "monai" for row in DIFFERENCES)
    assert set(DIFFERENCES) <= set(KNOWN_DIFFERENCES)


# ---- numbers


def test_d_focal_ignored_mean():
    plain = monai.losses.FocalLoss(to_onehot_y=True)(LOGITS, LABELS)
    both = pair("FocalLoss", to_onehot_y=True, ignore_index=255)  # nothing is
    close(both.theirs(LOGITS, LABELS), 3 * plain)
    close(both.ours(LOGITS, LABELS), plain)
    ignored = torch.where(torch.arange(7) < 3, 255, LABELS)
    close(both.ours(LOGITS, ignored), monai.losses.FocalLoss(to_onehot_y=True)(LOGITS[..., 3:], LABELS[..., 3:]))


@pytest.mark.parametrize("name", ["DiceLoss", "TverskyLoss", "FocalLoss", "MaskedDiceLoss", "MaskedLoss"])
def test_d_masked_nan(name):
    logits = LOGITS.clone()
    logits[..., 0] = torch.nan
    mask, labels = torch.ones(2, 1, 6, 7), LABELS.clone()
    mask[..., 0], labels[..., 0] = 0, 255
    options = {"to_onehot_y": True} | ({} if name == "FocalLoss" else {"softmax": True})
    if name == "MaskedLoss":
        both, tensors = pair(name, torch.nn.MSELoss()), (logits, MEMBERS, mask)
    elif name == "MaskedDiceLoss":
        both, tensors = pair(name, **options), (logits, LABELS, mask)
    else:
        both, tensors = pair(name, **options, ignore_index=255), (logits, labels)
    assert call(both.theirs, *tensors).value.isnan()
    ours = call(both.ours, *tensors)
    assert ours.value.isfinite()
    assert ours.gradient.isfinite().all()
    assert (ours.gradient[..., 0] == 0).all()
    without = (tensors[0].nan_to_num(), *tensors[1:])
    close(ours.value, both.theirs(*without) / (3 if name == "FocalLoss" else 1))  # the difference above


def test_d_half_precision():
    logits = torch.full((1, 1, 512, 512), 4.0, dtype=torch.float16)
    both = pair("DiceLoss", sigmoid=True)
    assert both.theirs(logits, torch.ones_like(logits)).isnan()
    ours = both.ours(logits, torch.ones_like(logits))
    p = 1 / (1 + math.exp(-4))
    assert ours.dtype == torch.float32
    close(ours, 1 - 2 * p / (1 + p), rtol=0, atol=1e-3)


def test_d_double_precision():
    x, y = LOGITS.double(), MEMBERS.double()
    for both in (pair("FocalLoss"), pair("SSIMLoss", 2, win_size=3), pair("DeepSupervisionLoss", torch.nn.MSELoss())):
        listed = [x] if hasattr(both.ours, "get_weights") else x
        ours, theirs = both.ours(listed, y), both.theirs(listed, y)
        assert theirs.dtype == torch.float32
        # outputs are made float32 by both, as documented; the sum then has the dtype of its terms
        assert ours.dtype == torch.float64
        close(ours, theirs.double(), rtol=1e-5, atol=1e-6)


def test_d_focal_saturated_gradient():
    both = pair("FocalLoss", use_softmax=True, gamma=0.5)
    assert call(both.theirs, 200 * MEMBERS, MEMBERS).gradient.isnan().any()
    assert (call(both.ours, 200 * MEMBERS, MEMBERS).gradient == 0).all()


def test_d_unified_focal_classes():
    both = pair("AsymmetricUnifiedFocalLoss", num_classes=3)
    worse = INPUT.clone()
    worse[:, 2] = 1 - MEMBERS[:, 2]  # the third class is all wrong
    assert both.theirs(worse, MEMBERS) == both.theirs(INPUT, MEMBERS)
    # the definition with delta 0.7 and gamma and lambda 1/2, class by class
    i, s, t = ((x.sum((2, 3))) for x in (INPUT * MEMBERS, INPUT, MEMBERS))
    region = 1 - i / (i + 0.7 * (t - i) + 0.3 * (s - i))
    region[:, 1:] = region[:, 1:].sqrt()
    voxel = -MEMBERS * INPUT.log()
    voxel[:, 0] *= 0.3 * (1 - INPUT[:, 0]).sqrt()
    voxel[:, 1:] *= 0.7
    close(both.ours(INPUT, MEMBERS), (voxel.mean() + region.mean()) / 2, rtol=1e-4, atol=1e-5)
    assert both.ours(worse, MEMBERS) > both.ours(INPUT, MEMBERS) + 0.5


def test_d_lncc_offset():
    x, y = 1000 + torch.rand(1, 1, 16, 16, 16), 1000 + torch.rand(1, 1, 16, 16, 16)
    both = pair("LocalNormalizedCrossCorrelationLoss", kernel_size=9)
    exact = both.theirs(x.double(), y.double()).item()
    assert abs(both.theirs(x, y).item() - exact) > 0.1
    assert both.ours(x, y).item() == pytest.approx(exact, abs=1e-3)


def test_d_lncc_triangle_of_three():
    x, y = torch.rand(2, 1, 1, 12, 12, dtype=torch.float64)
    both = pair("LocalNormalizedCrossCorrelationLoss", 2, kernel_type="triangular")
    assert both.theirs(x, x) == both.theirs(x, y) == 0
    # the definition, at the middle of three by three voxels
    triangle = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    k = triangle[:, None] * triangle
    a, b = x[0, 0, :3, :3], y[0, 0, :3, :3]
    moments = [(k * u * v).sum() - (k * u).sum() * (k * v).sum() for u, v in ((a, b), (a, a), (b, b))]
    kept = pair("LocalNormalizedCrossCorrelationLoss", 2, kernel_type="triangular", reduction="none").ours
    close(kept(a[None, None], b[None, None])[0, 0, 1, 1], -(moments[0] ** 2) / (moments[1] * moments[2]))


def test_d_mi_constant_image():
    both = pair("GlobalMutualInformationLoss", "b-spline")
    constant, other = torch.full((1, 1, 6, 7), 0.5), torch.rand(1, 1, 6, 7)
    assert both.theirs(constant, other).isnan()
    close(both.ours(constant, other), 0.0, rtol=0, atol=1e-5)
    assert call(both.ours, constant, other).gradient.isfinite().all()


def test_d_mi_range_gradient():
    x, y = torch.rand(2, 1, 1, 6, 7, dtype=torch.float64)
    both = pair("GlobalMutualInformationLoss", "b-spline")
    ends = (x == x.min()) | (x == x.max())
    ours, theirs = call(both.ours, x, y), call(both.theirs, x, y)
    close(ours.value, theirs.value)
    close(ours.gradient[~ends], theirs.gradient[~ends], rtol=1e-4, atol=1e-5)
    assert (ours.gradient - theirs.gradient)[ends].abs().max() > 0.1 * theirs.gradient.abs().max()


def test_d_mcc_range():
    both = pair("MCCLoss", smooth_nr=1e4)
    assert both.theirs(INPUT, MEMBERS) < 0
    close(both.ours(INPUT, MEMBERS), 0.0)


def test_d_soft_label_negative():
    """p = -1/2, 1/2 and t = 1, 0: S = 0 or 1, T = 1, |p - t| sums to 2; Dice is 1 - (S + T - 2) / (S + T)."""
    p, t = torch.tensor([[[-0.5, 0.5]]]), torch.tensor([[[1.0, 0.0]]])
    both = pair("DiceLoss", soft_label=True, smooth_nr=0.0, smooth_dr=0.0)
    close(both.theirs(p, t), 1 - (1 + 1 - 2) / (1 + 1))
    close(both.ours(p, t), 1 - (0 + 1 - 2) / (0 + 1))


def test_d_softdicecl_none():
    both = pair("SoftDiceclDiceLoss", softmax=True, to_onehot_y=True, reduction="none")
    assert both.theirs(LOGITS, LABELS).shape == (2, 3, 1, 2)
    ours = both.ours(LOGITS, LABELS)
    assert ours.shape == (2, 3, 1, 1)
    dice = monai.losses.DiceLoss(softmax=True, to_onehot_y=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)
    cldice = monai.losses.SoftclDiceLoss(softmax=True, to_onehot_y=True, reduction="none")
    close(ours, (dice(LOGITS, LABELS) + cldice(LOGITS, LABELS).view(2, 1, 1, 1)) / 2)


# ---- what fails there and works here


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_d_integer_input(dtype):
    both = pair("DiceLoss")
    hard = torch.nn.functional.one_hot(LOGITS.argmax(1), 3).movedim(-1, 1)
    with pytest.raises(RuntimeError):
        both.theirs(hard.to(dtype), MEMBERS.to(dtype))
    close(both.ours(hard.to(dtype), MEMBERS.to(dtype)), both.theirs(hard.float(), MEMBERS))


@pytest.mark.parametrize(
    "name, options, dtype",
    [
        ("TverskyLoss", {}, torch.bool),
        ("MCCLoss", {}, torch.bool),
        ("HausdorffDTLoss", {}, torch.bool),
        ("HausdorffDTLoss", {}, torch.int64),
        ("SoftclDiceLoss", {}, torch.bool),
        ("SoftclDiceLoss", {}, torch.uint8),
        ("DiceLoss", {"squared_pred": True}, torch.int64),
        ("DiceLoss", {"soft_label": True}, torch.uint8),
        ("GeneralizedDiceLoss", {"soft_label": True}, torch.bool),
    ],
)
def test_d_integer_target(name, options, dtype):
    both = pair(name, **options)
    expected = both.theirs(INPUT, MEMBERS)
    try:
        theirs = both.theirs(INPUT, MEMBERS.to(dtype))
    except RuntimeError:
        theirs = torch.tensor(torch.nan)
    assert not torch.isclose(theirs, expected, rtol=1e-3)
    close(both.ours(INPUT, MEMBERS.to(dtype)), expected)


def test_d_no_spatial_axes():
    both = pair("GeneralizedDiceLoss", reduction="none")
    with pytest.raises(IndexError):
        both.theirs(INPUT[..., 0, 0], MEMBERS[..., 0, 0])
    close(both.ours(INPUT[..., 0, 0], MEMBERS[..., 0, 0]), both.theirs(INPUT[..., :1, 0], MEMBERS[..., :1, 0])[..., 0])


@pytest.mark.parametrize("name, options", [("SoftclDiceLoss", {}), ("SSIMLoss", {"win_size": 3})])
def test_d_lines(name, options):
    """A line is a volume of equal lines: one, repeated, has no other neighbours."""
    both = pair(name, *([1] if name == "SSIMLoss" else []), **options)
    lines = INPUT[..., 0], MEMBERS[..., 0]
    with pytest.raises((AttributeError, IndexError)):
        both.theirs(*lines)
    planes = pair(name, *([2] if name == "SSIMLoss" else []), **options).theirs
    if name == "SSIMLoss":
        planes.kernel_size = planes.ssim_metric.kernel_size = (3, 1)
    close(both.ours(*lines), planes(*(x[..., None] for x in lines)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["SoftclDiceLoss", "SoftDiceclDiceLoss"])
def test_d_cldice_keywords(name):
    both = pair(name)
    with pytest.raises(TypeError):
        both.theirs(y_pred=INPUT, y_true=MEMBERS)
    close(both.ours(y_pred=INPUT, y_true=MEMBERS), both.theirs(INPUT, MEMBERS))


def test_d_dice_ce_weights():
    options = {"softmax": True, "to_onehot_y": True}
    with pytest.raises(TypeError):
        monai.losses.DiceCELoss(**options, weight=[1.0, 2.0, 3.0])
    both = pair("DiceCELoss", **options, weight=torch.tensor([1.0, 2.0, 3.0]))
    expected = both.theirs(LOGITS, LABELS)
    close(losses.DiceCELoss(**options, weight=[1.0, 2.0, 3.0])(LOGITS, LABELS), expected)
    with pytest.raises(RuntimeError):
        both.theirs(LOGITS.double(), LABELS)
    close(both.ours(LOGITS.double(), LABELS), expected.double(), rtol=1e-5, atol=1e-6)


def test_d_scalar_weight():
    both = pair("DiceLoss", weight=2.0)
    for loss in (both.ours, both.theirs):
        loss(INPUT[:, :2], MEMBERS[:, :2])
    with pytest.raises(ValueError):
        both.theirs(INPUT, MEMBERS)
    close(both.ours(INPUT, MEMBERS), 2 * losses.DiceLoss()(INPUT, MEMBERS))
    assert both.ours.class_weight.ndim == 0


def test_d_deep_supervision_none():
    both = pair("DeepSupervisionLoss", torch.nn.MSELoss(reduction="none"))
    with pytest.raises(RuntimeError):
        both.theirs([INPUT, INPUT], MEMBERS)
    close(both.ours([INPUT, INPUT], MEMBERS), 1.5 * (INPUT - MEMBERS) ** 2)


def test_d_checkpoints():
    options = {"weight": torch.tensor([1.0, 2.0, 3.0])}
    for name in ("DiceLoss", "MaskedDiceLoss", "FocalLoss", "DiceCELoss", "DiceFocalLoss", "GeneralizedDiceFocalLoss"):
        both = pair(name, **options)
        saved = both.theirs.state_dict()
        assert saved.keys() == both.ours.state_dict().keys()
        both.theirs.load_state_dict(both.ours.state_dict())  # there and back
        heavier = {key: 2 * value for key, value in saved.items()}
        both.ours.load_state_dict(heavier)
        for key, value in both.ours.state_dict().items():
            close(value, heavier[key])
        with pytest.raises(RuntimeError, match="Missing key"):
            both.theirs.load_state_dict({})
        both.ours.load_state_dict({})  # of a release without the buffer
        for key, value in both.ours.state_dict().items():
            close(value, heavier[key])
        with pytest.raises(RuntimeError, match="Unexpected key"):
            both.ours.load_state_dict({**saved, "no_such_key": torch.ones(1)})
        assert getattr(losses, name)().state_dict() == {}
    both = pair("DiceLoss", weight=2.0)
    both.theirs(INPUT, MEMBERS)
    widened = both.theirs.state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        monai.losses.DiceLoss(weight=2.0).load_state_dict(widened)
    both.ours.load_state_dict(widened)
    close(both.ours(INPUT, MEMBERS), both.theirs(INPUT, MEMBERS))
    both = pair("NACLLoss", 3, 2, kernel_ops="gaussian")
    assert both.theirs.state_dict()
    assert not both.ours.state_dict()
    both.ours.load_state_dict(both.theirs.state_dict())


def test_d_earlier_names():
    weight, options = torch.tensor([1.0, 2.0, 3.0]), {"softmax": True, "to_onehot_y": True}
    for name, old, term in (("DiceCELoss", "ce_weight", "ce"), ("DiceFocalLoss", "focal_weight", "focal")):
        with pytest.raises(TypeError):
            getattr(monai.losses, name)(**options, **{old: weight})
        ours = getattr(losses, name)(**options, **{old: weight})
        plain, today = pair(name, **options).theirs, pair(name, **options, weight=weight).theirs
        alone = pair(name, **options, weight=weight, lambda_dice=0.0).theirs  # the other term has the weights,
        dice = pair("DiceLoss", **options).theirs  # and Dice has none
        close(ours(LOGITS, LABELS), dice(LOGITS, LABELS) + alone(LOGITS, LABELS))
        assert not torch.isclose(ours(LOGITS, LABELS), today(LOGITS, LABELS)), term
        assert not torch.isclose(ours(LOGITS, LABELS), plain(LOGITS, LABELS)), term
    with pytest.raises(TypeError):
        monai.losses.LocalNormalizedCrossCorrelationLoss(ndim=2)
    expected = monai.losses.LocalNormalizedCrossCorrelationLoss(2)(LOGITS.double(), MEMBERS.double())
    close(losses.LocalNormalizedCrossCorrelationLoss(ndim=2)(LOGITS.double(), MEMBERS.double()), expected)


def test_d_earlier_order():
    with pytest.raises(ValueError):
        monai.losses.GlobalMutualInformationLoss(20)
    meant = monai.losses.GlobalMutualInformationLoss(num_bins=20, sigma_ratio=0.6)
    close(losses.GlobalMutualInformationLoss(20, 0.6)(INPUT, MEMBERS), meant(INPUT, MEMBERS))
    field = torch.randn(1, 2, 6, 7)
    meant = call(monai.losses.BendingEnergyLoss(reduction="sum"), field).value
    assert call(monai.losses.BendingEnergyLoss("sum"), field).value != meant
    close(losses.BendingEnergyLoss("sum")(field), meant)
    with pytest.raises(TypeError):
        monai.losses.FocalLoss(True, False, 1.0, [1.0, 2.0, 3.0], "sum")
    meant = monai.losses.FocalLoss(gamma=1.0, weight=[1.0, 2.0, 3.0], reduction="sum")
    close(losses.FocalLoss(True, False, 1.0, [1.0, 2.0, 3.0], "sum")(LOGITS, MEMBERS), meant(LOGITS, MEMBERS))


# ---- what works there and fails here


@pytest.mark.parametrize(
    "name, args, options",
    [
        ("DiceLoss", (), {"smooth_nr": -1.0}),
        ("GeneralizedDiceLoss", (), {"smooth_dr": -0.5}),
        ("TverskyLoss", (), {"alpha": -1.0}),
        ("SoftclDiceLoss", (), {"smooth_dr": -0.5}),
        ("HausdorffDTLoss", (), {"alpha": -1.0}),
        ("SSIMLoss", (2,), {"k1": -0.1, "win_size": 3}),
        ("GlobalMutualInformationLoss", (), {"num_bins": 1}),
        ("GlobalMutualInformationLoss", (), {"smooth_dr": 0.0}),
        ("AsymmetricUnifiedFocalLoss", (), {"num_classes": 3, "gamma": 1.5}),
    ],
)
def test_d_odd_options(name, args, options):
    both = pair(name, *args, **options)
    both.theirs(INPUT, MEMBERS)
    with pytest.raises(ValueError):
        both.ours(INPUT, MEMBERS)


@pytest.mark.filterwarnings("ignore:Using padding")
def test_d_even_windows():
    both = pair("NACLLoss", 3, 2, kernel_size=4)
    assert both.theirs(LOGITS, LABELS[:, 0]).isfinite()
    with pytest.raises(ValueError, match="odd"):
        both.ours(LOGITS, LABELS[:, 0])
    both = pair("SSIMLoss", 2, win_size=4)
    assert both.theirs(INPUT, MEMBERS).isfinite()
    with pytest.raises(ValueError, match="odd"):
        both.ours(INPUT, MEMBERS)


@pytest.mark.parametrize("wrong", [0.1 + torch.ones(3, 3), torch.eye(3) - 1.0])
def test_d_wasserstein_matrix(wrong):
    assert monai.losses.GeneralizedWassersteinDiceLoss(wrong)(LOGITS, LABELS).dtype == torch.float32
    with pytest.raises(ValueError, match="distances"):
        losses.GeneralizedWassersteinDiceLoss(wrong)


# ---- the interface


def test_d_metatensor():
    from monai.data import MetaTensor

    both = pair("DiceLoss")
    assert isinstance(both.theirs(MetaTensor(INPUT), MetaTensor(MEMBERS)), MetaTensor)
    ours = both.ours(MetaTensor(INPUT), MetaTensor(MEMBERS))
    assert type(ours) is torch.Tensor
    close(ours, both.theirs(INPUT, MEMBERS))


def test_d_accidental_errors():
    both = pair("SSIMLoss", 2, kernel_type="triangular", win_size=3)
    with pytest.raises(UnboundLocalError):
        both.theirs(INPUT, MEMBERS)
    with pytest.raises(ValueError, match="triangular"):
        both.ours(INPUT, MEMBERS)
    with pytest.raises(TypeError):
        monai.losses.GlobalMutualInformationLoss(num_bins=1.5)
    with pytest.raises(ValueError, match="num_bins"):
        losses.GlobalMutualInformationLoss(num_bins=1.5)(INPUT, MEMBERS)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU"))])  # fmt: skip
def test_d_labels_on_a_gpu(device):
    """MONAI's assertion would end the process' use of the GPU: what it does on the CPU is shown."""
    labels = LABELS.clone()
    labels[0, 0, 0, 0] = 7
    both = pair("DiceLoss", softmax=True, to_onehot_y=True)
    with pytest.raises(RuntimeError):
        both.theirs(LOGITS, labels)
    if device == "cpu":
        with pytest.raises(RuntimeError, match=r"outside the 3 classes 0\.\.2: \[7\]"):
            both.ours(LOGITS, labels)
        return
    value = both.ours(LOGITS.cuda(), labels.cuda()).cpu()
    members = MEMBERS.clone()
    members[0, :, 0, 0] = 0
    close(value, losses.DiceLoss(softmax=True)(LOGITS, members))
    with medloss.check_values(), pytest.raises(ValueError, match="outside"):
        both.ours(LOGITS.cuda(), labels.cuda())


def test_d_helper_methods():
    assert hasattr(monai.losses.GeneralizedDiceLoss, "w_func")
    assert not hasattr(losses.GeneralizedDiceLoss, "w_func")
    for name, method in (
        ("GeneralizedWassersteinDiceLoss", "wasserstein_distance_map"), ("BoundaryLoss", "compute_distance_map"),
        ("DiceCELoss", "ce"), ("DiceCELoss", "bce"), ("DeepSupervisionLoss", "get_weights"),
        ("DeepSupervisionLoss", "get_loss"),
    ):  # fmt: skip
        assert callable(getattr(getattr(losses, name), method))
    both = pair("DiceCELoss", weight=torch.tensor([1.0, 2.0, 3.0]))
    close(both.ours.ce(LOGITS, LABELS), both.theirs.ce(LOGITS, LABELS))


def test_d_dice_module():
    assert monai.losses.dice.DiceLoss is monai.losses.DiceLoss
    assert losses.dice is losses.DiceLoss
    assert importlib.import_module("medloss.compat.monai.dice").DiceLoss is losses.DiceLoss


def test_the_wasserstein_matrix_may_be_an_array():
    matrix = np.array([[0, 2, 2], [2, 0, 1], [2, 1, 0]])
    both = pair("GeneralizedWassersteinDiceLoss", matrix)
    close(both.ours(LOGITS, LABELS), both.theirs(LOGITS, LABELS))
