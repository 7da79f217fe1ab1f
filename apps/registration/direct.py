"""Value and gradient of the usual losses of a displacement without a graph: sweeps over the voxels, and little else.

On coarse levels the bookkeeping of autograd takes longer than the sweeps. What is not known here goes by autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.apps.registration.losses import RegistrationLoss
from medloss.apps.registration.pyramid import Carrier
from medloss.apps.registration.transform import warp
from medloss.ops.differences import OPERATOR as DIFFERENCES
from medloss.ops.jacobian import PENALTY
from medloss.ops.local_moments import OPERATOR as LOCAL_MOMENTS
from medloss.ops.resample import OPERATOR as RESAMPLE
from medloss.reduction import voxel_mean
from medloss.registration.jacobian import JacobianLoss
from medloss.registration.lncc import LocalNormalizedCrossCorrelationLoss
from medloss.registration.smoothness import SmoothnessLoss
from medloss.registration.windows import window

Swept = tuple[float, Tensor]
"""A value, and its gradient in the displacement or the warped image."""


class Direct:
    """The terms of a displacement in voxels, as `RegistrationLoss.terms` has them.

    Args:
        loss: all of its losses are known: see `known`.
        fixed, moving: ``(1, C, *spatial)``.
        mask: ``(1, 1, *spatial)``: where the images are compared, or None.
        control: shape of the grid that carries the displacement ``(1, 3, *control)``, in voxels of that grid.
        spacing: its mm per axis.
    """

    def __init__(
        self,
        loss: RegistrationLoss,
        fixed: Tensor,
        moving: Tensor,
        mask: Tensor | None,
        control: Sequence[int],
        spacing: Sequence[float],
    ) -> None:
        self.fixed, self.moving, self.mask, self.spacing = fixed, moving, mask, [float(size) for size in spacing]
        self.control, shape = tuple(control), tuple(fixed.shape[2:])
        self.carrier = None if self.control == shape else Carrier(self.control, shape, fixed)
        self.of_image = self._planned(loss, "image")
        self.of_field = self._planned(loss, "field")

    def __call__(self, field: Tensor) -> tuple[dict[str, float], float, Tensor]:
        """The terms, raw and weighted, as `losses.numbers` tells them; their sum; and its gradient."""
        field = field.detach()
        raw: dict[str, float] = {}
        weighted: dict[str, float] = {}
        slope: Tensor | None = None
        ddf = field if self.carrier is None or not self.of_image else self.carrier(field)
        if self.of_image:
            warped = warp(self.moving, ddf)
        for name, weight, sweep in self.of_image:
            raw[name], found = sweep(warped)
            weighted[f"{name}_weighted"] = weight * raw[name]
            slope = found.mul_(weight) if slope is None else slope.add_(found, alpha=weight)
        if slope is None:
            gradient = torch.zeros_like(field)
        else:
            args = RESAMPLE.arguments(self.moving, ddf, [1.0] * field.shape[1])
            gradient = RESAMPLE.gradient(slope, args, of="positions")
            gradient = gradient if self.carrier is None else self.carrier.adjoint(gradient)
        for name, weight, sweep in self.of_field:
            raw[name], found = sweep(field)
            weighted[f"{name}_weighted"] = weight * raw[name]
            gradient.add_(found, alpha=weight)
        return raw | weighted, sum(weighted.values()), gradient

    def _planned(self, loss: RegistrationLoss, kind: str) -> list[tuple[str, float, Callable[[Tensor], Swept]]]:
        found: list[tuple[str, float, Callable[[Tensor], Swept]]] = []
        if kind not in loss.groups:
            return found
        group = loss.groups[kind]
        for name, each in group.losses.items():
            sweep = next(plan for known, plan in PLANS.items() if isinstance(each, known))(self, each)
            found.append((f"{kind}.{name}", group.weight(name), sweep))
        return found

    def _correlation(self, loss: LocalNormalizedCrossCorrelationLoss) -> Callable[[Tensor], Swept]:
        windows = window(loss.kernel_type, loss.kernel_size, loss.sigma)
        options = (windows, loss.border == "renormalise", float(loss.smooth_nr), float(loss.smooth_dr))
        scale = float(voxel_mean(-self.fixed.new_ones(()), self.mask, self.fixed.shape, loss.reduction))
        upstream = self.fixed.new_full(self.fixed.shape[:2], scale)

        def sweep(warped: Tensor) -> Swept:
            args = LOCAL_MOMENTS.arguments(warped, self.fixed, self.mask, *options, True)
            sums, gradient = LOCAL_MOMENTS.with_gradient(upstream, args)
            return scale * float(sums.sum()), gradient

        return sweep

    def _smoothness(self, loss: SmoothnessLoss) -> Callable[[Tensor], Swept]:
        lengths = [1 / size for size in self.spacing]
        args = (None, loss.energy, loss.stencil, lengths, self.spacing, True, loss.border, None)

        upstream = self._share(loss, 3).expand(1, 3)

        def sweep(field: Tensor) -> Swept:
            gradient = DIFFERENCES.gradient(upstream, DIFFERENCES.arguments(field, *args))
            # a sum of squares of what is linear: Euler's theorem spares the sweep for its value
            return float(torch.dot(field.flatten(), gradient.flatten())) / 2, gradient

        return sweep

    def _volumes(self, loss: JacobianLoss) -> Callable[[Tensor], Swept]:
        floor = loss.margin if loss.penalty == "hinge" else loss.floor
        # in mm along the axes, or in voxels: the determinant is the same
        args = (None, loss.penalty, float(floor), loss.stencil, [1.0] * 3, loss.border, True)

        upstream = self._share(loss, 1).expand(1)

        def sweep(field: Tensor) -> Swept:
            sums, gradient = PENALTY.with_gradient(upstream, PENALTY.arguments(field, *args))
            return float(sums * upstream), gradient

        return sweep

    def _share(self, loss: Any, maps: int) -> Tensor:
        """What the loss makes of each unit of its sums."""
        field = self.fixed.new_zeros(()).expand(1, maps, *self.control)
        return loss._reduced(self.fixed.new_ones(()), field, None, maps)


PLANS: dict[type, Callable[[Direct, Any], Callable[[Tensor], Swept]]] = {
    LocalNormalizedCrossCorrelationLoss: Direct._correlation,
    SmoothnessLoss: Direct._smoothness,
    JacobianLoss: Direct._volumes,
}


def known(loss: RegistrationLoss) -> bool:
    """Whether `Direct` has a plan for all of the losses."""
    return set(loss.groups) <= {"image", "field"} and all(
        _known(each) for group in loss.groups.values() for each in group.losses.values()
    )


def _known(loss: Any) -> bool:
    if loss.reduction != "mean":
        return False
    if type(loss) is LocalNormalizedCrossCorrelationLoss:
        return not loss.signed
    if type(loss) is JacobianLoss:
        return loss.penalty != "sdlog"
    return isinstance(loss, SmoothnessLoss) and loss.energy in QUADRATIC and not loss.normalize


QUADRATIC = ("diffusion", "bending", "curvature")
