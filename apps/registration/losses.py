"""Which loss sees what: the groups of a registration's losses and the tensors that go to each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medloss.apps.registration.config import Losses
from medloss.config import build_loss, loss_names
from medloss.multiscale import MultiScaleLoss

GROUPS = ("image", "label", "points", "field")


class RegistrationLoss(nn.Module):
    """The weighted sum of image, label, point and field losses, each group built from its YAML mapping.

    Args:
        config: its groups ``image``, ``label``, ``points`` and ``field`` are each what `medloss.config.build_loss`
            takes, or empty.
    """

    def __init__(self, config: Losses) -> None:
        super().__init__()
        groups = {kind: getattr(config, kind) for kind in GROUPS}
        groups["field"] = {name: _to_the_border(name, options) for name, options in groups["field"].items()}
        # Any: a type checker knows nothing of the modules in a ModuleDict
        self.groups: Any = nn.ModuleDict({k: build_loss(group, kind=k) for k, group in groups.items() if group})
        if "label" in self.groups and tuple(config.label_scales) != (0,):
            losses: Any = self.groups["label"].losses
            for name, loss in losses.items():
                losses[name] = MultiScaleLoss(loss, scales=config.label_scales)

    def set_epoch(self, epoch: int) -> None:
        """Move the schedules of the weights."""
        for group in self.groups.values():
            group.set_epoch(epoch)

    def terms(
        self,
        images: tuple[Tensor, Tensor] | None = None,
        labels: tuple[Tensor, Tensor] | None = None,
        points: Landmarks | None = None,
        field: Tensor | None = None,
        spacing: Sequence[float] | Tensor | None = None,
        mask: Tensor | None = None,
    ) -> dict[str, Any]:
        """Each term by ``group.name``, as medloss's ``Term(raw, weight, value)``; a group whose tensors are None is
        left out.

        Args:
            images: warped and fixed image, ``(B, C, *spatial)``.
            labels: warped and fixed label probabilities, ``(B, N, *spatial)``.
            points: landmarks, and the displacement that moves them.
            field: displacement or velocity ``(B, d, *spatial)`` in voxels along the axes; the losses see it in mm.
            spacing: mm per axis of the field's grid, ``(d,)``, or ``(B, d)`` where the pairs of a batch differ.
            mask: ``(B, 1, *spatial)`` of the images: where they are compared.
        """
        found: dict[str, Any] = {}
        if images is not None and "image" in self.groups:
            found |= _named("image", self.groups["image"].terms(*images, mask=mask))
        if labels is not None and "label" in self.groups:
            found |= _named("label", self.groups["label"].terms(*labels, mask=mask))
        if points is not None and "points" in self.groups and points.fixed.shape[1]:
            assert spacing is not None, "landmarks are compared in mm"
            found |= _named("points", self._of_points(points, spacing))
        if field is not None and "field" in self.groups:
            assert spacing is not None, "the field losses need the voxel size"
            found |= _named("field", self._in_millimetres(field, spacing))
        return found

    def _in_millimetres(self, field: Tensor, spacing: Sequence[float] | Tensor) -> dict[str, Any]:
        """The terms of the field losses."""
        group = self.groups["field"]
        found = [
            group.terms(_stretched(field[part], size), spacing=size) for part, size in _by_spacing(spacing, len(field))
        ]
        return {name: mean_term([terms[name] for terms in found]) for name in found[0]}

    def _of_points(self, points: Landmarks, spacing: Sequence[float] | Tensor) -> dict[str, Any]:
        """The terms of the point losses, in mm; of the pairs of a batch that have landmarks."""
        group, found = self.groups["points"], []
        for part, size in _by_spacing(spacing, len(points.fixed)):
            if not bool(points.mask[part].any()):
                continue
            scale = points.fixed.new_tensor(size)
            moved = {"field": _stretched(points.ddf[part], size), "spacing": size}
            found.append(
                group.terms(points.fixed[part] * scale, points.moving[part] * scale, points.mask[part], **moved)
            )
        return {name: mean_term([terms[name] for terms in found]) for name in found[0]} if found else {}


class Landmarks(NamedTuple):
    """Fixed and moving landmarks ``(B, n, 3)`` in voxels, which rows hold one ``(B, n)``, and the displacement."""

    fixed: Tensor
    moving: Tensor
    mask: Tensor
    ddf: Tensor


def _by_spacing(spacing: Sequence[float] | Tensor, count: int) -> list[tuple[slice, tuple[float, ...]]]:
    """The pairs of a batch with their voxel size: one by one where it differs, since a loss takes one."""
    sizes = [tuple(size) for size in torch.as_tensor(spacing, dtype=torch.float64).reshape(-1, 3).tolist()]
    if all(size == sizes[0] for size in sizes):
        return [(slice(0, count), sizes[0])]
    return [(slice(index, index + 1), size) for index, size in enumerate(sizes)]


def _stretched(field: Tensor, size: tuple[float, ...]) -> Tensor:
    """A field in voxels as one in mm along the axes."""
    return field * field.new_tensor(size).reshape(1, -1, *(1,) * (field.ndim - 2))


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
