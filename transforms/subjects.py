"""Subjects of TorchIO, which hold images in place of arrays. TorchIO itself is not needed here."""

from __future__ import annotations

import copy
import sys
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor


def copied(data: Mapping[Hashable, Any]) -> Any:
    """A shallow copy: a dictionary, or a subject of a subject."""
    return copy.copy(data) if is_subject(data) else dict(data)


def opened(value: Any) -> Any:
    """The array ``C I J K`` of a TorchIO image, with its affine; anything else as it is."""
    if not is_image(value):
        return value
    return MetaTensor(value.data, affine=torch.as_tensor(np.asarray(value.affine)))


def put(data: Any, key: Hashable, array: Any, source: Any) -> None:
    """Store an array under a key, as a TorchIO image on the grid of ``source`` where that is one."""
    if not is_image(source):
        data[key] = array
        return
    tensor = array.as_tensor() if isinstance(array, MetaTensor) else array
    image = sys.modules["torchio"].ScalarImage(tensor=tensor, affine=source.affine)
    if is_subject(data):
        data.add_image(image, key)
    else:
        data[key] = image


def is_image(value: Any) -> bool:
    """Whether this is an image of TorchIO."""
    torchio = sys.modules.get("torchio")
    return torchio is not None and not isinstance(value, (Tensor, np.ndarray)) and isinstance(value, torchio.Image)


def is_subject(data: Any) -> bool:
    """Whether this is a subject of TorchIO."""
    torchio = sys.modules.get("torchio")
    return torchio is not None and isinstance(data, torchio.Subject)
