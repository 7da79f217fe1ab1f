"""``local_ssim`` and ``local_error`` in plain torch: the specification, and what serves where no fast path can."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.ops.local_moments.arguments import ErrorArguments, SSIMArguments, reach_of, scales_of
from medloss.ops.local_moments.reference import smooth, variance
from medloss.ops.masking import accumulation_dtype, blank, spatial_axes


def local_ssim(args: SSIMArguments) -> Tensor:
    """See :func:`medloss.ops.local_moments.local_ssim`."""
    input, target, c1, c2 = args.input, args.target, args.c1, args.c2
    scales = scales_of(args)
    reach = reach_of(scales)
    x, y, weight = framed(input, target, args.mask, reach, args.border)
    # of the images and not of the zeros around them, which would draw it away from the values that it is to cancel
    level_x, level_y = (level(blank(image.to(x.dtype), weight), weight) for image in (input, target))
    x, y = x - level_x, y - level_y
    d = x - y  # the sums of y follow from those of x and d, and equal images differ by nothing at all
    products = [x, d, x * x, y * y, d * d]
    maps = torch.stack(products if weight is None else [*(map * weight for map in products), weight])
    dissimilarity: Tensor | float = 0.0
    for scale in scales:
        moments = smooth(inner(maps, scale, reach) if weight is None else maps, scale, padded=weight is None)
        if weight is None:
            mass: Tensor | float = math.prod(sum(window) for window in scale)
        else:
            mass = torch.where(moments[5] > 0, moments[5], torch.ones_like(moments[5]))
        sums = (moments[0], moments[1], moments[2], moments[3], moments[4])
        dissimilarity = either(dissimilarity, structure(*sums, mass, c2))
    if args.luminance:
        mean_x, mean_d = moments[0] / mass + level_x, moments[1] / mass + (level_x - level_y)
        energy = mean_x**2 + (mean_x - mean_d) ** 2 + c1
        dissimilarity = either(dissimilarity, fraction(mean_d**2, energy))
    assert isinstance(dissimilarity, Tensor)  # as there is at least one scale
    values = dissimilarity.clamp(0, 2)  # which it leaves by rounding alone
    values = values if weight is None else values * weight
    return values.sum(spatial_axes(values)) if args.reduce else values


def local_error(args: ErrorArguments) -> Tensor:
    """See :func:`medloss.ops.local_moments.local_error`."""
    scales = scales_of(args)
    x, y, weight = framed(args.input, args.target, args.mask, reach_of(scales), args.border)
    error = (x - y).abs()
    if weight is None:
        mean = smooth(error[None], scales[0], padded=True)[0] / math.prod(sum(window) for window in scales[0])
    else:
        total, mass = smooth(torch.stack([error * weight, weight]), scales[0], padded=False)
        mean = weight * total / torch.where(mass > 0, mass, torch.ones_like(mass))
    return mean.sum(spatial_axes(mean)) if args.reduce else mean


def framed(
    input: Tensor, target: Tensor, mask: Tensor | None, reach: list[int], border: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Both images with what lies beyond their border, or with the weights where windows count what they hold."""
    dtype = accumulation_dtype(input)
    weight = None if mask is None else mask.to(dtype).expand(input.shape)
    x, y = blank(input.to(dtype), weight), blank(target.to(dtype), weight)
    if weight is None and border == "renormalise":
        weight = torch.ones_like(x)
    if weight is None and border == "zero":
        padding = [by for by in reversed(reach) for _ in range(2)]
        x, y = torch.nn.functional.pad(x, padding), torch.nn.functional.pad(y, padding)
    elif weight is None and border == "reflect":
        x, y = reflected(x, reach), reflected(y, reach)
    return x, y, weight


def reflected(x: Tensor, reach: list[int]) -> Tensor:
    """Mirrored at the outermost voxels. By joining: the padding of torch is not deterministic on a GPU."""
    for axis, by in enumerate(reach, start=2):
        size = x.shape[axis]
        x = torch.cat([x.narrow(axis, 1, by).flip(axis), x, x.narrow(axis, size - 1 - by, by).flip(axis)], axis)
    return x


def level(x: Tensor, weight: Tensor | None) -> Tensor:
    """A constant near the values of each sample and channel: their mean. No result depends on it but by rounding."""
    axes = spatial_axes(x)
    x = x.detach()
    if weight is None:
        return x.mean(axes, keepdim=True)
    return (x * weight).sum(axes, keepdim=True) / weight.sum(axes, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)


def inner(maps: Tensor, scale: list[list[float]], reach: list[int]) -> Tensor:
    """The part of framed maps that a smaller window needs."""
    for axis, (window, by) in enumerate(zip(scale, reach, strict=True), start=3):
        spare = by - len(window) // 2
        maps = maps.narrow(axis, spare, maps.shape[axis] - 2 * spare)
    return maps


def structure(
    sum_x: Tensor, sum_d: Tensor, sum_xx: Tensor, sum_yy: Tensor, sum_dd: Tensor, mass: Tensor | float, c2: float
) -> Tensor:
    """One minus contrast times structure: the variance of the difference over those of both images."""
    var_x, var_y, var_d = (
        variance(total, squares, mass)[0] / mass
        for total, squares in ((sum_x, sum_xx), (sum_x - sum_d, sum_yy), (sum_d, sum_dd))
    )
    return fraction(var_d, var_x + var_y + c2)


def fraction(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``, and 0 where the whole is 0."""
    some = whole != 0  # not above: NaN is not to look like equal images
    return torch.where(some, part, torch.zeros_like(part)) / torch.where(some, whole, torch.ones_like(whole))


def either(a: Tensor | float, b: Tensor) -> Tensor:
    """1 - (1 - a) (1 - b), with the digits of a small a and b."""
    return a + b - a * b
