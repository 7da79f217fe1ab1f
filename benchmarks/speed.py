"""Time of one forward and backward, ours and the peers' in turn in one process: ``python benchmarks/speed.py``.

Machines are noisy: every round gives each contestant a turn, and the table holds minimum and median of their calls,
wall clock and processor time. Ratios are of the medians. A turn is one call that does not count and then up to five
that do, as many as half a second takes: the first finds the memory that the contestant before gave back, which a
virtual machine may have returned to its host, and pays to fetch it again (up to 250 ms for 117 MB where 10 ms are
usual). A training step meets its own memory of the step before.

``--device cpu --edge 12`` rehearses the rows of a GPU on small volumes: its figures mean nothing.

``--device cuda`` measures the rows of ``rows_gpu.py`` between events on the stream, of which a call's own launches are
a part, and adds ``least``: the bytes that must be moved, at the bandwidth of a large copy on this machine. ``floor`` is
torch reading the input once, and once more to write a copy.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gpu
import machine
import torch
from contestants import Row, floor, step, tensors
from rows import BY_NAME
from rows_gpu import GPU_ROWS

from medloss.apps.losses.measure import clocked, turns

RESULTS = Path(__file__).resolve().parent / "results"


def contestants(row: Row, device: str = "cpu") -> dict[str, Callable[..., torch.Tensor]]:
    """The losses of a row, with what they hold on the device; a peer that is not installed is left out."""
    found = {"medloss": row.ours()}
    for name, make in row.peers.items():
        try:
            found[name] = make()
        except ImportError:
            continue
    return {name: loss.to(device) if isinstance(loss, torch.nn.Module) else loss for name, loss in found.items()}


def measure(row: Row, rounds: int, dtype: torch.dtype, device: str, longest: float = 60.0) -> dict[str, object]:
    """The times of every contestant. Rounds of more than ``longest`` seconds in all are fewer, at least 3."""
    clock = gpu.clocked if device == "cuda" else clocked
    inputs = tensors(row, dtype, device=device)
    calls = {name: (lambda loss=loss: step(loss, inputs)) for name, loss in contestants(row, device).items()}
    calls["floor"] = lambda: floor(inputs)
    return turns(calls, rounds, longest, clock)


def arguments() -> argparse.Namespace:
    """The command line, with what depends on the device filled in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows to measure, all without any")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--edge", type=int, help="rehearse the rows of a GPU on the CPU, at most so many voxels wide")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds of a row, for at least three rounds")
    parser.add_argument("--out", type=Path, help="on a GPU the file is named by it")
    given = parser.parse_args()
    given.known = rows_of(given.device, given.edge)
    if unknown := set(given.rows) - set(given.known):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(given.known)}")
    given.out = given.out or results("speed", given.device, "" if given.dtype == "float32" else given.dtype)
    return given


def rows_of(device: str, edge: int | None = None) -> dict[str, Row]:
    """The rows of a device by name; with ``edge`` a GPU's rows for the CPU, at most so wide and without a compiler."""
    if device == "cpu" and edge is None:
        return BY_NAME
    if device == "cuda":
        return {row.name: row for row in GPU_ROWS}
    rows = [row for row in GPU_ROWS if not row.name.endswith("_compiled")]
    return {row.name: replace(row, shape=tuple(min(size, edge) for size in row.shape)) for row in rows}


def results(what: str, device: str, dtype: str = "") -> Path:
    """Where figures are kept: those of a GPU under its name."""
    told = [gpu.slug(torch.cuda.get_device_name())] if device == "cuda" else []
    return RESULTS / ("_".join([what, *told, *([dtype] if dtype else [])]) + ".json")


def begun(given: argparse.Namespace, **about: object) -> dict[str, object]:
    """A report with its machine described. Where some rows are measured again, the others stay."""
    rehearsed = getattr(given, "edge", None)  # of which the native library is no part, as of a GPU's figures
    described = machine.describe("cuda" if rehearsed else given.device)
    report = {"machine": described, "device": given.device, **about, "rows": {}}
    if given.rows and given.out.is_file():
        report["rows"] = json.loads(given.out.read_text())["rows"]
    given.out.parent.mkdir(exist_ok=True, parents=True)
    return report


def main() -> None:
    """Measure, print, and write JSON with the machine described."""
    given = arguments()
    warnings.simplefilter("ignore")
    dtype, on_gpu = getattr(torch, given.dtype), given.device == "cuda"
    report = begun(given, dtype=given.dtype, rounds=given.rounds)
    if on_gpu:
        report["bytes_per_second"] = gpu.bandwidth()
        print(f"copies move {report['bytes_per_second'] / 1e12:.2f} TB/s, read and written", flush=True)
    for name in given.rows or given.known:
        try:
            result = measure(given.known[name], given.rounds, dtype, given.device, given.longest)
        except Exception as error:
            if not on_gpu:
                raise
            print(f"{name}: {type(error).__name__}: {str(error)[:500]}", flush=True)  # the other rows are worth having
            continue
        finally:
            if on_gpu:
                torch.cuda.empty_cache()
        if on_gpu:
            count = gpu.least_bytes(tensors(given.known[name], dtype, device="cuda"))
            result["least"] = {"median_ms": 1e3 * count / report["bytes_per_second"], "bytes": count}
        report["rows"][name] = result
        given.out.write_text(json.dumps(report, indent=1) + "\n")
        print(f"{name:24s} " + told(result), flush=True)


def told(result: dict[str, dict[str, float]]) -> str:
    """Each contestant's milliseconds, and how many of ours they are."""
    ours = result["medloss"]["median_ms"]
    return ", ".join(
        f"{who} {taken['median_ms']:.3g} ms ({taken['median_ms'] / ours:.1f}x)" for who, taken in result.items()
    )


if __name__ == "__main__":
    main()
