"""Who registers: ours and ANTs, each with one setting for all sets. Each gives a displacement in voxels."""

from __future__ import annotations

import tempfile

import numpy as np

METHODS = ("medloss", "medloss_dvf", "ants_syn", "ants_syncc")


def register(
    method: str, fixed: np.ndarray, moving: np.ndarray, spacing: tuple[float, ...], threads: int
) -> np.ndarray:
    """The displacement ``(3, *fixed)`` in voxels of the fixed grid."""
    if method.startswith("ants"):
        return _ants(fixed, moving, spacing, "SyN" if method == "ants_syn" else "SyNCC")
    return _medloss(method, fixed, moving, spacing, threads)


def _medloss(
    method: str, fixed: np.ndarray, moving: np.ndarray, spacing: tuple[float, ...], threads: int
) -> np.ndarray:
    import torch

    from medloss.apps.registration.config import PairConfig
    from medloss.apps.registration.pair import register

    options = {"transform": "dvf", "symmetric": False, "search": {"use": False}} if method == "medloss_dvf" else {}
    config = PairConfig.model_validate({"device": "cpu", "threads": threads, **options})
    result = register(*map(torch.tensor, (fixed, moving)), config, fixed_affine=np.diag([*spacing, 1.0]))
    return result.ddf.numpy()


def _ants(fixed: np.ndarray, moving: np.ndarray, spacing: tuple[float, ...], kind: str) -> np.ndarray:
    import ants
    import pandas

    spacing = tuple(map(float, spacing))
    images = [ants.from_numpy(each, spacing=spacing) for each in (fixed, moving)]
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(*images, type_of_transform=kind, outprefix=f"{folder}/")
        grid = np.stack(np.meshgrid(*[np.arange(n) * step for n, step in zip(fixed.shape, spacing)], indexing="ij"))
        points = pandas.DataFrame(grid.reshape(3, -1).T, columns=["x", "y", "z"])
        moved = ants.apply_transforms_to_points(3, points, found["fwdtransforms"])[["x", "y", "z"]].to_numpy()
    landed = moved.T.reshape(3, *fixed.shape) - grid
    return (landed / np.reshape(spacing, (3, 1, 1, 1))).astype(np.float32)
