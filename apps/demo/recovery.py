"""Part two: the template is warped by a known field, and ``medloss register pair`` has to find that field again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medloss.apps.common.deformation import folding_percent, jacobian_determinant, target_registration_error
from medloss.apps.common.fields import load_displacement, save_displacement
from medloss.apps.common.images import load_volume, save_volume
from medloss.apps.common.output import RunFolder
from medloss.apps.demo.template import Template
from medloss.apps.demo.warp import random_warp, warp
from medloss.apps.registration.config import PairConfig
from medloss.apps.registration.pair import register_pair

NOISE = 0.03  # standard deviation, drawn for each of the two images: else they would be one image, resampled


class Case(NamedTuple):
    """The files of the task, and what is known about it.

    ``truth`` (3, i, j, k) in voxels is the field to be found: the fixed image shows at ``x`` what the moving image, the
    template, has at ``x + truth(x)``. ``brain`` (i, j, k) is the brain's mask in the fixed image.
    """

    fixed: Path
    moving: Path
    truth: np.ndarray
    brain: np.ndarray


class Recovery(NamedTuple):
    """What part two found: the run folder, the field (3, i, j, k) in voxels, errors (i, j, k) in mm, the numbers."""

    run: RunFolder
    ddf: np.ndarray
    error_before_mm: np.ndarray
    error_mm: np.ndarray
    metrics: dict[str, Any]


def make_case(folder: Path, template: Template, seed: int) -> Case:
    """Warp the template and write both images and the true field into the folder."""
    truth = random_warp(template.brain, template.volume.spacing, seed)
    brain = warp(template.brain, truth) > 0.5
    random = np.random.RandomState(seed)
    images = {"fixed": (warp(template.image, truth), brain), "moving": (template.image, template.brain)}
    paths = {}
    for name, (image, mask) in images.items():
        noisy = (image + random.normal(0, NOISE, image.shape)) * mask
        paths[name] = folder / f"{name}.nii.gz"
        save_volume(paths[name], noisy.astype(np.float32), template.volume)
    save_displacement(folder / "true_field.nii.gz", truth.numpy(), template.volume.affine)
    return Case(**paths, truth=truth.numpy(), brain=brain)


def recover(case: Case, config: PairConfig, output: Path, progress: bool = True) -> Recovery:
    """Register the files as ``medloss register pair`` does, and hold the field that it wrote to the true one."""
    run = register_pair(case.fixed, case.moving, config, output, progress=progress)
    ddf, affine = load_displacement(run.path / "field.nii.gz")
    before = target_registration_error(np.zeros_like(case.truth), case.truth, affine)
    after = target_registration_error(ddf, case.truth, affine)
    jacobian = jacobian_determinant(ddf)
    metrics = {
        **spread("tre_before", before[case.brain]),
        **spread("tre", after[case.brain]),
        "folding_brain_percent": folding_percent(jacobian, case.brain),
        "folding_percent": folding_percent(jacobian),
    }
    return Recovery(run, ddf, before * case.brain, after * case.brain, metrics)


def spread(name: str, error_mm: np.ndarray) -> dict[str, float]:
    """Mean, median and 95th percentile of errors (n,) in mm."""
    median, high = np.percentile(error_mm, [50, 95])
    return {f"{name}_mm": float(error_mm.mean()), f"{name}_median_mm": float(median), f"{name}_p95_mm": float(high)}


def images(case: Case, found: Recovery) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fixed, moving and moved image (i, j, k), as written."""
    fixed, moving = load_volume(case.fixed).array, load_volume(case.moving).array
    return fixed, moving, load_volume(found.run.path / "moved.nii.gz").array
