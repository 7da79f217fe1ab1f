"""What the training commands of both applications share: their options, their configuration, and how they end.

torch and MONAI are imported inside the functions: ``medloss --help`` answers at once.
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write to.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the full configuration.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, exactly.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all data, try one step, write nothing.")]
Configs = Annotated[
    list[str] | None,
    typer.Argument(metavar="CONFIG... [key=value ...]", help="YAML files, later ones win, then overrides."),
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
) -> Path | None:
    """Print the configuration, try one step, or train; the run folder where a training ended.

    Args:
        command: ``"segment"`` or ``"register"``.
        settings: the configuration, checked.
        training: imports the application's training module, which has ``train`` and ``dry_run``.
    """
    from medloss.apps.common.config import dump_config

    if print_config:
        typer.echo(dump_config(settings), nl=False)
        return None
    module = training()
    if dry_run:
        typer.echo(module.dry_run(settings))
        return None
    folder = output or Path("runs") / f"{date.today().isoformat()}-{command}"
    try:
        return module.train(settings, folder, resume, progress=not quiet).path
    except KeyboardInterrupt:
        typer.echo("stopped; the last finished epoch is kept: go on with --output RUN --resume", err=True)
        raise typer.Exit(130) from None


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
    if resume and output is None:
        raise UserError("--resume needs --output: the run folder to go on with")
    if resume and not files:
        files = [str(RunFolder.open(output).config)]
    if not files:
        raise UserError(f"give a YAML file with data: and loss:, for instance medloss {command} train run.yaml")
    return load_config(model, files, overrides)
