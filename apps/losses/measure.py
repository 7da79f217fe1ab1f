"""Time and memory of one forward and backward, ours and the peers' in turn. ``benchmarks/`` measures with it too.

Needs torch alone.
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

Clock = Callable[[Callable[[], Any]], tuple[float, float]]
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
HEAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Every block above 64 KiB comes from the system and goes back there, so that no kept heap hides a map."""


def step(loss: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """One forward and backward; returns the gradient."""
    first = inputs[0].detach().requires_grad_()
    loss(first, *inputs[1:]).sum().backward()
    assert first.grad is not None
    return first.grad


def clocked(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def warmed(calls: Mapping[str, Callable[[], Any]], clock: Clock) -> dict[str, tuple[Callable[[], Any], int]]:
    """Calls that work, short ones in groups of 10 ms, and how many are in a group.

    The first call does not count: it compiles kernels, for seconds. Of a peer that lacks the dtype or the memory no
    more is heard; our own loss must run.
    """
    found: dict[str, tuple[Callable[[], Any], int]] = {}
    for name, call in calls.items():
        try:
            clock(call)
            seconds = clock(call)[0]
        except Exception as error:
            if name == "medloss":
                raise
            print(f"{name}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            continue
        repeat = max(1, round(0.01 / max(seconds, 1e-6)))
        found[name] = (functools.partial(_times, call, repeat), repeat)
    return found


def _times(call: Callable[[], Any], repeat: int) -> None:
    for _ in range(repeat):
        call()


def turns(
    calls: Mapping[str, Callable[[], Any]], rounds: int, longest: float, clock: Clock = clocked
) -> dict[str, dict[str, float]]:
    """The times of every contestant, each in its turn in every round.

    Rounds of more than ``longest`` seconds in all are fewer, at least 3. A turn is one call that does not count and up
    to five that do, as many as half a second takes.
    """
    groups = warmed(calls, clock)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in groups}
    once = 2 * sum(clock(call)[0] for call, _ in groups.values())
    for _ in range(max(3, min(rounds, int(longest / once)))):
        for name, (call, repeat) in groups.items():
            for _ in range(max(1, min(5, int(0.5 / clock(call)[0])))):
                wall, cpu = clock(call)
                times[name].append((wall / repeat, cpu / repeat))
    return {name: summary(taken) for name, taken in times.items()}


def summary(taken: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Milliseconds."""
    wall, cpu = zip(*taken)
    return {
        "min_ms": 1e3 * min(wall),
        "median_ms": 1e3 * statistics.median(wall),
        "cpu_median_ms": 1e3 * statistics.median(cpu),
    }


def status(key: str) -> int:
    """Bytes from the process's status (Linux)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def peak(loss: Callable[..., Tensor], small: Sequence[Tensor], inputs: Sequence[Tensor]) -> float:
    """The peak of one step in this process beyond its inputs, in units of the first tensor (Linux).

    The resident set's high-water mark is reset before the step, after one on small volumes has loaded everything.
    """
    step(loss, small)
    before = status("VmRSS")
    CLEAR.write_text("5")  # the high-water mark starts again here
    step(loss, inputs)
    return (status("VmHWM") - before) / (inputs[0].numel() * inputs[0].element_size())


def contestants(name: str, only: str | None = None) -> dict[str, Callable[..., Tensor]]:
    """Our loss, by its name in YAML, and the same loss of the peers that are installed; or one of them."""
    from medloss.apps.losses.peers import PEERS
    from medloss.apps.losses.phantom import made
    from medloss.config import loss_names

    cls = loss_names()[name]
    found: dict[str, Callable[..., Tensor]] = {"medloss": made(cls)}
    for peer, make in PEERS.get(cls.__name__, {}).items():
        if only not in (None, peer):
            continue
        try:
            found[peer] = make()
        except ImportError:
            continue
    return found


def times(name: str, size: int, rounds: int = 5, longest: float = 20.0) -> dict[str, dict[str, float]]:
    """Milliseconds of a loss and its peers on the standard phantom, a cube of ``size`` voxels along each axis."""
    from medloss.apps.losses.phantom import scene
    from medloss.config import loss_names

    warnings.simplefilter("ignore")
    inputs = [tensor.detach() for tensor in scene(loss_names()[name], (size,) * 3).tensors]
    calls: dict[str, Callable[[], Any]] = {
        who: functools.partial(step, loss, inputs) for who, loss in contestants(name).items()
    }
    return turns(calls, rounds, longest)


class Peaks(NamedTuple):
    """``found``: who to the peak memory. ``faults``: who, or nobody for all of them, to why there is no number."""

    found: dict[str, float]
    faults: dict[str, str]


def peaks(name: str, size: int) -> Peaks:
    """The peak memory of the same, each in a fresh process."""
    if not CLEAR.exists():
        return Peaks({}, {"": f"this system does not tell a process its peak ({CLEAR} of Linux is not there)"})
    found, faults = {}, {}
    for who in contestants(name):
        command = [sys.executable, "-m", "medloss.apps.losses.measure", name, who, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | HEAP)
        if done.returncode == 0:
            found[who] = float(done.stdout.split()[-1])
        else:
            faults[who] = (done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1]
    return Peaks(found, faults)


def main() -> None:
    """The peak of one contestant: ``python -m medloss.apps.losses.measure NAME WHO SIZE``."""
    from medloss.apps.losses.phantom import scene
    from medloss.config import loss_names

    warnings.simplefilter("ignore")
    name, who, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    small, inputs = (
        [tensor.detach() for tensor in scene(loss_names()[name], (each,) * 3).tensors] for each in (24, size)
    )
    print(peak(contestants(name, who)[who], small, inputs))


if __name__ == "__main__":
    main()
