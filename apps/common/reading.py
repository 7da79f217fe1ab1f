"""How files are read: the options that every command and both configurations share."""

from __future__ import annotations

from typing import Literal

from medloss.apps.common.config import Model


class Reading(Model):
    """What to do with a file that can be read in more than one way. With the defaults nothing is guessed without a
    message.

    ``nan``: what to do with NaN and infinite intensities, ``refuse`` or ``zero`` (replace them by 0, with a note).
    ``space``: what to do when nibabel and ITK place the same header differently. ``warn``: use nibabel's place (the
    sform, if there is one) and print both affines. ``itk``: use the place where ITK, ANTs and 3D Slicer see the image.
    ``refuse``: stop.
    ``trust_arrays``: use a label map or a mask voxel by voxel although its header places it elsewhere than its image.
    The shapes must agree.
    """

    nan: Literal["refuse", "zero"] = "refuse"
    """What to do with NaN and infinite intensities."""
    space: Literal["warn", "itk", "refuse"] = "warn"
    """What to do when nibabel and ITK place one header differently."""
    trust_arrays: bool = False
    """Use labels and masks voxel by voxel although their header places them elsewhere."""


DEFAULT = Reading()
