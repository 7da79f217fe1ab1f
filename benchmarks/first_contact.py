"""The first minutes on a GPU: the most telling checks and times first, one line each. A fault does not stop the next.

    python benchmarks/first_contact.py [--device cuda] [--only dice_ce,mi] [check] [time] [compile]

``check`` holds losses and operators to the reference on the CPU in double, looks for waits and calls each again: bit by
bit the same. ``time`` tells a step's time, its host time, its time as a CUDA graph and its kernels. ``compile`` runs
``torch.compile(mode="reduce-overhead")``. ``--device cpu --edge 12`` with ``MEDLOSS_BACKEND=reference`` rehearses it.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gpu
import torch
from contact_cases import LOSSES, OPERATORS, Loss, field, images, logits
from speed import clocked
from torch import Tensor

import medloss

FARTHEST = 2e-3
"""From the reference, relative to the largest entry: single precision, and sums in another order."""


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """A fault inside the block is a line."""
    try:
        yield
    except Exception as fault:  # any: the next one is worth having
        print(f"BAD  {name:18s} {type(fault).__name__}: {str(fault)[-400:]!r}", flush=True)
        traceback.print_exc(limit=-2)


def moved(tensors: list[Tensor], device: str, dtype: torch.dtype | None = None) -> list[Tensor]:
    """To the device; real numbers in the dtype."""
    return [t.to(device, dtype if dtype and t.is_floating_point() else t.dtype) for t in tensors]


def step(loss: Loss, tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    first = tensors[0].detach().requires_grad_()
    value = loss(first, *tensors[1:])
    return value.detach(), *torch.autograd.grad(value, first)


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest, relative to the largest entry."""
    return ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12)).item()


def waits(call: Callable[[], object]) -> str:
    """Where a call waits for the GPU; empty where it does not."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    except RuntimeError as fault:
        return f" WAITS: {str(fault)[:80]}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


def check_loss(name: str, loss: Any, tensors: list[Tensor], device: str) -> None:
    """One line: how far from the reference, whether it repeats itself, and who served."""
    began = time.perf_counter()
    with medloss.backend("reference"):
        expected = step(loss, moved(tensors, "cpu", torch.float64))
    loss, tensors = loss.to(device), moved(tensors, device)
    found = step(loss, tensors)
    first = time.perf_counter() - began
    far = [distance(a.cpu().double(), b) for a, b in zip(found, expected)]
    same = all(torch.equal(a, b) for _ in range(3) for a, b in zip(found, step(loss, tensors)))
    waited = waits(lambda: step(loss, tensors)) if device == "cuda" else ""
    good = all(each < FARTHEST for each in far) and same and not waited
    served = medloss.explain(loss, *tensors).replace("\n", "; ")[:60]
    print(
        f"{'ok  ' if good else 'BAD '} {name:18s} value {far[0]:.1e} gradient {far[1]:.1e}, "
        f"{'the same' if same else 'DIFFERENT'} again, first call {first:.1f} s{waited} | {served}",
        flush=True,
    )


def check_operator(name: str, call: Callable[[str], Tensor], device: str) -> None:
    """One line: whether each of five calls equals the reference."""
    with medloss.backend("reference"):
        expected = call("cpu").double()
    found = [call(device).cpu().double() for _ in range(5)]
    good = [torch.allclose(each, expected, rtol=1e-12, atol=0) for each in found]
    print(f"{'ok  ' if all(good) else 'BAD '} {name:18s} {sum(good)} of 5 equal the reference", flush=True)


def check(given: argparse.Namespace) -> None:
    """Losses, then the operators that could race."""
    for name, case in LOSSES.items():
        if chosen(name, given):
            with told(name):
                check_loss(name, *case, given.device)
    for name, call in OPERATORS.items():
        if chosen(name, given):
            with told(name):
                check_operator(name, call, given.device)


def chosen(name: str, given: argparse.Namespace) -> bool:
    """Whether it was asked for."""
    return not given.only or name in given.only.split(",")


def timed_rows(edge: int, device: str) -> dict[str, tuple[Any, Callable[[], list[Tensor]]]]:
    """What ``time`` runs: a loss, and what makes its tensors, the first ones first."""
    cube = (edge,) * 3
    four, fourteen = (lambda c=c: logits(c, *cube, device=device) for c in (4, 14))
    flat = (edge * 8 // 5,) * 2  # 256 beside 160
    two, one = (lambda: images(*cube, device=device)), (lambda: field(*cube, device=device))
    return {
        "dice_ce_n14": (LOSSES["dice_ce"][0], fourteen),
        "dice_ce_n4_2d_b64": (LOSSES["dice_ce"][0], lambda: logits(4, *flat, device=device, batch=64)),
        "lncc": (LOSSES["lncc"][0], two),
        "mi": (LOSSES["mi"][0], two),
        "bending": (LOSSES["bending"][0], one),
        "focal_n14": (LOSSES["focal"][0], fourteen),
        "diffusion": (LOSSES["diffusion"][0], one),
        "jacobian": (LOSSES["jacobian"][0], one),
        "cldice_n4": (LOSSES["cldice"][0], four),
        "hausdorff_dt_n4": (LOSSES["hausdorff_dt"][0], four),
        "lovasz_n4": (LOSSES["lovasz"][0], four),
    }


def median(call: Callable[[], object], device: str, rounds: int = 7) -> float:
    """Milliseconds of a call, after two that do not count."""
    clock = gpu.clocked if device == "cuda" else clocked
    return 1e3 * statistics.median([clock(call)[0] for _ in range(rounds + 2)][2:])


def as_graph(call: Callable[[], object]) -> str:
    """A step's time as a replayed CUDA graph, or why it cannot be recorded."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except Exception as fault:
        return f", NO GRAPH: {str(fault)[:60]!r}"
    return f", as a graph {median(graph.replay, 'cuda'):.3f} ms"


