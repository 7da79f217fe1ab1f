"""The command ``medloss demo``."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write to; an existing one is never overwritten.")
    ] = Path("medloss-demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Half a minute on a coarse brain: shows that it runs, not how well.")
    ] = False,
) -> None:
    """See medloss at work on an average brain: learn its tissues, recover a known warp; a few minutes on two cores.

    Nothing is downloaded: the MNI152 template ships with nilearn. Ends with a table, previews, NIfTI files and
    report.html.
    """
    from medloss.apps.demo.config import DemoConfig
    from medloss.apps.demo.config import quick as quick_config
    from medloss.apps.demo.run import run_demo

    run_demo(output, quick_config() if quick else DemoConfig())
