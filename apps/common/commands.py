"""What the training commands of both applications share: their options, their configuration, and how they end.

torch and MONAI are imported inside the functions: ``medloss --help`` answers at once.
"""

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from medloss.apps.common.interrupt import interruptible


def output_option(default: str) -> Any:
    """``--output`` of a command that writes a folder.

    Args:
        default: which folder it is where none is given, in words.
    """
    return typer.Option("--output", "-o", help=f"Folder to write to; default: {default}.")


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the full configuration.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, exactly.")]
AllowChanges = Annotated[
    bool, typer.Option("--allow-changes", help="Resume although data, split, losses or network have changed.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the processor.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all data, try one step, write nothing.")]
Configs = Annotated[
    list[str] | None,
    typer.Argument(metavar="CONFIG... [key=value ...]", help="YAML files, later ones win, then overrides."),
]
Nan = Annotated[str | None, typer.Option(help="NaN and infinite intensities: refuse, or zero (read them as 0).")]
Space = Annotated[
    str | None,
    typer.Option(help="Headers that nibabel and ITK place differently: warn, itk (take ITK's place), or refuse."),
]
TrustArrays = Annotated[
    bool, typer.Option("--trust-arrays", help="Use a mask voxel by voxel although its header places it elsewhere.")
]
Last = Annotated[bool, typer.Option("--last", help="Use the last checkpoint instead of the best.")]


def run_training(
    command: str,
    settings: Any,
    training: Callable[[], Any],
    *,
    output: Path | None,
    resume: bool,
    dry_run: bool,
    print_config: bool,
    quiet: bool,
    allow_changes: bool,
    known: Mapping[str, Any] | None = None,
) -> Path | None:
    """Print the configuration, try one step, or train; the run folder where a training ended, None to other processes
    than the first.

    Args:
        command: ``"segment"`` or ``"register"``.
        settings: the configuration, checked.
        training: imports the application's training module, which has ``train`` and ``dry_run``.
        known: what both are told beside the configuration.
    """
    from medloss.apps.common.config import dump_config
    from medloss.apps.common.processes import is_main

    if print_config:
        typer.echo(dump_config(settings), nl=False)
        return None
    module = training()
    if dry_run:
        typer.echo(module.dry_run(settings, **(known or {})))
        return None
    folder = output or Path("runs") / f"{date.today().isoformat()}-{command}"
    with interruptible("the last finished epoch is kept: go on with --output RUN --resume"):
        options = {"progress": not quiet, "allow_changes": allow_changes, **(known or {})}
        run = module.train(settings, folder, resume, **options)
    return run.path if is_main() else None


def reading_options(nan: str | None, space: str | None, trust_arrays: bool = False) -> dict[str, Any]:
    """The options for reading that were given, checked."""
    from medloss.apps.common.config import validate
    from medloss.apps.common.reading import Reading

    given = {"nan": nan, "space": space, "trust_arrays": trust_arrays or None}
    given = {name: value for name, value in given.items() if value is not None}
    validate(Reading, given, "the options")
    return given


def load_settings(command: str, model: type, arguments: list[str] | None, output: Path | None, resume: bool) -> Any:
    """The configuration from YAML files and ``key=value`` overrides, or that of the run to resume.

    Raises:
        UserError: no file, a fault in one, or nothing to resume.
    """
    from medloss.apps.common.config import load_config
    from medloss.apps.common.errors import UserError
    from medloss.apps.common.output import RunFolder

    arguments = arguments or []
    files = [each for each in arguments if "=" not in each or Path(each).is_file()]
    overrides = [each for each in arguments if each not in files]
    if resume:
        if output is None:
            raise UserError("--resume needs --output: the run folder to go on with")
        files = files or [str(RunFolder.open(output).config)]
    if not files:
        raise UserError(f"give a YAML file with data: and loss:, for instance medloss {command} train run.yaml")
    return load_config(model, files, overrides)
