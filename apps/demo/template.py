"""The MNI152 average brain (T1, grey and white matter) that ships inside the nilearn wheel; nothing is downloaded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, spacing_of
from medloss.extras import install_line

TISSUES = {1: "CSF", 2: "grey matter", 3: "white matter"}
SPACING_MM = 2


class Template(NamedTuple):
    """The brain on its 2 mm grid (i, j, k).

    ``image``: T1 intensities about 0..1, zero outside the brain. ``tissues``: 0 background, 1 CSF, 2 grey matter, 3
    white matter. ``brain``: the mask of the three. ``volume``: the image with its affine and header, for writing.
    """

    image: np.ndarray
    tissues: np.ndarray
    brain: np.ndarray
    volume: Volume


def load_template(spacing_mm: int = SPACING_MM) -> Template:
    """The template at ``spacing_mm`` (isotropic). A voxel of the brain that is mostly neither grey nor white is CSF."""
    try:
        from nilearn import datasets
    except ImportError:
        raise UserError(
            "medloss demo needs nilearn, which brings the MNI152 template, and it is not installed; "
            f"install it with: {install_line('demo')}"
        ) from None
    t1 = datasets.load_mni152_template(resolution=spacing_mm)
    grey = datasets.load_mni152_gm_template(resolution=spacing_mm).get_fdata()
    white = datasets.load_mni152_wm_template(resolution=spacing_mm).get_fdata()
    brain = datasets.load_mni152_brain_mask(resolution=spacing_mm).get_fdata() > 0
    rest = np.clip(1 - grey - white, 0, 1)
    tissues = np.where(brain, 1 + np.argmax([rest, grey, white], axis=0), 0).astype(np.uint8)
    image = np.where(brain, t1.get_fdata(), 0).astype(np.float32)
    return Template(image, tissues, brain, Volume(image, t1.affine, spacing_of(t1.affine)))