def longest_kernels(call: Callable[[], object], device: str) -> str:
    """The names and milliseconds of a step's longest kernels; on a CPU those of its calls."""
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CUDA if device == "cuda" else kinds.CPU]) as seen:
        call()
        if device == "cuda":
            torch.cuda.synchronize()
    spent = "device_time_total" if device == "cuda" else "cpu_time_total"
    longest = sorted(seen.key_averages(), key=lambda event: -getattr(event, spent))[:6]
    return ", ".join(f"{event.key[:22]} {getattr(event, spent) / 1e3:.3f}" for event in longest)


def time_row(name: str, loss: Any, tensors: list[Tensor], device: str, bandwidth: float) -> None:
    """Two lines: times, and kernels."""
    loss, x = loss.to(device), tensors[0].requires_grad_()

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(x, *tensors[1:]), x)

    forward, together = median(lambda: loss(x, *tensors[1:]), device), median(both, device)
    began = time.perf_counter()
    both()
    host = 1e3 * (time.perf_counter() - began)
    least = 1e3 * gpu.least_bytes(tensors) / bandwidth
    graph = as_graph(both) if device == "cuda" else ""
    print(
        f"{name:18s} forward {forward:.3f} ms, both {together:.3f} ms, host {host:.2f} ms, least {least:.3f} ms{graph}"
    )
    print("     " + longest_kernels(both, device), flush=True)


def timed(given: argparse.Namespace) -> None:
    """Each row once, at the edge asked for."""
    bandwidth = gpu.bandwidth() if given.device == "cuda" else 1e10
    print(f"copies move {bandwidth / 1e12:.2f} TB/s, read and written", flush=True)
    for name, (loss, make) in timed_rows(given.edge, given.device).items():
        if chosen(name, given):
            with told(name):
                time_row(name, loss, make(), given.device, bandwidth)
            if given.device == "cuda":
                torch.cuda.empty_cache()


def compiled(given: argparse.Namespace) -> None:
    """Four steps of a compiled loss whose graphs torch records by itself; the last ones are replays."""
    for name in ("dice_ce", "bending"):
        if not chosen(name, given):
            continue
        with told(f"{name} compiled"):
            loss, tensors = LOSSES[name][0].to(given.device), moved(LOSSES[name][1], given.device)
            fast, first = torch.compile(loss, mode="reduce-overhead"), tensors[0].requires_grad_()
            for _ in range(4):
                first.grad = None
                value = fast(first, *tensors[1:])
                value.backward()
            far = (first.grad - step(loss, tensors)[1]).abs().max().item()
            print(
                f"{'ok  ' if far < 1e-5 else 'BAD '} {name} reduce-overhead, gradient {far:.1e} from eager", flush=True
            )


def main() -> None:
    """The parts in the order asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="check, time or compile; the first two without any")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--only", default="", help="names, by commas")
    parser.add_argument("--edge", type=int, default=160, help="of the volumes that are timed")
    given, began = parser.parse_args(), time.perf_counter()
    for part in given.parts or ["check", "time"]:
        PARTS[part](given)
        print(f"-- {part} done after {time.perf_counter() - began:.0f} s", flush=True)


PARTS = {"check": check, "time": timed, "compile": compiled}


if __name__ == "__main__":
    main()
