"""Pairs to register, made of volumes in a folder that the command line names. Each is cached as one ``.npz``.

Sets, each half for choosing settings (``tune``) and half for reporting (``report``):

* ``hippocampus``: the Decathlon's crops, id n against n + 100, padded to 64^3; 2 labels.
* ``brain``: OASIS at half resolution, both ways, 2 crude labels. One pair of people: its direction A to B is ``tune``.
* ``full``: the same at full resolution.
* ``painted``: anatomies of SynthSeg, 2 mm, painted like T1, with noise and a bias field, without skull; some 30 labels.
* ``lung``: one lung CT, warped twice by known maps of unlike poses and unlike grey scales; both lungs, and TRE.
* ``cord``: T1 of a spinal cord, warped by a known map, to T2 of the same person; the cord. Unlike modalities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

T1 = {
    2: 110, 3: 75, 4: 28, 5: 30, 7: 95, 8: 68, 10: 92, 11: 82, 12: 84, 13: 98, 14: 30, 15: 30, 16: 92, 17: 72, 18: 70,
    24: 32, 26: 84, 28: 96, 41: 110, 42: 75, 43: 28, 44: 30, 46: 95, 47: 68, 49: 92, 50: 82, 51: 84, 52: 98, 53: 72,
    54: 70, 58: 84, 60: 96,
}  # fmt: skip
"""FreeSurfer's label -> about what it looks like in a T1 image."""
FLUID = 24
LUNG_SHAPE = (80, 80, 64)


class Case(NamedTuple):
    """A pair on one grid; ``places``, of phantoms: the place in the original that each voxel of either image shows."""

    name: str
    fixed: np.ndarray
    moving: np.ndarray
    fixed_label: np.ndarray
    moving_label: np.ndarray
    spacing: tuple[float, float, float]
    places: tuple[np.ndarray, np.ndarray] | None = None


def cases(data: Path, name: str, part: str) -> Iterator[Case]:
    """The pairs of a set: those with even numbers to ``tune``, those with odd ones to ``report``."""
    for number, case in enumerate(MAKERS[name](data)):
        if number % 2 == ("tune", "report").index(part):
            yield case()


