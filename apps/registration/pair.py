"""Registration of one pair by optimisation, without training: `register` in memory, `register_pair` on files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medloss.apps.common.compute import pick_device
from medloss.apps.common.config import dump_config
from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.images import Volume, check_same_grid, load_image, spacing_of
from medloss.apps.common.output import RunFolder, opened_first, write_csv
from medloss.apps.common.progress import hidden
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.registration.affine import World, find_affine
from medloss.apps.registration.alike import choose, verdict
from medloss.apps.registration.config import ALIKE, AUTO, PairConfig
from medloss.apps.registration.data import load_map
from medloss.apps.registration.evaluate import report_pair
from medloss.apps.registration.geometry import INITIALISERS
from medloss.apps.registration.intensity import load_intensities
from medloss.apps.registration.losses import RegistrationLoss
from medloss.apps.registration.optimise import Report, optimise
from medloss.apps.registration.output import Pair, as_tensor, write_pair
from medloss.apps.registration.pair_views import Side, label_classes, views_of, visible, without_initial
from medloss.apps.registration.result import Chosen, Geometry, PairResult, conclude
from medloss.apps.registration.search import search
from medloss.apps.registration.transform import ToDisplacement
from medloss.apps.registration.views import Views


def register(
    fixed: Tensor,
    moving: Tensor,
    config: PairConfig | None = None,
    *,
    fixed_affine: np.ndarray | None = None,
    moving_affine: np.ndarray | None = None,
    fixed_label: Tensor | None = None,
    moving_label: Tensor | None = None,
    mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    points: tuple[np.ndarray, np.ndarray] | None = None,
    start: Tensor | None = None,
    report: Report | None = None,
) -> PairResult:
    """Find the displacement that lays ``moving`` over ``fixed``.

    Args:
        fixed, moving: intensities ``(i, j, k)``, each on its own grid; sizes may differ and need be multiples of
            nothing.
        config: how; the defaults suit two images of one body part whose headers roughly agree.
        fixed_affine, moving_affine: 4 x 4, voxel to RAS mm; by default 1 mm voxels, and the moving image on the fixed
            grid.
        fixed_label, moving_label: integer label maps ``(i, j, k)`` on the grids of their images, seen by label losses.
        mask, moving_mask: ``(i, j, k)`` on the grid of the fixed and of the moving image: where they are compared.
        points: corresponding landmarks of the fixed and of the moving image, ``(n, 3)`` each in RAS mm, seen by point
            losses.
        start: a total displacement ``(1, 3, *fixed)`` in voxels of the fixed grid, as `PairResult.ddf` is, to begin
            with, such as a network's. The affine stage and the search are left out then.
        report: called after each iteration with its row of the history.
    """
    config = config or PairConfig()
    device = pick_device(config.device, config.threads)
    fixed_affine = np.eye(4) if fixed_affine is None else np.asarray(fixed_affine, dtype=np.float64)
    moving_affine = fixed_affine if moving_affine is None else np.asarray(moving_affine, dtype=np.float64)
    _check_losses(config, (fixed_label, moving_label), points, start)
    seen = (fixed_label, moving_label) if config.loss.label else (None, None)  # a float channel per class costs memory
    marks = points if points is not None and config.loss.points else (None, None)
    sides = (
        Side(fixed.to(device), _on(device, seen[0]), _on(device, mask), marks[0]),
        Side(moving.to(device), _on(device, seen[1]), _on(device, moving_mask), marks[1]),
    )
    config, chosen, laid = _with_losses(config, *sides, fixed_affine, moving_affine, _on(device, start))
    torch.manual_seed(config.seed)
    ddf, history = optimise(laid.views, spacing_of(fixed_affine), config, report, laid.start, laid.back)
    found = conclude(ddf, ToDisplacement("ddf"), sides[1].image, moving_label, laid.geometry)
    return found._replace(history=history, chosen=chosen)


class _Laid(NamedTuple):
    """Two images laid over each other by the initial map: what is optimised, and where from, both ways."""

    geometry: Geometry
    views: Views
    start: Tensor | None
    back: Tensor | None = None


def _with_losses(
    config: PairConfig,
    fixed: Side,
    moving: Side,
    fixed_affine: np.ndarray,
    moving_affine: np.ndarray,
    start: Tensor | None,
) -> tuple[PairConfig, Chosen | None, _Laid]:
    """The configuration with its image losses named, how they were chosen if they were, and the images laid over each
    other by them.
    """

    def lay(config: PairConfig) -> _Laid:
        initial = _initial(fixed, moving, fixed_affine, moving_affine, config, affine=start is None)
        geometry = Geometry(fixed_affine, moving_affine, tuple(fixed.image.shape), initial)
        begun = None if start is None else without_initial(start, geometry)
        return _Laid(geometry, views_of(fixed, moving, geometry), begun)

    if config.loss.image != AUTO:
        return config, None, lay(config)
    laid = lay(config.with_image(ALIKE))
    if (
        start is None and config.affine.model == "none" and config.search.use
    ):  # only the search lays them over each other
        laid = _Laid(*laid[:2], *search(laid.views, config.search))
    chosen = choose(laid.views, laid.start)
    config = config.with_image(chosen.image)
    if chosen.image != ALIKE:
        del laid  # two of them at once would cost memory
        laid = lay(config)
    return config, chosen, laid


def _on(device: torch.device, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def _initial(
    fixed: Side, moving: Side, fixed_affine: np.ndarray, moving_affine: np.ndarray, config: PairConfig, affine: bool
) -> np.ndarray:
    """The map between the worlds (4 x 4) before the deformation: what the headers or a rule say, then the affine
    stage.
    """
    volumes = _volume(fixed.image, fixed_affine), _volume(moving.image, moving_affine)
    initial = INITIALISERS[config.initialise](*volumes)
    visible(fixed, moving, np.linalg.inv(moving_affine) @ initial @ fixed_affine)  # or its faults, first
    stage = config.affine.with_loss(config.loss.image)
    if stage.model == "none" or not affine:
        return initial
    worlds = World(fixed.rescaled(), fixed_affine, fixed.mask), World(moving.rescaled(), moving_affine, moving.mask)
    return find_affine(*worlds, initial, stage)


def register_pair(
    fixed: Path,
    moving: Path,
    config: PairConfig | None = None,
    output: Path | None = None,
    *,
    fixed_label: Path | None = None,
    moving_label: Path | None = None,
    mask: Path | None = None,
    moving_mask: Path | None = None,
    progress: bool = True,
) -> RunFolder:
    """Register two files and write everything into a new run folder; nothing is written before the input is found
    good.
    """
    config = config or PairConfig()
    pair = load_pair(fixed, moving, fixed_label, moving_label, config.read)
    inside = (
        None if mask is None else _load_mask(mask, pair.fixed, "the fixed image", config.read),
        None if moving_mask is None else _load_mask(moving_mask, pair.moving, "the moving image", config.read),
    )
    folder = output or Path("runs") / f"{strip_suffix(moving)}-to-{strip_suffix(fixed)}"
    files = {"fixed": fixed, "moving": moving, "fixed_label": fixed_label, "moving_label": moving_label}
    files |= {"mask": mask, "moving_mask": moving_mask}
    pick_device(config.device)  # a device that is not there is told before a folder is made
    with opened_first(RunFolder.create(folder, dump_config(config), inputs=files)) as run:
        result, seconds = _timed(pair, config, inside, progress)
        used = config if result.chosen is None else config.with_image(result.chosen.image)
        # before: what the headers say, unless the configuration says that they mean nothing
        start = INITIALISERS["resize"](pair.fixed, pair.moving) if config.initialise == "resize" else np.eye(4)
        write_csv(run.path / "losses.csv", result.history)
        metrics = write_pair(run.path, pair, result, start, RegistrationLoss(used.loss), seconds)
        report_pair(run.path, metrics)
    run.log(describe(metrics))
    if told := verdict(metrics, used):
        run.note(told)
    return run


def _timed(
    pair: Pair, config: PairConfig, masks: tuple[Tensor | None, Tensor | None], progress: bool
) -> tuple[PairResult, float]:
    count = sum(config.iterations) + (sum(config.iterations[:-1]) if config.symmetric else 0)
    with _Bar(count, len(config.pyramid), progress) as report:
        begin = time.perf_counter()
        result = register(
            as_tensor(pair.fixed),
            as_tensor(pair.moving),
            config,
            fixed_affine=pair.fixed.affine,
            moving_affine=pair.moving.affine,
            fixed_label=pair.fixed_label,
            moving_label=pair.moving_label,
            mask=masks[0],
            moving_mask=masks[1],
            report=report,
        )
        return result, time.perf_counter() - begin


def load_pair(
    fixed: Path, moving: Path, fixed_label: Path | None, moving_label: Path | None, reading: Reading = DEFAULT
) -> Pair:
    """Read two images and, if both are given, their label maps; every fault of theirs is a UserError."""
    if (fixed_label is None) != (moving_label is None):
        raise UserError("one label map was given, expected none or both of --fixed-label and --moving-label")
    images = load_intensities(fixed, reading), load_intensities(moving, reading)
    name = f"{strip_suffix(moving)} to {strip_suffix(fixed)}"
    if fixed_label is None or moving_label is None:
        return Pair(name, *images)
    labels = (
        load_map(fixed_label, images[0], fixed, reading),
        load_map(moving_label, images[1], moving, reading),
    )
    return Pair(name, *images, *labels, label_classes(*labels))


def describe(metrics: dict) -> str:
    """The result in a line per label and one for the field."""
    lines = [f"label {row['label']}: Dice {row['dice_before']:.3f} -> {row['dice']:.3f}" for row in metrics["labels"]]
    if "image_loss" in metrics:
        lines.append(f"image loss {metrics['image_loss']}")
    lines.append(
        f"correlation {metrics['ncc_before']:.3f} -> {metrics['ncc']:.3f}, "
        f"folding {metrics['folding_percent']:.3f} %, SDlogJ {metrics['sdlogj']:.3f}, "
        f"{metrics['seconds']:.1f} s, peak {metrics['peak_gib']:.2f} GiB"
    )
    return "\n".join(lines)


def _check_losses(
    config: PairConfig,
    labels: tuple[Tensor | None, Tensor | None],
    points: tuple[np.ndarray, np.ndarray] | None,
    start: Tensor | None,
) -> None:
    if config.loss.label and None in [None if label is None else 1 for label in labels]:
        raise UserError(
            f"loss.label asks for {', '.join(config.loss.label)} but there are no labels for both images: "
            "give --fixed-label and --moving-label, or drop the label losses"
        )
    if config.loss.points and points is None:
        raise UserError(
            f"loss.points asks for {', '.join(config.loss.points)} but there are no landmarks: give points to "
            "register(), or drop the point losses"
        )
    if config.loss.points and start is not None and config.transform == "dvf":
        raise UserError("loss.points cannot be followed through a start by a velocity: use transform: ddf")


def _volume(image: Tensor, affine: np.ndarray) -> Volume:
    return Volume(image.cpu().numpy(), affine, spacing_of(affine))


def _load_mask(path: Path, image: Volume, name: str, reading: Reading) -> Tensor:
    volume = load_image(path, reading)
    check_same_grid(volume, image, f"mask {path}", name, reading)
    return torch.from_numpy(np.ascontiguousarray(volume.array > 0))


class _Bar:
    """A progress bar over all iterations of all levels, which is told each row of the history."""

    def __init__(self, count: int, levels: int, shown: bool) -> None:
        from tqdm import tqdm

        self.levels, self.bar = levels, tqdm(total=count, desc="register", disable=hidden(shown), leave=False)

    def __enter__(self) -> Report:
        return self._step

    def _step(self, row: dict[str, float]) -> None:
        self.bar.set_postfix(level=f"{int(row['level']) + 1}/{self.levels}", loss=f"{row['loss']:.4f}", refresh=False)
        self.bar.update()

    def __exit__(self, *fault: object) -> None:
        self.bar.close()
