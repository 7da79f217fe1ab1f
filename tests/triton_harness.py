"""How Triton kernels are tested, with and without a GPU.

To add a kernel, write ``tests/ops/triton/test_<operator>.py`` with

1. parity: ``compare(OPERATOR, args)`` holds the forced Triton path to the reference in value and gradient, under a
   random cotangent. Make the arguments by ``move(args)``: on a GPU where there is one, else on the CPU, where the
   kernels are interpreted (some milliseconds per program: shapes up to 16^3, few programs);
2. ``LAUNCHES``, a table of what is compiled ahead of time, without a GPU: ``{"softmax, 14 classes": Launch(call)}``
   where ``call`` runs the path's ``forward`` or ``backward`` on CPU tensors of realistic sizes (``torch.empty`` takes
   no memory until it is written). Every kernel that the call launches is compiled as that launch would compile it,
   and not run: it must neither spill registers nor use the stack, and ``wide`` of them must load 16 bytes at a time;
3. a test that checks the table, one per target:

       @pytest.mark.parametrize("capability", CAPABILITIES)
       def test_ahead_of_time(capability: int, compile_ahead) -> None:
           check(LAUNCHES, compile_ahead(__file__, capability))

Launch kernels inside ``with triton_path.on_device(tensor):`` and import ``triton_kernels`` inside its methods.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_reports import KEPT, kept
from machine_code import BUDGETS, count
from torch import Tensor

from medloss.ops import backend
from medloss.ops.operator import Operator

CAPABILITIES = (90, pytest.param(80, marks=pytest.mark.slow))
"""Compute capabilities of the GPUs compiled for: H100 and its like, A100 and its like."""
COUNTED = {budget.key for budget in BUDGETS}
FULL = {90}
"""For the others, every kernel is compiled once, in the first launch that has it: the time of a suite is short."""
TESTS = Path(__file__).resolve().parent
REPLY = "compiled: "
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Relative to the largest entry. The interpreter cuts a float32 off where it stores bfloat16: one unit, 0.8 %."""


def device() -> str:
    """Where the kernels of a test run."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def move(args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments on the kernels' device, as they lie."""
    return tuple(value.to(device()) if isinstance(value, Tensor) else value for value in args)


