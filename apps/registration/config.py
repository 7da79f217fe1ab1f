"""The configuration of the registration commands: every key, its default and what it means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from medloss.apps.common.compute import Device, Threads
from medloss.apps.common.config import LossMapping, Model, Seed, losses
from medloss.apps.common.reading import Reading
from medloss.apps.common.training import MOST_EPOCHS, TrainConfig
from medloss.apps.registration.data_config import Augment, Data, Initialise
from medloss.apps.registration.network_config import Network

Positive = Annotated[float, pydantic.Field(gt=0, le=1000)]
Millimetres = Annotated[float, pydantic.Field(ge=0.01, le=1000)]
Factor = Annotated[float, pydantic.Field(ge=1, le=1000)]
AUTO: dict[str, Any] = {"auto": {}}
"""Image losses of a pair that are chosen by the images: `ALIKE` or `UNLIKE`."""
ALIKE: dict[str, Any] = {"lncc": {"kernel_size": 7, "border": "renormalise"}}
"""For images that look alike."""
UNLIKE: dict[str, Any] = {"global_mutual_information": {}}
"""For other images."""
CONTROL_MM = 2.0
"""Of the grid that carries a displacement at the finest level, by default; twice this at coarser ones."""


def of_memberships(mapping: LossMapping) -> LossMapping:
    """``empty: skip`` for label losses that take it and are silent: a region that a label file lacks costs nothing."""
    from medloss.config import loss_names
    from medloss.options import options as options_of

    found = {}
    for label, options in mapping.items():
        given = options or {}
        loss = loss_names(kind="label").get(given.get("name", label)) if isinstance(given, dict) else None
        takes = loss is not None and "empty" in options_of(loss) and "empty" not in given
        found[label] = {**given, "empty": "skip"} if takes else options
    return found


class Losses(Model):
    """Losses by what they see, each group a mapping ``name: {weight: ..., options}``.

    ``image`` compares the warped moving with the fixed image, ``label`` the warped with the fixed label probabilities,
    ``points`` the fixed landmarks, moved by the displacement, with the moving ones, in mm, ``field`` sees the
    displacement (or velocity) in mm with the voxel size in mm.
    """

    image: Annotated[LossMapping, losses("image")] = {}
    """Losses of the moved and the fixed image."""
    label: Annotated[LossMapping, losses("label", of_memberships)] = {}
    """Losses of the moved and the fixed label maps."""
    points: Annotated[LossMapping, losses("points")] = {}
    """Losses of landmarks, in mm."""
    field: Annotated[LossMapping, losses("field")] = {}
    """Losses of the field, in mm."""
    label_scales: list[Annotated[float, pydantic.Field(ge=0, le=100)]] = pydantic.Field([0], min_length=1)
    """Label losses are averaged over labels blurred with these standard deviations, in voxels. Blurred regions attract
    each other even if they do not touch.
    """

    @pydantic.model_validator(mode="after")
    def _attracts(self) -> Losses:
        if not self.image and not self.label and not self.points:
            raise ValueError("neither image, label nor point losses: nothing draws the moving image to the fixed one")
        return self


class _Registration(Model):
    seed: Seed = 0
    """Seed of all random numbers."""
    device: Device = "auto"
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``."""
    threads: Threads | None = None
    """Threads of the processor; null: one for each core."""

    def _check_field(self, transform: str, regularise: str) -> None:
        if regularise == "velocity" and transform == "ddf":
            raise ValueError("regularise: velocity needs a dvf; a ddf has no velocity")


def by_lncc(image: LossMapping) -> bool:
    """Whether LNCC is among the image losses, which compares images of one modality."""
    names = {(options or {}).get("name", label) for label, options in image.items()}
    return bool(names & {"lncc", "local_normalized_cross_correlation"})


