"""Soft labels: one channel per class, that can be resampled linearly and smoothed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.networks.layers import GaussianFilter
from monai.transforms import InvertibleTransform, MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medloss.options import frozen
from medloss.transforms.class_weights import class_indices
from medloss.transforms.inputs import as_tensor, checked_spacing, like, naming, spatial_shape, voxel_sizes

HALF = 0.5


class SoftOneHot(Transform):
    """One channel per class in float32, so that resampling keeps the shares of the classes in a voxel.

    Resample it linearly, with the image: a voxel that lies half in a class then says 0.5, where nearest neighbour has
    to choose. The losses take it as it is (``BN[spatial]``, without ``to_onehot_y``).

    All channels are 0 where the label is ignored, and where a spatial transform fills in zeros from outside: the sum
    over the channels says how much of a voxel is annotated, and is a mask for the loss.

    Args:
        classes: number of classes, the background included.
        ignore: label of voxels that nobody annotated.

    Shape:
        label ``1[spatial]``, result ``N[spatial]``. :meth:`inverse` goes back: the most likely class of each voxel as
        int64, and ``ignore`` (0 without one) where less than half of it is annotated.

    Raises:
        ValueError: several channels, or a label that is no class.

    Example:
        >>> import torch
        >>> from medloss.transforms import SoftOneHot
        >>> soft = SoftOneHot(2, ignore=255)
        >>> soft(torch.tensor([[[0, 1, 255]]]))
        tensor([[[1., 0., 0.]],
        <BLANKLINE>
                [[0., 1., 0.]]])
        >>> soft.inverse(soft(torch.tensor([[[0, 1, 255]]])))
        tensor([[[  0,   1, 255]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, classes: int, ignore: int | None = None) -> None:
        self.classes, self.ignore = frozen("classes", classes), frozen("ignore", ignore)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """The channels of the label map ``img``, of the same kind."""
        label, counted = class_indices(img, self.classes, self.ignore)
        number = torch.arange(self.classes, device=label.device).view(-1, *[1] * (label.ndim - 1))
        return like((label == number) & counted, img, torch.float32)

    def inverse(self, data: NdarrayOrTensor) -> NdarrayOrTensor:
        """The label map of channels ``N[spatial]``, of the same kind."""
        soft = as_tensor(data, "soft label")
        if soft.shape[0] != self.classes:
            raise ValueError(f"the soft label has {soft.shape[0]} channels, not one for each of {self.classes} classes")
        label = soft.argmax(0, keepdim=True)
        unknown = soft.sum(0, keepdim=True) < HALF
        return like(label.masked_fill(unknown, 0 if self.ignore is None else self.ignore), data, torch.int64)


class SoftOneHotd(MapTransform, InvertibleTransform):
    """:class:`SoftOneHot` for the label maps ``keys`` of a dictionary, in place; ``Compose.inverse`` goes back.

    Put it before the spatial transforms, and give them ``mode="bilinear"`` for these keys.

    Args:
        keys: keys of the label maps.
        classes, ignore: as in :class:`SoftOneHot`.

    Example:
        >>> import torch
        >>> from medloss.transforms import SoftOneHotd
        >>> SoftOneHotd("label", classes=2)({"label": torch.tensor([[[0, 1]]])})["label"].shape
        torch.Size([2, 1, 2])
    """

    backend = SoftOneHot.backend

    def __init__(
        self, keys: KeysCollection, classes: int, ignore: int | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.soft = SoftOneHot(classes, ignore)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            with naming(key):
                result[key] = traced(self, result, key, self.soft(result[key]))
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            untraced(self, result, key)
            result[key] = self.soft.inverse(result[key])
        return result


class SmoothLabels(Transform):
    r"""Soft labels made softer: everywhere alike, near the borders of the classes, or both.

    With ``sigma``, each channel is smoothed by a Gaussian and the channels of a voxel are divided by their sum: deep
    inside a class the label stays 1, at its border it is 0.5 (for borders that annotators place differently). Then
    :math:`y' = (1 - \epsilon) y + \epsilon s / N` with the sum :math:`s` of the N channels, which is label smoothing
    (Szegedy et al., CVPR 2016, eq. 10) where :math:`s = 1`. Voxels whose channels are all 0, which nobody annotated,
    stay so.

    Args:
        epsilon: share that goes to all classes alike, within [0, 1).
        sigma: standard deviation of the Gaussian, in the unit of the spacing; 0 for none.
        spacing: as in :class:`DistanceMap`.

    Shape:
        soft or one-hot label ``N[spatial]`` as of :class:`SoftOneHot`, result the same in float32. :meth:`inverse`
        gives ``y`` back where ``sigma`` is 0; of a Gaussian there is no way back.

    Raises:
        ValueError: fewer than two channels, or an option out of range.

    Example:
        >>> import torch
        >>> from medloss.transforms import SmoothLabels
        >>> SmoothLabels(epsilon=0.1)(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
        tensor([[[0.9500, 0.0500]],
        <BLANKLINE>
                [[0.0500, 0.9500]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self, epsilon: float = 0.1, sigma: float = 0.0, spacing: Sequence[float] | float | None = None
    ) -> None:
        epsilon, sigma = frozen("epsilon", epsilon), frozen("sigma", sigma)
        if not 0 <= epsilon < 1 or not sigma >= 0:
            raise ValueError(f"epsilon must be within [0, 1) and sigma at least 0, not {epsilon!r} and {sigma!r}")
        self.epsilon, self.sigma = epsilon, sigma
        self.spacing = checked_spacing(spacing)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """The smoother label of ``img``, of the same kind."""
        soft = self._channels(img)
        if self.sigma:
            soft = self._blurred(soft, voxel_sizes(img, self.spacing))
        share = soft.sum(0, keepdim=True) / len(soft)
        return like((1 - self.epsilon) * soft + self.epsilon * share, img, torch.float32)

    def inverse(self, data: NdarrayOrTensor) -> NdarrayOrTensor:
        """What was smoothed, where ``sigma`` is 0.

        Raises:
            ValueError: the labels were smoothed by a Gaussian.
        """
        if self.sigma:
            raise ValueError(f"labels that a Gaussian of sigma={self.sigma} has smoothed cannot be had back")
        soft = self._channels(data)
        share = soft.sum(0, keepdim=True) / len(soft)
        return like((soft - self.epsilon * share) / (1 - self.epsilon), data, torch.float32)

    def _channels(self, img: NdarrayOrTensor) -> Tensor:
        spatial_shape(img, "soft label")
        soft = as_tensor(img, "soft label").float()
        if len(soft) < 2:
            raise ValueError("the label needs one channel per class, at least 2: put SoftOneHot before this transform")
        return soft

    def _blurred(self, soft: Tensor, sizes: list[float]) -> Tensor:
        sigmas = [self.sigma / size for size in sizes]
        blurred = GaussianFilter(soft.ndim - 1, sigmas, approx="sampled").to(soft.device)(soft[None])[0]
        total, before = blurred.sum(0, keepdim=True), soft.sum(0, keepdim=True)
        return torch.where(before > 0, before * blurred / total.clamp(min=torch.finfo(torch.float32).tiny), 0)


class SmoothLabelsd(MapTransform, InvertibleTransform):
    """:class:`SmoothLabels` for the soft labels ``keys`` of a dictionary, in place.

    With a Gaussian it belongs after the spatial transforms, or the Gaussian is scaled with the image. The inverse of a
    ``Compose`` undoes the uniform smoothing, and leaves labels as they are that a Gaussian has smoothed.

    Args:
        keys: keys of the soft labels.
        epsilon, sigma, spacing: as in :class:`SmoothLabels`.

    Example:
        >>> import torch
        >>> from medloss.transforms import SmoothLabelsd
        >>> SmoothLabelsd("label", epsilon=0.2)({"label": torch.tensor([[[1.0]], [[0.0]]])})["label"].flatten()
        tensor([0.9000, 0.1000])
    """

    backend = SmoothLabels.backend

    def __init__(
        self,
        keys: KeysCollection,
        epsilon: float = 0.1,
        sigma: float = 0.0,
        spacing: Sequence[float] | float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.smooth = SmoothLabels(epsilon, sigma, spacing)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            with naming(key):
                result[key] = traced(self, result, key, self.smooth(result[key]))
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            untraced(self, result, key)
            if not self.smooth.sigma:
                result[key] = self.smooth.inverse(result[key])
        return result


def traced(transform: InvertibleTransform, data: dict[Hashable, Any], key: Hashable, result: Any) -> Any:
    """The result with this transform on its list of those that have been applied: a MetaTensor carries it itself."""
    if isinstance(result, MetaTensor):
        return transform.push_transform(result)
    transform.push_transform(data, key)
    return result


def untraced(transform: InvertibleTransform, data: dict[Hashable, Any], key: Hashable) -> None:
    """Take this transform off the list again.

    Raises:
        RuntimeError: another one is the last on it.
    """
    if isinstance(data[key], MetaTensor):
        transform.pop_transform(data[key])
    else:
        transform.pop_transform(data, key)