def value_and_gradient(
    operator: Operator, path: str, args: Sequence[Any], index: int = 0
) -> tuple[Tensor, Tensor | None]:
    """The result and, where the argument ``index`` is a floating tensor, its gradient under a random cotangent."""
    args = list(args)
    if index >= 0:
        args[index] = args[index].detach().requires_grad_()
    with backend(path):
        result = operator(*args)
        if index < 0:
            return result.detach(), None
        cotangent = torch.randn(result.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        cotangent = cotangent.to(result.device, result.dtype)
        (gradient,) = torch.autograd.grad(result, args[index], cotangent)
    return result.detach(), gradient


def compare(operator: Operator, args: Sequence[Any], index: int = 0, scale: float = 1.0) -> None:
    """Hold Triton to the reference in float64; ``index`` is the argument to differentiate by, -1 for none.

    ``scale`` loosens the tolerance, which is relative to the largest entry.
    """
    doubled = [v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for v in args]
    expected = value_and_gradient(operator, "reference", doubled, index)
    found = value_and_gradient(operator, "triton", args, index)
    for name, mine, theirs in zip(("value", "gradient"), found, expected, strict=True):
        if theirs is None:
            continue
        assert mine.shape == theirs.shape, f"{name} is {tuple(mine.shape)}, not {tuple(theirs.shape)}"
        dtype = args[max(index, 0)].dtype if name == "gradient" else mine.dtype
        assert mine.dtype == dtype, f"{name} is {mine.dtype}, not {dtype}"
        finite = theirs[theirs.isfinite()].abs()
        largest = max(1.0, finite.max().item() if finite.numel() else 0.0)
        tolerance = TOLERANCE[dtype] * scale
        torch.testing.assert_close(
            mine.double(), theirs, rtol=tolerance, atol=tolerance * largest, equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """A call whose kernels are compiled ahead of time; ``wide`` of them load (or, ``-1``, all) 16 bytes at a time."""

    call: Callable[[], Any]
    wide: int = -1


@dataclass(frozen=True)
class Compiled:
    """One kernel for one target, as the assembler made it."""

    name: str
    registers: int
    stack: int
    local: int
    shared: int
    warps: int
    wide_loads: int
    wide_stores: int
    instructions: int = 0
    loop: int = 0
    """All instructions, and those of the longest loop, where ``machine_code.py`` has a budget for them."""


def check(launches: dict[str, Launch], found: dict[str, list[Compiled]]) -> None:
    """No spills, no stack, and loads of 16 bytes where they are expected."""
    faults = [] if found else ["nothing was compiled"]
    for label, kernels in found.items():
        launch = launches[label]
        if not kernels:
            faults.append(f"{label}: launches no kernel")
        faults += [f"{label}: {kernel} uses the stack" for kernel in kernels if kernel.stack or kernel.local]
        wide = sum(kernel.wide_loads > 0 for kernel in kernels)
        if wide < (len(kernels) if launch.wide < 0 else launch.wide):
            faults.append(f"{label}: {wide} of {kernels} load 16 bytes at a time")
    assert not faults, "\n".join(faults)


class Ahead:
    """Compiles the ``LAUNCHES`` of test files in a process of its own, as this one may interpret its kernels.

    One process for all files: it takes longer to import torch and Triton than to compile a kernel. It starts at the
    first file of which nothing is kept (see ``tests/kept_reports.py``).
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        environment |= {"TRITON_CACHE_DIR": str(KEPT / "triton"), "CUDA_VISIBLE_DEVICES": ""}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - close() closes it
        return subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip

    def __call__(self, file: str, capability: int) -> dict[str, list[Compiled]]:
        report = kept(Path(file), capability, lambda: self._compiled(file, capability))
        return {label: [Compiled(**kernel) for kernel in kernels] for label, kernels in report.items()}

    def _compiled(self, file: str, capability: int) -> dict[str, list[dict[str, Any]]]:
        self.process = self.process or self._start()
        print(json.dumps([file, capability]), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith(REPLY):
                return json.loads(line.removeprefix(REPLY))
        self.errors.seek(0)
        raise RuntimeError(self.errors.read()[-4000:])

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()
            self.errors.close()


class _NoDevice:
    """What Triton asks of a driver before it launches, answered for a GPU that is not there."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return self.target.arch  # Triton keeps what it compiled by the device, of which each target is one

    def get_current_stream(self, device: int) -> int:
        return 0


def _describe(kernel: Any) -> Compiled:
    """Resources by the toolkit's own disassembler, vector loads by the assembly."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage = subprocess.check_output([knobs.nvidia.cuobjdump.path, "-res-usage", file.name], text=True)
    used = {name: int(count) for name, count in re.findall(r"\b(REG|STACK|LOCAL|SHARED):(\d+)", usage)}
    ptx, wide = kernel.asm["ptx"], r"\.global\S*\.(?:v4\.[buf]32|v2\.[buf]64|v8\.b16)"
    return Compiled(
        kernel.metadata.name, used["REG"], used["STACK"], used["LOCAL"], kernel.metadata.shared,
        kernel.metadata.num_warps, len(re.findall("ld" + wide, ptx)), len(re.findall("st" + wide, ptx)),
    )  # fmt: skip


def _catch_launches() -> list[Any]:
    """Launches compile their kernel and do not run it; the list grows by the kernels that are compiled."""
    from triton.runtime.jit import JITFunction

    made: list[Any] = []
    run = JITFunction.run

    def compile_only(self: JITFunction, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernel = run(self, *args, grid=grid, warmup=True, **options)
        if all(kernel is not other for other in made):
            made.append(kernel)
        return kernel

    JITFunction.run = compile_only
    return made


def _compile_launches(file: str, capability: int, made: list[Any]) -> dict[str, list[dict[str, Any]]]:
    import triton

    triton.runtime.driver.set_active(_NoDevice(capability))
    spec = importlib.util.spec_from_file_location("launches", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    report, seen = {}, set()
    for label, launch in module.LAUNCHES.items():
        made.clear()
        with _named() as names:
            launch.call()
        if capability not in FULL and names <= seen:
            continue
        seen |= names
        launch.call()
        report[label] = []
        for kernel in made:
            found = asdict(_describe(kernel))
            if capability in FULL and (Path(file).stem.removeprefix("test_"), label, found["name"]) in COUNTED:
                found["instructions"], found["loop"] = count(kernel.asm["cubin"])
            report[label].append(found)
    return report


@contextlib.contextmanager
def _named() -> Iterator[set[str]]:
    """Launches do nothing but leave their kernels' names."""
    from triton.runtime.jit import JITFunction

    names: set[str] = set()
    run = JITFunction.run
    JITFunction.run = lambda self, *args, **options: names.add(self.__name__)
    try:
        yield names
    finally:
        JITFunction.run = run


if __name__ == "__main__":
    sys.modules["triton_harness"] = sys.modules["__main__"]
    sys.path.insert(0, str(TESTS))
    kernels = _catch_launches()
    for request in sys.stdin:
        print(REPLY + json.dumps(_compile_launches(*json.loads(request), kernels)), flush=True)
