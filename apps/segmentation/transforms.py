"""What happens to a case between file and network and is not random; ``augment.py`` has the rest."""

from __future__ import annotations

from monai.transforms import Compose

from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.volumes import PrepareCase


def fixed_transforms(data: Data, classes: Classes | None, masked: bool = False) -> Compose:
    """Load, orient to RAS, resample and normalise; with ``classes`` the label too, as indices."""
    return Compose([PrepareCase(data, classes, masked)])