class Affine(Model):
    """The stage before the deformation: an affine (12 parameters) or rigid (6) map, found by image losses.

    ``pyramid``: voxel sizes of its levels, as multiples of the fixed image's finest; ``iterations`` and ``lr`` (in
    halves of the image's diagonal) for each. ``loss``: none takes LNCC in windows of 11 where the deformation is found
    by LNCC, and global mutual information beside any other image loss: those that compare edges, such as MIND, reach
    a few voxels. Without an image loss the stage is left out.
    """

    model: Literal["affine", "rigid", "none"] = "affine"
    """Which transform is found; ``none`` leaves the stage out."""
    pyramid: list[Factor] = pydantic.Field([4, 2], min_length=1, max_length=16)
    """Voxel size of each level, as a multiple of the fixed image's finest."""
    iterations: list[Annotated[int, pydantic.Field(ge=0, le=10**6)]] = [60, 15]
    """Steps at each level."""
    lr: list[Positive] = [0.02, 0.01]
    """Size of a step at each level, in halves of the image's diagonal."""
    loss: Annotated[LossMapping, losses("image")] = {}
    """Image losses of this stage; see above."""

    def with_loss(self, image: LossMapping) -> Affine:
        """With the losses that the stage uses, given those of the deformation; ``model: none`` where it has none."""
        if self.model == "none" or self.loss:
            return self
        if not image:
            return self.model_copy(update={"model": "none"})
        wide = {"lncc": {"kernel_size": 11, "border": "renormalise"}}
        return self.model_copy(update={"loss": wide if by_lncc(image) else UNLIKE})

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Affine:
        if not len(self.pyramid) == len(self.iterations) == len(self.lr):
            raise ValueError(
                f"affine has {len(self.pyramid)} levels in pyramid, {len(self.iterations)} in iterations and "
                f"{len(self.lr)} in lr: one number per level"
            )
        return self


class Search(Model):
    """The coupled discrete search that gives the first deformation. For each cell of ``cell`` steps it tries every
    offset of up to ``radius`` steps along each axis, and a step is ``step`` voxels: 3 x 5 reaches 15 voxels.
    Intensities are normalised in windows of ``window`` voxels, which suits images of one modality: where LNCC is not
    among the image losses, nothing is searched.
    """

    use: bool = True
    """Whether to search."""
    step: Factor = 3
    """Voxels from one offset to the next."""
    radius: int = pydantic.Field(5, ge=1, le=8)
    """Offsets to either side of 0 along each axis."""
    cell: int = pydantic.Field(2, ge=1, le=8)
    """Size of a cell along each axis, in steps."""
    window: int = pydantic.Field(9, ge=3, le=31)
    """Window in which intensities are normalised, in voxels."""


class PairLosses(Losses):
    """Losses by what they see, as those of ``register train``; a group that is left out keeps its default.

    ``image: auto`` chooses by the images, and the run folder says what and why. Images that look alike are compared by
    LNCC (windows of 7 voxels), which bears other brightness and contrast, even reversed; others, such as T1 and T2 or
    MR and CT, by global mutual information. After the affine stage by LNCC, images look alike where their correlation
    in small windows has the same sign nearly everywhere. A loss that is named is taken as it is.
    """

    image: Annotated[LossMapping, losses("image", chosen="auto")] = AUTO
    """Losses of the moved and the fixed image; ``auto`` chooses, see above."""
    field: Annotated[LossMapping, losses("field")] = {
        "diffusion": {"weight": 0.25, "stencil": "forward"},
        "jacobian": {"weight": 100.0, "penalty": "hinge", "margin": 0.1, "stencil": "central"},
    }
    """Losses of the field, in mm."""


