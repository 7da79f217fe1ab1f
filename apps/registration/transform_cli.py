"""The commands ``medloss register warp | compose | invert | convert``."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from medloss.apps.common.commands import Nan, Space, Threads, reading_options
from medloss.apps.common.interrupt import interruptible
from medloss.apps.common.output import atomic_write, check_no_input

# torch is imported inside the commands: ``medloss --help`` answers at once.

Transforms = Annotated[
    list[str],
    typer.Option(
        "--transform",
        "-t",
        metavar="[inverse:]FILE",
        help="Once for each transform, in the order of antsApplyTransforms: a point of the fixed image goes through "
        "the first one first.",
    ),
]
Like = Annotated[
    Path | None,
    typer.Option("--like", help="Image or field whose grid the result gets; default: the grid of the first field."),
]
Written = Annotated[Path, typer.Option("--output", "-o", help="File to write; its suffix says the format.")]
STOPPED = "nothing was written: a file is written whole or not at all"


class PointSpace(str, Enum):
    """The directions of the axes of points."""

    lps = "lps"
    ras = "ras"


def warp(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Image, label map (3D or 4D), or CSV of points.")],
    transform: Transforms,
    output: Written,
    like: Like = None,
    label: Annotated[bool, typer.Option("--label", help="INPUT is a label map: nearest voxel, exact.")] = False,
    label_linear: Annotated[
        bool, typer.Option("--label-linear", help="A label map: the label with the largest linear share.")
    ] = False,
    points: Annotated[
        PointSpace | None,
        typer.Option(help="INPUT is a CSV with x, y, z in mm: lps as in ITK and ANTs, ras as in nibabel and Slicer."),
    ] = None,
    background: Annotated[float | None, typer.Option(help="Outside INPUT; default: its minimum, 0 for labels.")] = None,
    nan: Nan = None,
    space: Space = None,
    threads: Threads = None,
) -> None:
    """Carry an image, a label map or points through one or more transforms, interpolating once.

    An image in the moving space comes to lie on the fixed grid. Points go the other way, as in ITK: those of the fixed
    image are moved to where they are found in the moving one; for points of the moving image invert the transforms and
    their order. Beyond the grid of a field nothing moves, as in ITK and ANTs.

    ANTs' pair of files (first the field, then the affine map, as in antsApplyTransforms):

    medloss register warp moving.nii.gz -t 1Warp.nii.gz -t 0GenericAffine.mat --like fixed.nii.gz -o moved.nii.gz

    The fixed labels on the moving grid:

    medloss register warp fixed_label.nii.gz --label -t inverse:0GenericAffine.mat -t inverse:1Warp.nii.gz
    --like moving.nii.gz -o label.nii.gz
    """
    from medloss.apps.common.errors import UserError

    if label + label_linear + (points is not None) > 1:
        raise UserError("say one of --label, --label-linear and --points: an input is one kind")
    if points is None and source.suffix.lower() == ".csv":
        raise UserError(f"{source} is a table: for points say --points lps (ITK, ANTs) or --points ras (Slicer)")
    _use(threads)
    from medloss.apps.registration.transform_files import read_chain
    from medloss.apps.registration.warp_files import check_input_and_output, warp_image_file, warp_points_file

    check_input_and_output(source, output, points is not None)
    with _written(output, transform, source) as temporary:
        chain = read_chain(transform)
        if points is not None:
            typer.echo(f"moved {warp_points_file(source, temporary, chain, points.value)} points")
        else:
            kind = "label-linear" if label_linear else "label" if label else "image"
            warp_image_file(source, temporary, chain, _grid(like, space), kind, background, _reading(nan, space))


def compose(
    transform: Transforms, output: Written, like: Like = None, space: Space = None, threads: Threads = None
) -> None:
    """Write several transforms as one, in the order of ``warp``: affine maps exactly, all else as one field.

    Written as ``.h5`` they stay what they are, in one file.

    Example: medloss register compose -t 1Warp.nii.gz -t 0GenericAffine.mat --like fixed.nii.gz -o total.nii.gz
    """
    _use(threads)
    from medloss.apps.registration.transform_files import check_output, read_chain, write_transform

    check_output(output)
    with _written(output, transform) as temporary:
        write_transform(temporary, read_chain(transform), _grid(like, space))


def invert(
    source: Annotated[str, typer.Argument(metavar="TRANSFORM", help="Field, affine map or ITK's composite.")],
    output: Written,
    like: Like = None,
    space: Space = None,
    threads: Threads = None,
) -> None:
    """Invert a transform: an affine map exactly, a field by fixed-point iteration on its own grid or that of --like.

    The error is printed in mm. An inverse belongs on the moving image's grid: say --like MOVING where it is another.

    Example: medloss register invert field.nii.gz --like moving.nii.gz -o inverse_field.nii.gz
    """
    _use(threads)
    from medloss.apps.registration.inversion import inversion_error
    from medloss.apps.registration.spatial import Affine
    from medloss.apps.registration.transform_files import check_output, grid_of, read_chain, write_transform

    check_output(output)
    with _written(output, [source]) as temporary:
        forward, grid = read_chain([source]), _grid(like, space)
        if grid is None and not isinstance(forward, Affine):
            grid = grid_of(forward, None)
        written = write_transform(temporary, forward.inverse(), grid)
        told = "an affine map: the inverse is exact"
        if not isinstance(forward, Affine):
            told = str(inversion_error(forward, written, grid))
        typer.echo(told)


def convert(
    source: Annotated[str, typer.Argument(metavar="TRANSFORM", help="Any transform file that warp reads, or .npz.")],
    output: Written,
    like: Like = None,
    moving: Annotated[
        Path | None, typer.Option(help="Moving image, for voxels of Learn2Reg alone; default: on the fixed grid.")
    ] = None,
    from_learn2reg: Annotated[bool, typer.Option("--from-learn2reg", help="TRANSFORM is a NIfTI of voxels.")] = False,
    to_learn2reg: Annotated[bool, typer.Option("--to-learn2reg", help="Write a NIfTI of voxels.")] = False,
    space: Space = None,
    threads: Threads = None,
) -> None:
    """Write a transform in another format, said by the suffix.

    .nii.gz, .mha and .nrrd are displacement fields of ITK, ANTs and Slicer; .tfm, .txt (ITK's text) and .mat (ANTs'
    binary) affine maps; .h5 ITK's composite; .npz Learn2Reg's displacement in voxels.

    Example: medloss register convert field.nii.gz -o disp_0001_0002.npz
    """
    _use(threads)
    from medloss.apps.registration.learn2reg import SUFFIX, read_learn2reg
    from medloss.apps.registration.spatial import Transform
    from medloss.apps.registration.transform_files import check_output, read_chain, write_transform

    check_output(output, to_learn2reg)
    with _written(output, [source]) as temporary:
        fixed, other = _grid(like, space), _grid(moving, space)
        if from_learn2reg or source.lower().endswith(SUFFIX):
            transform: Transform = read_learn2reg(Path(source), fixed, other)
        else:
            transform = read_chain([source])
        write_transform(temporary, transform, fixed, other, to_learn2reg)


@contextmanager
def _written(output: Path, transforms: Iterable[str], *sources: Path) -> Iterator[Path]:
    """Where to write so that the output is there whole or not at all; it may be none of the inputs."""
    from medloss.apps.registration.transform_files import file_and_direction

    check_no_input(output, [*sources, *(file_and_direction(each)[0] for each in transforms)])
    with interruptible(STOPPED), atomic_write(output) as temporary:
        yield temporary
    typer.echo(f"wrote {output}")


def _use(threads: int | None) -> None:
    from medloss.apps.common.compute import pick_device

    pick_device("cpu", threads)


def _reading(nan: str | None, space: str | None) -> Any:
    from medloss.apps.common.reading import Reading

    return Reading(**reading_options(nan, space))


def _grid(like: Path | None, space: str | None) -> Any:
    from medloss.apps.registration.transform_files import read_grid

    return None if like is None else read_grid(like, _reading(None, space))
