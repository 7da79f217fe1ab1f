"""medloss: every loss for 2D and 3D medical volumes under one contract.

>>> import torch, medloss
>>> loss = medloss.DiceCELoss(softmax=True, to_onehot_y=True)
>>> logits = torch.zeros(1, 3, 8, 8, 8, requires_grad=True)
>>> labels = torch.zeros(1, 1, 8, 8, 8, dtype=torch.uint8)
>>> loss(logits, labels).backward()

Names and submodules are imported when they are first used: ``import medloss`` alone imports no torch. A program that
loads a graph with medloss operators, and uses nothing else of medloss, imports ``medloss.ops``, which registers them.
"""

from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING
from typing import Any as _Any

from medloss import _start as _start  # now, before a program changes its folder
from medloss._version import __version__

_NAMES = {
    "backends": ("BackendError", "backend", "explain"),
    "base": ("FieldLoss", "ImageLoss", "LabelLoss", "Loss", "PointLoss", "Term"),
    "checks": ("ShapeError", "check_values"),
    "composite": ("MaskedLoss", "Schedule", "WeightedSum"),
    "image": (
        "CauchyLoss",
        "CharbonnierLoss",
        "FocalFrequencyLoss",
        "GemanMcClureLoss",
        "GradientDifferenceLoss",
        "HeatmapJSDivLoss",
        "HeatmapKLDivLoss",
        "HuberLoss",
        "InverseDepthSmoothnessLoss",
        "L1Loss",
        "MSELoss",
        "MSSSIML1Loss",
        "MultiScaleSSIMLoss",
        "PSNRLoss",
        "RobustLoss",
        "SSIMLoss",
        "SpectralAmplitudeLoss",
        "TotalVariationLoss",
        "TukeyLoss",
        "WelschLoss",
    ),
    "multiscale": ("MultiScaleLoss",),
    "registration": (
        "BendingEnergyLoss",
        "ChamferLoss",
        "CorrelationRatioLoss",
        "CurvatureLoss",
        "CycleConsistencyLoss",
        "DiffusionLoss",
        "DivergenceLoss",
        "FieldGradientLoss",
        "FieldTotalVariationLoss",
        "GlobalMutualInformationLoss",
        "GradICONLoss",
        "HyperelasticLoss",
        "InverseConsistencyLoss",
        "JacobianLoss",
        "LandmarkLoss",
        "LinearElasticityLoss",
        "LocalMutualInformationLoss",
        "LocalNormalizedCrossCorrelationLoss",
        "MINDSSCLoss",
        "NormalizedCrossCorrelationLoss",
        "NormalizedGradientFieldLoss",
        "NormalizedMutualInformationLoss",
    ),
    "segmentation": (
        "ACELoss",
        "ActiveContourLoss",
        "AsymmetricSimilarityLoss",
        "AsymmetricUnifiedFocalLoss",
        "BlobDiceLoss",
        "BlobLoss",
        "BoundaryDoULoss",
        "BoundaryF1Loss",
        "BoundaryLoss",
        "CCDiceLoss",
        "CenterlineBoundaryDiceLoss",
        "ComboLoss",
        "ConnectedComponentLoss",
        "CrossEntropyLoss",
        "DSCPlusPlusLoss",
        "DiceCELoss",
        "DiceFocalLoss",
        "DiceLoss",
        "DiceTopKLoss",
        "DistancePenalisedCELoss",
        "DuoLoss",
        "ExclusionLoss",
        "ExpLogLoss",
        "FocalLoss",
        "FocalTverskyLoss",
        "GeneralizedCrossEntropyLoss",
        "GeneralizedDiceFocalLoss",
        "GeneralizedDiceLoss",
        "GeneralizedSurfaceLoss",
        "GeneralizedWassersteinDiceLoss",
        "HausdorffDTLoss",
        "HausdorffERLoss",
        "JaccardLoss",
        "LogCoshDiceLoss",
        "LogHausdorffDTLoss",
        "LovaszHingeLoss",
        "LovaszSoftmaxLoss",
        "MCCLoss",
        "MarginalDiceCELoss",
        "MaskedDiceLoss",
        "MbLSLoss",
        "NACLLoss",
        "NoiseRobustDiceLoss",
        "OhemCrossEntropyLoss",
        "PenaltyGeneralizedDiceLoss",
        "PolyLoss",
        "SensitivitySpecificityLoss",
        "SizeConstraintLoss",
        "SkeletonRecallLoss",
        "SoftBCELoss",
        "SoftDiceclDiceLoss",
        "SoftclDiceLoss",
        "SpatiallyVaryingLabelSmoothingLoss",
        "SymmetricCrossEntropyLoss",
        "TLoss",
        "TargetAdaptiveLoss",
        "TopKLoss",
        "TverskyCELoss",
        "TverskyFocalLoss",
        "TverskyLoss",
        "UnifiedFocalLoss",
    ),
    "supervision": ("DeepSupervisionLoss",),
}
"""Every public name, under the module that it is imported from."""
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

if TYPE_CHECKING:  # what type checkers and editors see: the same names, and an error for any other
    from medloss import config as config
    from medloss import functional as functional
    from medloss import image as image
    from medloss import ops as ops
    from medloss import registration as registration
    from medloss import segmentation as segmentation
    from medloss.backends import BackendError as BackendError
    from medloss.backends import backend as backend
    from medloss.backends import explain as explain
    from medloss.base import FieldLoss as FieldLoss
    from medloss.base import ImageLoss as ImageLoss
    from medloss.base import LabelLoss as LabelLoss
    from medloss.base import Loss as Loss
    from medloss.base import PointLoss as PointLoss
    from medloss.base import Term as Term
    from medloss.checks import ShapeError as ShapeError
    from medloss.checks import check_values as check_values
    from medloss.composite import MaskedLoss as MaskedLoss
    from medloss.composite import Schedule as Schedule
    from medloss.composite import WeightedSum as WeightedSum
    from medloss.image import *
    from medloss.multiscale import MultiScaleLoss as MultiScaleLoss
    from medloss.registration import *
    from medloss.segmentation import *
    from medloss.supervision import DeepSupervisionLoss as DeepSupervisionLoss
else:
    __all__ = ["__version__", *_MODULE_OF]

    def _submodules() -> set[str]:
        """What is an attribute without an import statement: the package's own, and nothing else of a checkout."""
        files = _Path(__file__).parent.iterdir()
        found = {path.stem for path in files if path.suffix == ".py" or (path / "__init__.py").is_file()}
        return {"apps", "transforms", *(name for name in found if not name.startswith("_"))}

    def __getattr__(name: str) -> _Any:
        if name not in _MODULE_OF:
            if not name.startswith("_") and name in _submodules():
                return _import_module(f"medloss.{name}")
            raise AttributeError(f"module 'medloss' has no attribute {name!r}")
        found = getattr(_import_module(f"medloss.{_MODULE_OF[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_submodules()})


# In a checkout the folders `transforms` and `apps` stand beside this package and are its subpackages; an installed
# medloss has them inside.
_root = _Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file() and (_root / "transforms").is_dir():
    __path__.append(str(_root))
