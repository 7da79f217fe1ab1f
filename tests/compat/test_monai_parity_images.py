"""MONAI's losses of images, fields and distances, and its wrappers: value, gradient, shape and warnings."""

from __future__ import annotations

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai_pairs import ACTIVATION, BOOL, REDUCTION, SEED, activated, agree, call, same, segmentation

import medloss.compat.monai as drop_ins

few = settings(max_examples=25, deadline=None)


def images(seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(shape, generator=generator, dtype=dtype) for _ in range(2)]


@few
@given(seed=SEED, rank=st.integers(1, 3), normalize=BOOL, reduction=REDUCTION, double=BOOL)
def test_fields(seed, rank, normalize, reduction, double):
    field = torch.randn(2, rank, *(5, 6, 4)[:rank], generator=torch.Generator().manual_seed(seed))
    for name in ("BendingEnergyLoss", "DiffusionLoss"):
        same(name, {"normalize": normalize, "reduction": reduction}, field.double() if double else field)


@few
@given(
    seed=SEED, rank=st.integers(1, 3), size=st.sampled_from([3, 5, 7, 9]), reduction=REDUCTION,
    kind=st.sampled_from(["rectangular", "triangular", "gaussian"]), nr=st.sampled_from([0.0, 1e-3]),
)  # fmt: skip
def test_local_cross_correlation(seed, rank, size, reduction, kind, nr):
    if kind == "triangular" and size == 3:
        return  # a known difference
    options = {"kernel_size": size, "kernel_type": kind, "reduction": reduction, "smooth_nr": nr}
    same("LocalNormalizedCrossCorrelationLoss", options, *images(seed, (2, 2, *(7, 6, 5)[:rank]), torch.float64),
         first=[rank])  # fmt: skip


@few
@given(
    seed=SEED, shape=st.sampled_from([(2, 30), (2, 1, 5, 6), (2, 2, 3, 4, 5)]), bins=st.integers(2, 30),
    ratio=st.sampled_from([0.3, 0.5, 1.0]), reduction=REDUCTION, spread=st.sampled_from([1.0, 1.5]),
)  # fmt: skip
def test_mutual_information(seed, shape, bins, ratio, reduction, spread):
    first, second = images(seed, shape)
    options = {"num_bins": bins, "sigma_ratio": ratio, "reduction": reduction}
    same("GlobalMutualInformationLoss", options, spread * first - 0.1, second)


@few
@given(seed=SEED, bins=st.integers(6, 30), reduction=REDUCTION, scale=st.sampled_from([1.0, 300.0]))
def test_mutual_information_by_splines(seed, bins, reduction, scale):
    """The gradient is held at voxels that are not the darkest or brightest: a known difference."""
    options = {"kernel_type": "b-spline", "num_bins": bins, "reduction": reduction}
    pair = [scale * image.double() for image in images(seed, (2, 1, 5, 6))]
    same("GlobalMutualInformationLoss", options, *pair, gradient=False)
    inner = (pair[0] > pair[0].min()) & (pair[0] < pair[0].max())
    ours, theirs = (call(p.GlobalMutualInformationLoss(**options), *pair) for p in (drop_ins, monai.losses))
    agree(ours.gradient[inner], theirs.gradient[inner])


@few
@given(
    seed=SEED, rank=st.integers(2, 3), size=st.sampled_from([3, 5, "list"]), sigma=st.sampled_from([0.8, 1.5]),
    kind=st.sampled_from(["gaussian", "uniform"]), reduction=REDUCTION, data_range=st.sampled_from([1.0, 2.5]),
)  # fmt: skip
def test_structural_similarity(seed, rank, size, sigma, kind, reduction, data_range):
    size = [3, 5, 5][:rank] if size == "list" else size
    options = {"win_size": size, "kernel_sigma": sigma, "kernel_type": kind, "reduction": reduction, "k2": 0.05}
    pair = images(seed, (2, 2, *(7, 6, 8)[:rank]))
    same("SSIMLoss", {**options, "data_range": data_range}, *pair, first=[rank])


def test_the_data_range_may_change():
    pair = images(0, (1, 1, 8, 8))
    losses = [package.SSIMLoss(2, win_size=5) for package in (drop_ins, monai.losses)]
    for loss in losses:
        loss.data_range = 4.0
    agree(losses[0](*pair), losses[1](*pair))