def _read(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def _hippocampus(data: Path):
    images = data / "hippocampus_dev" / "images"
    ids = sorted(int(re.findall(r"\d+", path.name)[0]) for path in images.glob("*.nii.gz"))

    def padded(folder: str, number: int) -> np.ndarray:
        array = _read(images.parent / folder / f"hippocampus_{number:03d}.nii.gz")
        return np.pad(array, [((64 - size) // 2, 64 - size - (64 - size) // 2) for size in array.shape])

    def make(number: int) -> Case:
        both = [[padded(folder, each) for each in (number, number + 100)] for folder in ("images", "labels")]
        return Case(f"hippocampus_{number:03d}", *(x.astype(np.float32) for x in both[0]), *both[1], (1.0, 1.0, 1.0))

    return [lambda number=number: make(number) for number in ids if number + 100 in ids][:16]


def _brain(data: Path, name: str = "brain", step: int = 2):
    def make(first: str, second: str) -> Case:
        stems = [data / "brain_pair_oasis_lapirn" / f"image_{each}_160x192x144" for each in (first, second)]
        images = [_read(Path(f"{stem}.nii.gz")).astype(np.float32) for stem in stems]
        blocks = [number for size in images[0].shape for number in (size // step, step)]
        images = [image.reshape(blocks).mean((1, 3, 5)) for image in images]
        labels = [_read(Path(f"{stem}_seg.nii.gz"))[::step, ::step, ::step] for stem in stems]
        return Case(f"{name}_{first}{second}", *images, *labels, (float(step),) * 3)

    return [lambda: make("A", "B"), lambda: make("B", "A")]


def _painted(data: Path):
    paths = sorted((data / "brain_labelmaps_synthseg_2mm").glob("*.nii.gz"))

    def paint(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        image = np.zeros(labels.shape, np.float32)
        for label, mean in T1.items():
            image[labels == label] = mean + random.normal(0, 2)
        image, bias = gaussian_filter(image, 0.5), gaussian_filter(random.standard_normal(labels.shape), 20)
        noise = random.normal(0, 4, labels.shape) * (image > 3)
        return (image * (1 + 0.12 * bias / np.abs(bias).max()) + noise).astype(np.float32)

    def make(number: int, first: int, second: int) -> Case:
        random = np.random.default_rng(number)
        maps = [np.where(np.isin(each, list(T1)), each, 0) for each in (_read(paths[first]), _read(paths[second]))]
        where = np.nonzero((maps[0] > 0) | (maps[1] > 0))
        box = tuple(slice(max(0, each.min() - 4), each.max() + 5) for each in where)
        maps = [each[box] for each in maps]
        images = [paint(each, random) for each in maps]
        labels = [np.where(each == FLUID, 0, each) for each in maps]
        return Case(f"painted_{number}", *images, *labels, (2.0, 2.0, 2.0))

    pairs = enumerate([(0, 1), (2, 3), (4, 5), (6, 7)])
    return [lambda number=number, pair=pair: make(number, *pair) for number, pair in pairs]


def _warp(
    grid: np.ndarray, random: np.random.Generator, angle: float, shift: float, scale: float, *bumps: float
) -> np.ndarray:
    """Where a turn by up to ``angle`` degrees, a scaling, a shift and bumps of so many mm take places of a grid."""
    centre = grid[:, -1, -1, -1] / 2
    turned = Rotation.from_euler("xyz", random.uniform(-angle, angle, 3), degrees=True).as_matrix()
    matrix = turned @ np.diag(1 + random.uniform(-scale, scale, 3))
    moved = np.einsum("ab,bijk->aijk", matrix, grid - centre[:, None, None, None]) + centre[:, None, None, None]
    moved += random.uniform(-shift, shift, 3)[:, None, None, None]
    for height, sigma in zip(bumps, (10, 5)):
        field = gaussian_filter(random.standard_normal(grid.shape), (0, sigma, sigma, sigma))
        moved += height * field / np.abs(field).max()
    return moved


def _lung(data: Path):
    from medloss.apps.common.itk_runtime import import_itk

    itk, folder = import_itk(), data / "lung_ct_elastix"
    image, mask = (itk.imread(str(folder / f"3DCT_lung{end}.mha")) for end in ("", "_baseline_mask"))
    size = np.array(list(image.GetSpacing()))
    arrays = [np.asarray(itk.array_from_image(each)).transpose(2, 1, 0).astype(np.float32) for each in (image, mask)]
    centre = (np.array(arrays[0].shape) - 1) * size / 2
    step = 2 * centre / (np.array(LUNG_SHAPE) - 1)
    grid = np.stack(np.meshgrid(*[np.arange(n) * each for n, each in zip(LUNG_SHAPE, step)], indexing="ij"))

    def read(array: np.ndarray, at: np.ndarray) -> np.ndarray:
        return map_coordinates(array, at / size[:, None, None, None], order=1, mode="nearest")

    def make(number: int) -> Case:
        random = np.random.default_rng(100 + number)
        both = _warp(grid, random, 3, 3, 0.03, 6, 4), _warp(grid, random, 14, 14, 0.12, 22, 10)
        images, labels = [], []
        for at in both:
            grey = np.clip((read(arrays[0], at) + 1000) / 1100, 0, 1.2) ** random.uniform(0.7, 1.4)
            images.append((gaussian_filter(grey, 0.4) + random.normal(0, 0.03, LUNG_SHAPE)).astype(np.float32))
            labels.append(np.where(read(arrays[1], at) > 0.5, np.where(at[0] < centre[0], 1, 2), 0).astype(np.int16))
        return Case(f"lung_{number}", *images, *labels, tuple(step), both)

    return [lambda number=number: make(number) for number in range(4)]


def _cord(data: Path):
    def read(name: str) -> nib.Nifti1Image:
        return nib.as_closest_canonical(nib.load(data / "spinal_cord_sct" / f"{name}.nii.gz"))

    def make(number: int) -> Case:
        fixed, fixed_label, moving, moving_label = map(
            read, ("t2/t2", "t2/t2_seg-manual", "t1/t1w", "t1/t1w_seg-manual")
        )
        size = np.array(fixed.header.get_zooms()[:3], float)
        grid = np.indices(fixed.shape) * size.reshape(3, 1, 1, 1)
        at = _warp(grid, np.random.default_rng(200 + number), 8, 4, 0.05, 5) / size.reshape(3, 1, 1, 1)
        to_moving = np.linalg.inv(moving.affine) @ fixed.affine
        voxels = np.einsum("ab,bijk->aijk", to_moving[:3, :3], at) + to_moving[:3, 3].reshape(3, 1, 1, 1)
        image = map_coordinates(np.asarray(moving.dataobj, np.float32), voxels, order=1)
        label = map_coordinates(np.asarray(moving_label.dataobj), voxels, order=0)
        whole = np.asarray(fixed.dataobj, np.float32)
        return Case(f"cord_{number}", whole, image, np.asarray(fixed_label.dataobj), label, tuple(size))

    return [lambda number=number: make(number) for number in range(4)]


MAKERS = {
    "hippocampus": _hippocampus,
    "brain": _brain,
    "full": lambda data: _brain(data, "full", 1),
    "painted": _painted,
    "lung": _lung,
    "cord": _cord,
}
SETS = tuple(MAKERS)
