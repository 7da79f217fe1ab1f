"""The configuration of the data of a registration network: which pairs, prepared how, and what is done at random."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from medloss.apps.common.config import Model
from medloss.apps.common.reading import Reading

Initialise = Literal["none", "centre_of_mass", "resize"]
Size = Annotated[int, pydantic.Field(ge=8, le=4096)]
Folder = Annotated[Path, pydantic.AfterValidator(lambda path: path.expanduser().absolute())]  # loads from anywhere
Folders = Annotated[list[Folder], pydantic.BeforeValidator(lambda given: given if isinstance(given, list) else [given])]


class Labels(Model):
    """What the label files hold.

    ``masks``: DeepReg's: one or several corresponding regions, each a channel of 0 and 1, in a 3D or 4D file.
    ``map``: one 3D map of integers, 0 is background.
    """

    kind: Literal["masks", "map"] = "masks"
    classes: list[Annotated[int, pydantic.Field(ge=0)]] = []
    """Only these: values of a map, or channels of masks counted from 0; all of them by default."""
    sample: Literal["one", "all"] = "all"
    """In training: one region per step, drawn at random, or all of them at once. Validation sees them all."""
    missing: Literal["refuse", "allow"] = "refuse"
    """``allow``: images without a label file are used, without label losses. A region that a file lacks always may."""


class Augment(Model):
    """What is done to both images of a training pair at random, to their labels and landmarks alike.

    ``prob``: the share of images that are moved. They are turned by up to ``rotate`` degrees about each axis, scaled by
    up to ``1 +- scale``, shifted by up to the share ``shift`` of their size, and warped by a smooth field of up to
    ``field`` voxels between points ``field_points`` of which lie along each axis. ``noise``: standard deviation of the
    noise that is added to intensities, which lie mostly between 0 and 1.
    """

    prob: float = pydantic.Field(0.0, ge=0, le=1)
    """Share of the images that are moved."""
    rotate: float = pydantic.Field(10.0, ge=0, le=180)
    """Largest angle about each axis, in degrees."""
    scale: float = pydantic.Field(0.1, ge=0, lt=1)
    """Largest change of the size, as a share."""
    shift: float = pydantic.Field(0.05, ge=0, le=1)
    """Largest shift, as a share of the size."""
    field: float = pydantic.Field(1.0, ge=0, le=100)
    """Largest displacement of the smooth field, in voxels."""
    field_points: int = pydantic.Field(5, ge=2, le=64)
    """Number of control points of the smooth field along each axis."""
    noise: float = pydantic.Field(0.0, ge=0, le=10)
    """Standard deviation of the noise on intensities."""


class Data(Model):
    """Where the pairs are, in DeepReg's folders, and how a pair is prepared.

    ``root`` holds ``train/``, ``valid/`` and ``test/`` (or each is named, also as a list of several). A ``paired``
    split holds ``fixed_images/`` and ``moving_images/`` (and ``fixed_labels/``, ``moving_labels/``) with equal file
    names; the others hold ``images/`` (and ``labels/``), of which pairs are made: ``unpaired`` of any two, ``grouped``
    within or between the folders in ``images/``, ``atlas`` of each with the ``atlas``. Each folder may be an HDF5 file
    of the same name (``images.h5``; groups as ``group-1-2``). A split may also be a CSV or JSON list with the columns
    ``fixed`` and ``moving`` (``fixed_label``, ...), or ``image`` (``label``, ``points``, ``group``). Without ``valid/``
    the last ``valid_fraction`` of train is held out.
    """

    kind: Literal["paired", "unpaired", "grouped", "atlas"] = "paired"
    """How pairs are made of the files."""
    root: Folder | None = None
    """The folder that holds `train/`, `valid/` and `test/`."""
    train: Folders | None = None
    """Folders or lists to train on, in place of those in ``root``."""
    valid: Folders | None = None
    """Folders or lists to validate on."""
    test: Folders | None = None
    """Folders or lists to test on."""
    valid_fraction: float = pydantic.Field(0.1, ge=0, lt=1)
    """Share of ``train``, from its end, that is held out if there is no ``valid``."""
    labels: Labels | None = None
    """Labels of the images; null: no labels are read."""
    points: Literal["lps", "ras"] | None = None
    """Landmarks, a CSV of x, y, z in mm for each image in ``points/`` (``fixed_points/``, ``moving_points/``), and the
    directions of their axes: lps as in ITK, ras as in 3D Slicer.
    """
    pairs: Literal["random", "all"] = "random"
    """For unpaired images: ``random`` makes as many pairs as there are images, other ones in each epoch; ``all`` makes
    every ordered pair."""
    intra_group_prob: float = pydantic.Field(1.0, ge=0, le=1)
    """For grouped images: probability that a pair is made within one group, and not between two groups."""
    intra_group_option: Literal["forward", "backward", "unconstrained"] = "unconstrained"
    """Within a group, in the order of names: ``forward`` moves the earlier image onto the later one, ``backward`` the
    later one onto the earlier one.
    """
    sample_image_in_group: bool = True
    """true: one pair for each group, another one in each epoch; false: all possible pairs."""
    atlas: Folder | None = None
    """The atlas image, which is always fixed."""
    atlas_label: Folder | None = None
    """The label map of the atlas."""
    atlas_points: Folder | None = None
    """The landmarks of the atlas."""
    read: Reading = Reading()
    size: tuple[Size, Size, Size] | None = None
    """Voxels of the grid that the network works on; null: the grid of each fixed image."""
    initialise: Initialise = "resize"
    """How the moving image is placed on the fixed one before the network."""

    @pydantic.model_validator(mode="after")
    def _somewhere(self) -> Data:
        if self.root is None and self.train is None:
            raise ValueError("root is missing: the folder that holds train/, valid/ and test/ (or name train: itself)")
        if (self.kind == "atlas") != (self.atlas is not None):
            raise ValueError("kind: atlas and atlas: (the image that all others are laid over) need each other")
        if self.kind == "grouped" and not self.sample_image_in_group and 0 < self.intra_group_prob < 1:
            raise ValueError("sample_image_in_group: false takes all pairs, so intra_group_prob must be 0 or 1")
        return self

    def split(self, name: str) -> list[Path]:
        """The folders or lists of ``train``, ``valid`` or ``test``; none where there are none."""
        named: list[Path] | None = getattr(self, name)
        if named:
            return named
        found = [self.root / f"{name}{end}" for end in ("", ".csv", ".json")] if self.root else []
        return [path for path in found if path.exists()][:1]