@settings(max_examples=15, deadline=None)
@given(
    seed=SEED, spatial=st.sampled_from([(5, 6), (3, 4, 5)]), indexed=BOOL, activation=ACTIVATION, background=BOOL,
    batch=BOOL, reduction=REDUCTION, alpha=st.sampled_from([1.0, 2.0]),
)  # fmt: skip
def test_distances(seed, spatial, indexed, activation, background, batch, reduction, alpha):
    logits, target = segmentation(seed, spatial, "indices" if indexed else "one-hot", classes=3)
    input = torch.softmax(logits, 1) if activation == "none" else logits
    options = {
        "include_background": background, "to_onehot_y": indexed, "batch": batch, "reduction": reduction,
        **activated(activation),
    }  # fmt: skip
    same("BoundaryLoss", options, input, target)
    if indexed:
        same("BoundaryLoss", options, input, target[:, 0])
    for name in ("HausdorffDTLoss", "LogHausdorffDTLoss"):
        same(name, {**options, "alpha": alpha}, input, target)


def test_the_distance_map():
    target = segmentation(0, (7, 9), "one-hot")[1]
    ours, theirs = (package.BoundaryLoss().compute_distance_map(target) for package in (drop_ins, monai.losses))
    torch.testing.assert_close(ours, theirs)


class Lopsided(torch.nn.Module):
    """A loss that tells its two arguments apart."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        values = (input - target**2) ** 2
        return values if self.reduction == "none" else values.mean()


@few
@given(
    seed=SEED, rank=st.integers(1, 3), scales=st.sampled_from([None, [0], [0, 1], [0.5, 1.5, 3]]), reduction=REDUCTION,
    kernel=st.sampled_from(["gaussian", "cauchy"]), inner=st.sampled_from(["mean", "none"]),
)  # fmt: skip
def test_multi_scale(seed, rank, scales, reduction, kernel, inner):
    """The target comes first, and may be the one that has a gradient."""
    pair = images(seed, (2, 1, *(6, 5, 7)[:rank]))
    options = {"scales": scales, "kernel": kernel, "reduction": reduction}
    same("MultiScaleLoss", options, *pair, first=[Lopsided(inner)])


@few
@given(
    seed=SEED, levels=st.integers(1, 5), mode=st.sampled_from(["exp", "two", "same", "none of these"]), listed=BOOL,
    weights=st.sampled_from([None, [1.0, 0.3], [3.0, 2.0, 1.0, 0.5, 0.1]]),
)  # fmt: skip
def test_deep_supervision(seed, levels, mode, listed, weights):
    logits, target = segmentation(seed, (16, 12), "one-hot")
    outputs = [logits[..., :: 2**level, :: 2**level] for level in range(levels)] if listed else [logits]
    found = []
    for package in (drop_ins, monai.losses):
        inner = package.DiceCELoss(softmax=True)
        loss = package.DeepSupervisionLoss(inner, mode, weights)
        for count in (levels, 7):
            assert loss.get_weights(count) == monai.losses.DeepSupervisionLoss(inner, mode, weights).get_weights(count)
        found.append(
            call(lambda first, loss=loss: loss([first, *outputs[1:]] if listed else first, target), outputs[0])
        )
    agree(found[0].value, found[1].value)
    agree(found[0].gradient, found[1].gradient)


@few
@given(
    seed=SEED, form=st.sampled_from(["fits", "shared", "no mask", "fewer axes", "other size"]),
    loss=st.sampled_from([torch.nn.MSELoss, torch.nn.L1Loss(reduction="none"), monai.losses.DiceLoss]),
)  # fmt: skip
def test_masked_loss(seed, form, loss):
    pair = images(seed, (2, 2, 5, 6))
    mask = images(seed, (2, 1, 5, 6))[0]
    forms = {"fits": mask, "shared": mask[:1].round(), "fewer axes": mask[:1, :, 0], "other size": mask[..., :1]}
    mask = forms.get(form)
    warned = same("MaskedLoss", {}, *pair, *([] if mask is None else [mask]), first=[loss]).warned
    assert len(warned) == {"fits": 0, "shared": 0, "no mask": 1, "fewer axes": 2, "other size": 1}[form]


def test_masked_loss_makes_the_loss():
    pair = [*images(0, (1, 2, 4, 4)), torch.ones(1, 1, 4, 4)]
    ours, theirs = (p.MaskedLoss(p.TverskyLoss, alpha=0.2, beta=0.8)(*pair) for p in (drop_ins, monai.losses))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_wasserstein_distance_map(dtype):
    distances = torch.tensor([[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]], dtype=dtype)
    logits, labels = segmentation(0, (4, 5), classes=3)
    flat = torch.softmax(logits.flatten(2), 1).to(dtype), labels.flatten(1)
    ours, theirs = (
        package.GeneralizedWassersteinDiceLoss(2 * distances).wasserstein_distance_map(*flat)
        for package in (drop_ins, monai.losses)
    )
    torch.testing.assert_close(ours, theirs)
