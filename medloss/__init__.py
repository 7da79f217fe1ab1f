"""medloss: every loss for 2D and 3D medical volumes under one contract.

>>> import torch, medloss
>>> loss = medloss.DiceCELoss(softmax=True, to_onehot_y=True)
>>> logits = torch.zeros(1, 3, 8, 8, 8, requires_grad=True)
>>> labels = torch.zeros(1, 1, 8, 8, 8, dtype=torch.uint8)
>>> loss(logits, labels).backward()
"""

from pathlib import Path as _Path

from medloss import image, registration, segmentation
from medloss._version import __version__
from medloss.backends import BackendError, backend, explain
from medloss.base import FieldLoss, ImageLoss, LabelLoss, Loss, PointLoss, Term
from medloss.checks import ShapeError, check_values
from medloss.composite import MaskedLoss, Schedule, WeightedSum
from medloss.image import *
from medloss.multiscale import MultiScaleLoss
from medloss.registration import *
from medloss.segmentation import *
from medloss.supervision import DeepSupervisionLoss

__all__ = [
    "BackendError",
    "DeepSupervisionLoss",
    "FieldLoss",
    "ImageLoss",
    "LabelLoss",
    "Loss",
    "MaskedLoss",
    "MultiScaleLoss",
    "PointLoss",
    "Schedule",
    "ShapeError",
    "Term",
    "WeightedSum",
    "__version__",
    "backend",
    "check_values",
    "explain",
]
__all__ += segmentation.__all__
__all__ += registration.__all__
__all__ += image.__all__

# In a checkout the folders `transforms` and `apps` stand beside this package and are its subpackages; an installed
# medloss has them inside.
_root = _Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file() and (_root / "transforms").is_dir():
    __path__.append(str(_root))