class PairConfig(_Registration):
    """``medloss register pair``: optimisation of one pair, coarse to fine, without training."""

    transform: Literal["ddf", "dvf"] = "ddf"
    """``ddf``: a displacement field, which the losses prevent from folding; ``dvf``: a stationary velocity field that
    is integrated.
    """
    symmetric: bool = True
    """Whether each level except the last registers in both directions, and averages each field with the inverse of the
    other."""
    search: Search = Search()
    """The start of the deformation; with ``search.use: false`` it starts at zero."""
    unfold: Literal["central", "one_sided", "none"] = "central"
    """Voxels that fold at the end are smoothed until nothing folds. ``central``: folding by central differences, as it
    is reported; ``one_sided``: also by one-sided differences, which smooths much more.
    """
    initialise: Initialise = "none"
    """``none``: use the positions in the headers; ``centre_of_mass``: shift one centre of mass onto the other;
    ``resize``: fit the moving volume into the box of the fixed one.
    """
    affine: Affine = Affine()
    """The stage before the deformation; ``affine.model: none`` leaves it out."""
    spacing: Millimetres | None = None
    """Voxel size in mm at the finest level; null: the smallest voxel size of the fixed image. Outputs always have the
    fixed grid.
    """
    pyramid: list[Factor] = pydantic.Field([4, 2, 1], min_length=1, max_length=16)
    """Voxel size of each level, as multiples of ``spacing``."""
    iterations: list[Annotated[int, pydantic.Field(ge=0, le=10**6)]] = [100, 100, 40]
    """Largest number of iterations at each level, and in each direction."""
    tolerance: float = pydantic.Field(0.0, ge=0, lt=1)
    """A level stops early if its last 10 iterations gave less than this share of its whole improvement."""
    control: Factor | None = None
    """Voxel of the grid that carries the field, in voxels of its level. None: 2 for a dvf; for a ddf 2 mm at the finest
    level (or two of its voxels, where these are less) and twice that at coarser ones, but never less than the level's
    voxel: anatomy differs smoothly at that length, and a finer field follows noise and what one person has and the
    other has not.
    """
    lr: Positive | None = None
    """Adam's step in voxels of the control grid; it decays to a tenth within each level. None: 0.3 for a ddf, 0.1 for
    a dvf.
    """
    integration_steps: int = pydantic.Field(6, ge=1, le=12)
    """Number of squaring steps that integrate a velocity field: 6 correspond to 64 Euler steps."""
    regularise: Literal["displacement", "velocity"] = "displacement"
    """Which field the losses of ``field`` see: the displacement or the velocity."""
    read: Reading = Reading()
    loss: PairLosses = PairLosses()

    def control_mm(self, voxel: float, finest: float) -> float:
        """The voxel of the grid that carries the field at a level, in mm.

        Args:
            voxel: mm, of the level.
            finest: mm, of the finest level.
        """
        if self.control or self.transform == "dvf":
            return voxel * (self.control or 2)
        at_finest = min(CONTROL_MM, 2 * finest)
        return max(voxel, at_finest if voxel <= finest else 2 * at_finest)

    @property
    def step(self) -> float:
        """``lr``, or what the transform takes."""
        return self.lr or (0.3 if self.transform == "ddf" else 0.1)

    @pydantic.field_validator("loss", mode="before")
    @classmethod
    def _of_any_losses(cls, loss: object) -> object:
        return loss.model_dump() if isinstance(loss, Losses) else loss

    def with_image(self, image: LossMapping) -> PairConfig:
        """With these image losses."""
        return self.model_copy(update={"loss": self.loss.model_copy(update={"image": image})})

    @pydantic.model_validator(mode="after")
    def _agree(self) -> PairConfig:
        if len(self.pyramid) != len(self.iterations):
            raise ValueError(
                f"pyramid has {len(self.pyramid)} levels and iterations {len(self.iterations)}: one number per level"
            )
        self._check_field(self.transform, self.regularise)
        return self


class RegistrationTrain(TrainConfig):
    """Length and settings of the training. A batch is one pair by default, since the grids of fixed images differ."""

    epochs: int = pydantic.Field(50, ge=1, le=MOST_EPOCHS)
    """Passes over all pairs."""
    batch: int = pydantic.Field(1, ge=1, le=4096)
    """Pairs in one step."""


class Validate(Model):
    """Validation every so many epochs by the mean Dice of all regions (by the loss, without labels)."""

    every: int = pydantic.Field(1, ge=1, le=10**6)
    """Epochs from one validation to the next."""
    keep: int = pydantic.Field(1, ge=1, le=1000)
    """Number of best checkpoints that are kept."""


class RegistrationConfig(_Registration):
    """Everything that ``medloss register train`` needs; a run folder's config.yaml is one of these, complete."""

    data: Data
    loss: Losses
    model: Network = Network()
    regularise: Literal["displacement", "velocity"] = "displacement"
    """Which field the losses of ``field`` see: the displacement or the velocity."""
    augment: Augment = Augment()
    train: RegistrationTrain = RegistrationTrain()
    validate_: Validate = pydantic.Field(Validate(), alias="validate")

    @pydantic.model_validator(mode="after")
    def _agree(self) -> RegistrationConfig:
        if self.model.name == "global" and self.data.size is None:
            raise ValueError("model.name: global needs data.size: its last layer is made for one grid")
        if self.model.name == "global" and self.model.output == "dvf":
            raise ValueError("model.name: global predicts an affine map: set model.output: affine")
        if self.model.output == "affine" and self.regularise == "velocity":
            raise ValueError("regularise: velocity needs a dvf; an affine map has no velocity")
        self._check_field(self.model.output, self.regularise)
        if self.loss.points and self.data.points is None:
            raise ValueError("loss.points is configured but data.points is missing: write data.points: lps (or ras)")
        if self.loss.label and self.data.labels is None:
            raise ValueError(
                "loss.label is configured but data.labels is missing: write data.labels: {kind: masks} (or map), "
                "or drop the label losses"
            )
        return self
