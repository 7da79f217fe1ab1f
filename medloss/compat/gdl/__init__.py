"""geo-deep-learning: its own losses, and those of segmentation-models-pytorch 0.6.0 that its configurations name.

``BoundaryLoss``, ``OhemCrossEntropy2d``, ``DuoLoss`` and ``LovaszSoftmax`` are its own; the others stand for
``segmentation_models_pytorch.losses``. All have the peers' signatures and numbers, over the losses of this package.
What differs stands in :data:`medloss.compat.KNOWN_DIFFERENCES`.

>>> import medloss.compat.gdl as losses
>>> losses.DiceLoss(mode=losses.MULTICLASS_MODE, ignore_index=255).smooth
0.0
"""

from medloss.compat.gdl.base import BINARY_MODE, MULTICLASS_MODE, MULTILABEL_MODE
from medloss.compat.gdl.boundary_loss import BoundaryLoss
from medloss.compat.gdl.duo_loss import DuoLoss
from medloss.compat.gdl.focal import FocalLoss
from medloss.compat.gdl.lovasz import LovaszLoss, LovaszSoftmax
from medloss.compat.gdl.mcc import MCCLoss
from medloss.compat.gdl.ohem_loss import OhemCrossEntropy2d
from medloss.compat.gdl.overlap import DiceLoss, JaccardLoss, TverskyLoss
from medloss.compat.gdl.soft_bce import SoftBCEWithLogitsLoss
from medloss.compat.gdl.soft_ce import SoftCrossEntropyLoss

__all__ = [
    "BINARY_MODE",
    "MULTICLASS_MODE",
    "MULTILABEL_MODE",
    "BoundaryLoss",
    "DiceLoss",
    "DuoLoss",
    "FocalLoss",
    "JaccardLoss",
    "LovaszLoss",
    "LovaszSoftmax",
    "MCCLoss",
    "OhemCrossEntropy2d",
    "SoftBCEWithLogitsLoss",
    "SoftCrossEntropyLoss",
    "TverskyLoss",
]
