"""Device functions of the Triton kernels of windows: from a window's sums to its statistic and the maps of the adjoint.

The gradient is u k*p + x k*q - k*r, with u = y for the correlations and u = x - y for SSIM.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.local_moments.windows_triton_kernels import CORRELATION, ERROR, SIGNED, SSIM


@triton.jit
def spread(total, squares, over_mass, ROUNDING: tl.constexpr):
    """Variance times mass, and where it is no more than rounding: 0 there, as for a constant."""
    found = squares - total * total * over_mass
    flat = found <= ROUNDING * squares
    return tl.where(flat, 0, found), flat


@triton.jit
def correlation(sum_x, sum_y, sum_xx, sum_yy, sum_xy, over_mass, nr, dr, SIGN: tl.constexpr, ROUNDING: tl.constexpr):
    """The correlation of each window, squared or with its sign, and p, q, r."""
    var_x, flat_x = spread(sum_x, sum_xx, over_mass, ROUNDING)
    var_y, flat_y = spread(sum_y, sum_yy, over_mass, ROUNDING)
    flat = flat_x | flat_y
    cross = tl.where(flat, 0, sum_xy - sum_x * sum_y * over_mass)
    clamped = var_x < dr  # by selection, which keeps NaN
    over_x, over_y = 1 / tl.where(clamped, dr, var_x), 1 / tl.where(var_y < dr, dr, var_y)
    if SIGN:
        p = tl.sqrt(over_x) * tl.sqrt(over_y)
        value = cross * p
        p, q = tl.where(flat, 0, p), -value * over_x
    else:
        value = (cross * cross + nr) * over_x * over_y
        p, q = 2 * cross * over_x * over_y, -2 * value * over_x
    q = tl.where(clamped | flat_x, 0, q)
    return value, p, q, (p * sum_y + q * sum_x) * over_mass


@triton.jit
def fraction(part, whole):
    """``part / whole``, and 0 where the whole is 0."""
    return tl.where(whole != 0, part, 0) / tl.where(whole != 0, whole, 1)


@triton.jit
def structure(
    sum_x, sum_d, sum_xx, sum_yy, sum_dd, over_mass, level_x, level_y, c1, c2,
    ROUNDING: tl.constexpr, LUMINANCE: tl.constexpr,
):  # fmt: skip
    """One minus the structural similarity of each window, and p, q, r."""
    var_x, flat_x = spread(sum_x, sum_xx, over_mass, ROUNDING)
    var_y, _ = spread(sum_x - sum_d, sum_yy, over_mass, ROUNDING)
    var_d, flat_d = spread(sum_d, sum_dd, over_mass, ROUNDING)
    whole = (var_x + var_y) * over_mass + c2
    unlike, light, tilt = fraction(var_d * over_mass, whole), over_mass * 0, over_mass * 0
    if LUMINANCE:
        mean_x, mean_d = sum_x * over_mass + level_x, sum_d * over_mass + (level_x - level_y)
        energy = mean_x * mean_x + (mean_x - mean_d) * (mean_x - mean_d) + c1
        light = fraction(mean_d * mean_d, energy)
        tilt = (1 - unlike) * fraction(2 * (mean_d - light * mean_x), energy)
    value = light + unlike - light * unlike
    beyond = (value < 0) | (value > 2)  # by rounding alone
    share = 2 * (1 - light) * over_mass
    p = tl.where(flat_d | beyond, 0, fraction(share, whole))
    q = tl.where(flat_x | beyond, 0, fraction(-share * unlike, whole))
    r = (p * sum_d + q * sum_x - tl.where(beyond, 0, tilt)) * over_mass
    return tl.where(value < 0, 0, tl.where(value > 2, 2, value)), p, q, r


@triton.jit
def judge(
    sums, mass, level_x, level_y, a, b, KIND: tl.constexpr, WEIGHED: tl.constexpr, ROUNDING: tl.constexpr
):  # fmt: skip
    """The statistic of each window, and the maps of the adjoint. ``mass`` is what a window holds if none counts it."""
    over_mass = 1 / (mass + tl.zeros(sums[0].shape, sums[0].dtype))
    if WEIGHED:
        mass = sums[len(sums) - 1]
        over_mass = 1 / tl.where(mass > 0, mass, 1)
    if KIND == ERROR:
        value, slopes = sums[0] * over_mass, (over_mass,)
    elif (KIND == CORRELATION) | (KIND == SIGNED):
        value, p, q, r = correlation(
            sums[0], sums[1], sums[2], sums[3], sums[4], over_mass, a, b, KIND == SIGNED, ROUNDING
        )  # fmt: skip
        slopes = (p, q, r)
    else:
        value, p, q, r = structure(
            sums[0], sums[1], sums[2], sums[3], sums[4], over_mass, level_x, level_y, a, b, ROUNDING, KIND == SSIM
        )
        slopes = (p, q, r)
    return value, slopes
