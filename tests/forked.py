"""Processes that are forked from one with all imports done: each begins at once, and knows nothing of the others."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
APPLICATIONS = (
    *("commands", "segmentation.train", "segmentation.predict", "registration.train", "registration.predict"),
    *("registration.pair", "common.figures", "common.curves", "common.history"),
)
OTHERS = ("torch.utils.tensorboard", "matplotlib.pyplot", "scipy.ndimage", "monai.networks.nets", "ipykernel.kernelapp")


@functools.cache
def context() -> Any:
    """Makes processes that have imported everything: the first one waits for that."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([*(f"medloss.apps.{name}" for name in APPLICATIONS), *OTHERS])
    first = made.Process(target=time.time)
    first.start()
    first.join()
    return made


class Kernel:
    """A notebook's kernel in a forked process, with what ``jupyter_client`` asks of one that ``Popen`` has started."""

    stdin = stdout = stderr = None

    def __init__(self, command: list[str], *, cwd: str | None = None, env: dict[str, str] | None = None, **_: Any):
        assert command[1:3] == ["-m", "ipykernel_launcher"], command
        apart, told = context().Pipe(duplex=False)
        serve = (command[3:], cwd or os.getcwd(), dict(env or os.environ), told)
        self._process = context().Process(target=_serve, args=serve)
        self._process.start()
        apart.recv()  # signals go to its group, which is ours up to then
        self.pid = self._process.pid
        self.kill, self.terminate = self._process.kill, self._process.terminate

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def _serve(arguments: list[str], folder: str, environment: dict[str, str], told: Any) -> None:
    """Be a kernel as of a fresh Python: of the tests only what is imported already stays."""
    os.setsid()
    told.send(None)
    import matplotlib
    from ipykernel import kernelapp

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["ipykernel_launcher", *arguments]
    sys.path[:] = [place for place in sys.path if not Path(place).is_relative_to(TESTS)]
    matplotlib.rcParams["backend"] = environment["MPLBACKEND"]  # which it has read at its import
    kernelapp.launch_new_instance()
