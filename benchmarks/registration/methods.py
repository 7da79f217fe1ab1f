"""Who registers: ours, ANTs and FireANTs, each with one setting for all sets. Each gives a displacement in voxels."""

from __future__ import annotations

import tempfile

import numpy as np

OURS = {
    "medloss": {},
    "medloss_dvf": {"transform": "dvf", "symmetric": False, "search": {"use": False}},
    "medloss_mind": {"loss": {"image": {"mind_ssc": {}}}},
    "medloss_mi": {"loss": {"image": {"global_mutual_information": {}}}},
}
"""What differs from the defaults of ``register pair``."""
METHODS = (*OURS, "ants_syn", "ants_syncc", "fireants")


def register(
    method: str, fixed: np.ndarray, moving: np.ndarray, spacing: tuple[float, ...], threads: int
) -> np.ndarray:
    """The displacement ``(3, *fixed)`` in voxels of the fixed grid."""
    if method.startswith("ants"):
        return _ants(fixed, moving, spacing, "SyN" if method == "ants_syn" else "SyNCC")
    if method == "fireants":
        return _fireants(fixed, moving, spacing, threads)
    return _medloss(method, fixed, moving, spacing, threads)


def _medloss(
    method: str, fixed: np.ndarray, moving: np.ndarray, spacing: tuple[float, ...], threads: int
) -> np.ndarray:
    import torch

    from medloss.apps.registration.config import PairConfig
    from medloss.apps.registration.pair import register

    config = PairConfig.model_validate({"device": "cpu", "threads": threads, **OURS[method]})
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


def _fireants(fixed: np.ndarray, moving: np.ndarray, spacing: tuple[float, ...], threads: int) -> np.ndarray:
    """As its README begins: an affine stage, then the greedy one, both by cross-correlation."""
    import SimpleITK
    import torch
    from fireants.io.image import BatchedImages, Image
    from fireants.registration.affine import AffineRegistration
    from fireants.registration.greedy import GreedyRegistration

    torch.set_num_threads(threads)
    pair = []
    for each in (fixed, moving):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(each.transpose(2, 1, 0)))
        image.SetSpacing([float(step) for step in spacing])
        pair.append(BatchedImages([Image(image, device="cpu")]))
    common = {"scales": [4, 2, 1], "fixed_images": pair[0], "moving_images": pair[1], "cc_kernel_size": 5}
    affine = AffineRegistration(iterations=[200, 100, 50], optimizer="Adam", optimizer_lr=3e-3, **common)
    affine.optimize()
    start = affine.get_affine_matrix().detach()
    greedy = GreedyRegistration(
        iterations=[200, 100, 25],
        deformation_type="compositive",
        smooth_grad_sigma=1,
        optimizer="adam",
        optimizer_lr=0.5,
        init_affine=start,
        **common,
    )
    greedy.optimize()
    unit = greedy.get_warped_coordinates(*pair)[0].detach().numpy()  # of axes z, y, x: x, y, z from -1 to 1
    sizes = np.reshape(fixed.shape, (3, 1, 1, 1))
    return ((unit.transpose(3, 2, 1, 0) + 1) / 2 * (sizes - 1) - np.indices(fixed.shape)).astype(np.float32)
