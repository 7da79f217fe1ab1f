"""Which loss sees what: the groups of a registration's losses and the tensors that go to each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medloss.apps.registration.config import Losses
from medloss.apps.registration.smoothing import smooth
from medloss.config import build_loss, loss_names

GROUPS = ("image", "label", "field", "points")


class RegistrationLoss(nn.Module):
    """The weighted sum of image, label, field and point losses, each group built from its YAML mapping.

    Args:
        config: its groups ``image``, ``label``, ``field`` and ``points`` are each what `medloss.config.build_loss`
            takes, or empty.
    """

    def __init__(self, config: Losses) -> None:
        super().__init__()
        groups = {kind: getattr(config, kind) for kind in GROUPS}
        groups["field"] = {name: _to_the_border(name, options) for name, options in groups["field"].items()}
        # Any: a type checker knows nothing of the modules in a ModuleDict
        self.groups: Any = nn.ModuleDict({k: build_loss(group, kind=k) for k, group in groups.items() if group})
        self.label_scales = tuple(config.label_scales)

    def set_epoch(self, epoch: int) -> None:
        """Move the schedules of the weights."""
        for group in self.groups.values():
            group.set_epoch(epoch)

    def terms(
        self,
        images: tuple[Tensor, Tensor] | None = None,
        labels: tuple[Tensor, Tensor] | None = None,
        field: Tensor | None = None,
        spacing: Sequence[float] | Tensor | None = None,
        mask: Tensor | None = None,
        points: tuple[Tensor, Tensor, Tensor, Sequence[float]] | None = None,
    ) -> dict[str, Any]:
        """Each term by ``group.name``, as medloss's ``Term(raw, weight, value)``; a group whose tensors are None is
        left out.

        Args:
            images: warped and fixed image, ``(B, C, *spatial)``.
            labels: warped and fixed label probabilities, ``(B, N, *spatial)``.
            field: displacement or velocity ``(B, d, *spatial)`` in voxels along the axes; the losses see it in mm.
            spacing: mm per axis of the field's grid, ``(d,)``, or ``(B, d)`` where the pairs of a batch differ.
            mask: ``(B, 1, *spatial)`` of the images: where they are compared.
            points: the fixed and the moving points ``(B, n, 3)`` in voxels, and the displacement ``(B, 3, *spatial)``
                in voxels that moves the fixed ones, with its spacing in mm; the losses see all of them in mm.
        """
        found: dict[str, Any] = {}
        if images is not None and "image" in self.groups:
            found |= _named("image", self.groups["image"].terms(*images, mask=mask))
        if labels is not None and "label" in self.groups:
            found |= _named("label", self._over_scales(labels, mask))
        if field is not None and "field" in self.groups:
            assert spacing is not None, "the field losses need the voxel size"
            found |= _named("field", self._in_millimetres(field, spacing))
        if points is not None and "points" in self.groups:
            found |= _named("points", self._of_points(*points))
        return found

    def _in_millimetres(self, field: Tensor, spacing: Sequence[float] | Tensor) -> dict[str, Any]:
        """The terms of the field losses; pair by pair where the voxel sizes differ, since a loss takes one spacing."""
        sizes = torch.as_tensor(spacing, dtype=torch.float64).reshape(-1, field.shape[1]).tolist()
        alike = all(size == sizes[0] for size in sizes)
        parts = [(field, sizes[0])] if alike else [(field[i : i + 1], size) for i, size in enumerate(sizes)]
        group, ones, found = self.groups["field"], (1,) * (field.ndim - 2), []
        for part, size in parts:
            millimetres = part * part.new_tensor(size).reshape(1, -1, *ones)
            found.append(group.terms(millimetres, spacing=tuple(size)))
        return {name: mean_term([terms[name] for terms in found]) for name in found[0]}

    def _of_points(self, fixed: Tensor, moving: Tensor, ddf: Tensor, spacing: Sequence[float]) -> dict[str, Any]:
        size = ddf.new_tensor(tuple(spacing))
        millimetres = ddf * size.reshape(1, -1, *(1,) * (ddf.ndim - 2))
        return self.groups["points"].terms(fixed * size, moving * size, field=millimetres, spacing=tuple(spacing))

    def _over_scales(self, labels: tuple[Tensor, Tensor], mask: Tensor | None) -> dict[str, Any]:
        """The terms of the label losses, averaged over the blurs."""
        found = []
        for sigma in self.label_scales:
            blurred = [smooth(each, [sigma] * (each.ndim - 2)) if sigma else each for each in labels]
            found.append(self.groups["label"].terms(*blurred, mask=mask))
        return {name: mean_term([terms[name] for terms in found]) for name in found[0]}


def _to_the_border(name: str, options: Any) -> Any:
    """A field is held as smooth at the border as inside, unless the configuration says otherwise."""
    options = dict(options or {})
    loss = loss_names(kind="field").get(options.get("name", name))
    takes = loss is not None and "border" in inspect.signature(loss).parameters
    return {"border": "replicate", **options} if takes else options


def mean_term(terms: Sequence[Any]) -> Any:
    """The mean of like terms."""
    if len(terms) == 1:
        return terms[0]
    means = {key: torch.stack([getattr(term, key) for term in terms]).mean() for key in ("raw", "value")}
    return terms[0]._replace(**means)


def _named(group: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{group}.{name}": term for name, term in terms.items()}


def total(terms: Mapping[str, Any]) -> Tensor:
    """The sum of the weighted terms."""
    return torch.stack([term.value for term in terms.values()]).sum()


def numbers(terms: Mapping[str, Any]) -> dict[str, float]:
    """The terms as floats for a log: ``name`` the raw value, ``name_weighted`` what it added to the total."""
    raw = {name: float(term.raw.detach()) for name, term in terms.items()}
    return raw | {f"{name}_weighted": float(term.value.detach()) for name, term in terms.items()}
