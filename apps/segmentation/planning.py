"""``medloss segment plan``: read a data set, and write the configuration that it would be trained with."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from medloss.apps.common.compute import pick_device
from medloss.apps.common.config import as_mapping, validate
from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.config import Config, Network
from medloss.apps.segmentation.data import Prepared, completed
from medloss.apps.segmentation.mirroring import mirror_axes
from medloss.apps.segmentation.network import build_network, choose_patch, units
from medloss.apps.segmentation.speed import seconds_of_step

MINUTES = 18.0  # of training: with reading, caching and the last pictures it stays below 20
SMALLEST = 4  # voxels along an axis at the deepest level
THICK = 2.0  # an axis is halved only while its voxels are less than so many times as long as the shortest
FEW_CASES, SOME_CASES = 50, 10
FIRST_LEVELS = (8, 16, 32)  # channels at full resolution that are tried
ENOUGH = 1500  # steps that a larger network must have time for; a choice by experience, not by a series of trials
TRAINED = 0.85  # share of the minutes that the steps of the network get; the rest is validation and augmentation


class Machine(NamedTuple):
    """What a training may use there: largest patch in voxels, channels of the first level at most and of any level,
    levels, learning rate of AdamW (small networks take a higher one), largest batch, bytes of memory."""

    device: str
    voxels: int
    channels: int
    most_channels: int
    levels: int
    rate: float
    batch: int
    memory: float


class Plan(NamedTuple):
    """A complete configuration, the reason of what was planned by the dotted path of its key, and the data as read."""

    config: Config
    reasons: dict[str, str]
    prepared: Prepared


def data_section(path: Path) -> dict[str, Any]:
    """The ``data`` section for a folder with images/ and labels/, one with a dataset.json, or a CSV file.

    Raises:
        UserError: there is no such thing at ``path``.
    """
    if path.is_file() and path.suffix.lower() == ".csv":
        return {"kind": "csv", "file": str(path)}
    if path.is_file() and path.name == "dataset.json":
        path = path.parent
    if (path / "dataset.json").is_file():
        return {"kind": "msd", "root": str(path)}
    if path.is_dir():
        return {"kind": "folders", "root": str(path)}
    raise UserError(f"{path}: expected a folder with images/ and labels/, one with a dataset.json, or a CSV file")


def network_for(
    shape: Sequence[float] | np.ndarray, spacing: Sequence[float], machine: Machine
) -> tuple[Network, tuple[int, ...]]:
    """The network and the patch for volumes of ``shape`` voxels of ``spacing`` (mm).

    As in nnU-Net: the patch has the proportions of the median volume in mm, as large as the machine allows; each level
    halves the axes whose voxels are not much thicker than the others', as long as four voxels stay.
    """
    patch = _shrunk(np.asarray(shape, float), np.asarray(spacing, float), machine.voxels)
    strides = _strides(patch, np.asarray(spacing, float), machine.levels)
    channels = [min(machine.channels * 2**level, machine.most_channels) for level in range(len(strides) + 1)]
    thin = any(1 in each for each in strides)
    supervised = min(2, len(channels) - 2)
    network = Network(
        name="dynunet",
        channels=channels,
        strides=strides if thin else None,
        deep_supervision={"outputs": supervised, "resize": "soft"} if supervised > 0 else {},
    )
    unit = units(network)
    # below the median, so that patches of a small volume differ; the sliding window overlaps them
    sizes = [max(each * math.floor(size / each), each) for size, each in zip(patch, unit, strict=True)]
    if tuple(sizes) == unit:
        sizes = [2 * each for each in unit]
    return network, tuple(sizes)


def _shrunk(shape: np.ndarray, spacing: np.ndarray, voxels: int) -> np.ndarray:
    """The shape, its longest axes in mm cut until it has so many voxels."""
    patch = shape.copy()
    while patch.prod() > voxels:
        longest = int(np.argmax(patch * spacing))
        patch[longest] -= max(1.0, patch[longest] / 16)
    return patch


def _strides(patch: np.ndarray, spacing: np.ndarray, levels: int) -> list[tuple[int, int, int]]:
    size, length = patch.copy(), spacing.copy()
    found: list[tuple[int, int, int]] = []
    while len(found) < levels - 1:
        halved = (size / 2 >= SMALLEST) & (length < THICK * length.min())
        if not halved.any():
            break
        step = np.where(halved, 2, 1)
        size, length = size / step, length * step
        found.append((int(step[0]), int(step[1]), int(step[2])))
    return found if len(found) >= 2 else [(2, 2, 2), (2, 2, 2)]


def memory(network: Network, outputs: int, inputs: int, patch: Sequence[int], batch: int) -> float:
    """Bytes that a training step keeps: what the backward pass needs, four copies of the weights, the logits.

    Counted on torch's meta device, where nothing is computed.
    """
    kept: dict[int, torch.UntypedStorage] = {}  # by address, alive so that none is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.device("meta"):
        model = build_network(network, outputs, inputs)
        volume = torch.empty(batch, inputs, *patch)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(volume)
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage()._cdata, None)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    logits = 4.0 * batch * outputs * math.prod(patch)
    return sum(storage.nbytes() for storage in kept.values()) + 4.0 * weights + 3 * logits


def machine(device: str, threads: int | None) -> Machine:
    """What this machine has."""
    where = pick_device(device, threads)
    if where.type == "cuda":
        free = float(torch.cuda.get_device_properties(where).total_memory)
        return Machine(torch.cuda.get_device_name(where), 128**3, 32, 320, 6, 1e-3, 8, 0.8 * free)
    told = f"{where.type}, {torch.get_num_threads()} threads"
    return Machine(told, 64 * 48 * 48, 32, 256, 5, 3e-3, 2, 0.5 * _memory_here())


def _memory_here() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):  # not on Windows
        return 8.0 * 2**30


def held_out(cases: int) -> float:
    """The share of the cases to validate on: a fifth of few, a tenth of many, since what is held out trains nothing."""
    return 0.2 if cases <= FEW_CASES else max(0.1, SOME_CASES / cases)


def plan(prepared: Prepared, given: Collection[str] = ()) -> Plan:
    """Complete the configuration of a data set that was read.

    Args:
        prepared: from :func:`~medloss.apps.segmentation.data.prepare`, with classes, spacing and intensities settled.
        given: dotted paths of the keys that the user has set; they stay as they are.
    """
    config, seen = prepared.config, prepared.seen
    here, spacing = machine(config.device, config.threads), config.data.settled_spacing
    lengths = np.asarray(seen.shapes, float)
    if spacing is not None:
        lengths = lengths * np.asarray(seen.spacings) / np.asarray(spacing)
    shape = np.median(lengths, axis=0)
    voxel = np.median(seen.spacings, axis=0).tolist() if spacing is None else spacing
    minutes = _minutes(config, given)
    patch: Sequence[int]
    if any(key.split(".")[0] == "model" for key in given):
        network, told = config.model, ""
        patch = choose_patch(None, network, seen.shapes, seen.spacings, spacing)
    else:
        network, patch, told = _affordable(prepared, shape, voxel, here, minutes)
    patch = config.data.settled_patch if "data.patch" in given else patch
    values = _data_values(prepared, shape, patch) | _train_values(prepared, network, patch, here)
    values["model"] = (as_mapping(network), f"Levels as long as {SMALLEST} voxels are left. {told}")
    values["train.minutes"] = (minutes, values["train.minutes"][1] if minutes else "")
    return _completed(prepared, {key: each for key, each in values.items() if not _is_given(key, given)})


def _minutes(config: Config, given: Collection[str]) -> float | None:
    """The length of the training in minutes; None where the user counts steps or epochs."""
    if "train.minutes" in given:
        return config.train.minutes
    return None if {"train.steps", "train.epochs"} & set(given) else MINUTES


def _affordable(
    prepared: Prepared, shape: np.ndarray, voxel: Sequence[float], here: Machine, minutes: float | None
) -> tuple[Network, tuple[int, ...], str]:
    """The largest network whose steps, timed here, are enough in the time that there is; its patch, and the reason."""
    config, outputs = prepared.config, prepared.classes.count
    sizes = [each for each in FIRST_LEVELS if each <= here.channels]
    if minutes is None:
        network, patch = network_for(shape, voxel, here._replace(channels=sizes[1]))
        return network, patch, f"Of the usual size on {here.device}: how long a step may take is not known."
    best: tuple[Network, tuple[int, ...]] | None = None
    told = ""
    for channels in sizes:
        network, patch = network_for(shape, voxel, here._replace(channels=channels))
        inputs = config.data.count_channels
        batch = _batch(network, outputs, inputs, patch, len(prepared.train), here)[0]
        seconds = seconds_of_step(network, outputs, inputs, patch, batch, config.device, config.threads)
        steps = int(TRAINED * 60 * minutes / seconds)
        if best is not None and steps < ENOUGH:
            return *best, told + f"; twice the channels would leave {steps} of {ENOUGH} steps that they need."
        best = network, patch
        told = f"Timed on {here.device}: {seconds:.2g} s a step, some {steps} steps in {minutes:g} minutes"
    assert best is not None, "a first level of the smallest size is always tried"
    return *best, told + "."


Values = dict[str, tuple[Any, str]]
"""A value and its reason by the dotted path of its key."""


def _data_values(prepared: Prepared, shape: np.ndarray, patch: Sequence[int]) -> Values:
    sizes = " x ".join(f"{size:.0f}" for size in shape)
    share = held_out(len(prepared.seen.looks))
    return {
        "data.valid.fraction": (share, "The last cases in the order of their ids are held out to validate on."),
        "data.patch": (list(patch), f"Voxels of a patch; the median volume has {sizes} at this spacing."),
    }


def _train_values(prepared: Prepared, network: Network, patch: Sequence[int], here: Machine) -> Values:
    outputs, inputs = prepared.classes.count, prepared.config.data.count_channels
    batch, used = _batch(network, outputs, inputs, patch, len(prepared.train), here)
    steps = int(np.clip(25 * 2 * 32 * 48 * 32 / (batch * math.prod(patch)), 5, 25))
    return {
        "train.batch": (
            batch,
            f"Patches in a step, which keeps about {used / 2**20:.0f} MiB, by count.",
        ),
        "train.minutes": (MINUTES, "Time of the whole training with its validations. More time, better masks."),
        "train.epoch_steps": (steps, "An epoch, after which the clock is looked at and a checkpoint written."),
        "train.optimizer.lr": (here.rate, "The highest learning rate, after the warm-up."),
        "train.schedule": (
            {"name": "cosine", "warmup": 1},
            "Up within an epoch, then down to zero at the end.",
        ),
        "train.ema": (
            0.99,
            "What is kept: the average of the weights over about the last hundred steps.",
        ),
        "train.clip": (12.0, "Largest norm of a gradient, as in nnU-Net."),
        "train.mirror": mirror_axes(prepared),
        "validate.share": (0.1, "Largest share of the time that validation takes."),
    }


def _is_given(key: str, given: Collection[str]) -> bool:
    return any(each == key or each.startswith(f"{key}.") or key.startswith(f"{each}.") for each in given)


def _completed(prepared: Prepared, values: Mapping[str, tuple[Any, str]]) -> Plan:
    mapping = as_mapping(prepared.config)
    for key, (value, _) in values.items():
        *sections, name = key.split(".")
        place = mapping
        for section in sections:
            place = place[section]
        place[name] = value
    reasons = {key: reason for key, (_, reason) in values.items() if reason}
    found = completed(prepared, validate(Config, mapping, "the plan"))
    return Plan(found.config, reasons, found)


def _batch(
    network: Network, outputs: int, inputs: int, patch: Sequence[int], cases: int, here: Machine
) -> tuple[int, float]:
    """Two cases a step, on a GPU as many as its memory holds, up to 8; and the bytes of a step."""
    used = memory(network, outputs, inputs, patch, 2)
    batch = int(np.clip(2 * here.memory // used, 1, min(here.batch, max(cases, 1))))
    return batch, used * batch / 2
