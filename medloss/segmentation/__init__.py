"""Losses between a segmentation and its labels."""

from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.segmentation.dice import DiceLoss, MaskedDiceLoss
from medloss.segmentation.dice_ce import DiceCELoss
from medloss.segmentation.focal import FocalLoss
from medloss.segmentation.tversky import TverskyLoss

__all__ = ["CrossEntropyLoss", "DiceCELoss", "DiceLoss", "FocalLoss", "MaskedDiceLoss", "TverskyLoss"]
