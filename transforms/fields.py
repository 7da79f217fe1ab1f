"""Moving images and label maps by a displacement field."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.networks.blocks import Warp
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, ensure_tuple_rep
from torch import Tensor

from medloss.transforms.inputs import as_tensor, like, naming, spatial_shape, type_of

MODES = ("bilinear", "nearest")
PADDING_MODES = ("border", "zeros", "reflection")


class WarpField(Transform):
    r"""Resample an image at the places that a displacement field points to: :math:`w(x) = m(x + u(x))`.

    The convention is that of :class:`monai.networks.blocks.Warp`: the field lives on the grid of the *result*, its
    components are in voxels and in the order of the array's axes, and it says where to *fetch* each voxel from (so
    :math:`u = 1` along an axis moves the content one voxel towards lower indices). The result keeps the meta data of
    the image, affine included.

    Args:
        mode: ``"bilinear"`` for images (linear in 2D and 3D), ``"nearest"`` for label maps: no new values arise, and
            the type of the label map stays.
        padding_mode: what lies outside the image: ``"border"`` (its edge value), ``"zeros"`` or ``"reflection"``.

    Shape:
        image ``C[spatial]``, field ``d[spatial]`` with ``d`` = 2 or 3 components, result ``C[spatial]``. Linear results
        are float32, or float64 for a float64 image.

    Raises:
        ValueError: if the shapes do not fit each other, or the field is not finite.

    Example:
        >>> import torch
        >>> from medloss.transforms import WarpField
        >>> image = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]])
        >>> field = torch.zeros(2, 2, 3)
        >>> field[1] = 0.5  # half a voxel along the second axis
        >>> WarpField()(image, field)
        tensor([[[0.5000, 1.5000, 2.0000],
                 [3.5000, 4.5000, 5.0000]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, mode: str = "bilinear", padding_mode: str = "border") -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {mode!r}")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {PADDING_MODES}, not {padding_mode!r}")
        self.mode = mode
        self.padding_mode = padding_mode

    # an array transform of two arrays: MONAI's base knows those of one
    def __call__(self, img: NdarrayOrTensor, field: NdarrayOrTensor) -> NdarrayOrTensor:  # type: ignore[override]
        """``img`` fetched through ``field``, of the same kind as ``img``."""
        values, displacement = as_tensor(img, "image"), as_tensor(field, "field")
        _check_shapes(values, displacement)
        precision = _precision(values, exact=self.mode == "nearest")
        displacement = displacement.to(values.device, precision)
        if not bool(displacement.isfinite().all()):
            raise ValueError("the field holds NaN or infinite displacements: it must be finite everywhere")
        with values.device:  # MONAI makes its grid on torch's default device
            warped = self._resampler()(values[None].to(precision), displacement[None])[0]
        if self.mode == "nearest":
            return like(warped.to(values.dtype), img, type_of(img))
        return like(warped, img, precision)

    def _resampler(self) -> Warp:
        # made anew for each call: Warp caches a grid of the last image's size and device, which would go to the workers
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*native grid_sample")
            return Warp(self.mode, self.padding_mode)


class WarpFieldd(MapTransform):
    """:class:`WarpField` for the entries ``keys`` of a dictionary, all moved by the one field under ``field_key``.

    Args:
        keys: keys of images and label maps on the grid of the field.
        field_key: key of the displacement field ``d[spatial]``, in voxels.
        mode: ``"bilinear"`` or ``"nearest"``, one for all or one for each of ``keys``.
        padding_mode: as in :class:`WarpField`, one for all or one for each of ``keys``.

    Example:
        >>> import torch
        >>> from medloss.transforms import WarpFieldd
        >>> label = torch.tensor([[[1, 2, 3]]], dtype=torch.uint8)
        >>> pair = {"image": label.float(), "label": label, "ddf": torch.full((2, 1, 3), 0.75)}
        >>> moved = WarpFieldd(["image", "label"], mode=["bilinear", "nearest"])(pair)
        >>> moved["image"]
        tensor([[[1.7500, 2.7500, 3.0000]]])
        >>> moved["label"]
        tensor([[[2, 3, 3]]], dtype=torch.uint8)
    """

    backend = WarpField.backend

    def __init__(
        self,
        keys: KeysCollection,
        field_key: Hashable = "ddf",
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str | Sequence[str] = "border",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.field_key = field_key
        modes = ensure_tuple_rep(mode, len(self.keys))
        paddings = ensure_tuple_rep(padding_mode, len(self.keys))
        self.warps = tuple(WarpField(*both) for both in zip(modes, paddings))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if self.field_key not in result:
            raise KeyError(f"the data has no field {self.field_key!r}: its keys are {sorted(map(str, result))}")
        for key, warp in self.key_iterator(result, self.warps):
            with naming(key):
                result[key] = warp(result[key], result[self.field_key])
        return result


def _check_shapes(image: Tensor, field: Tensor) -> None:
    spatial = spatial_shape(image, "image")
    expected = (len(spatial), *spatial)
    if tuple(field.shape) != expected:
        raise ValueError(
            f"an image of shape {tuple(image.shape)} needs a field of shape {expected}: one component (voxels) per "
            f"spatial axis on the same grid, but the field has {tuple(field.shape)}"
        )


def _precision(values: Tensor, exact: bool) -> torch.dtype:
    """The type to resample in: float32, or float64 for double images and for label values that float32 would round."""
    if values.dtype == torch.float64:
        return torch.float64
    wide = values.dtype in (torch.int32, torch.int64)
    return torch.float64 if exact and wide else torch.float32
