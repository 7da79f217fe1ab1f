"""Losses on a GPU that is not there: shapes and devices are followed, and nothing is computed.

PyTorch lets Python stand for a device, but for the whole process, which therefore is one of its own:
``python tests/fake_gpu.py reference triton`` prints the faults of all losses as JSON, a line for each. A fault is

* a tensor of the CPU among those of the GPU, in arithmetic or given to a Triton kernel;
* a question about values (``.item()``, ``bool(tensor)``), at which a host waits for its GPU;
* numbers handed over to the GPU, at which it waits, too, and which no CUDA graph can record; each loss is called
  again with other numbers (weights, spacings, smoothings);
* a value or gradient that is not on the GPU.

``reference`` runs every operator's plain torch, ``triton`` the launches of every Triton path, up to the kernels
themselves.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NAME = "gpu"


class Module(backend_registration._DummyBackendModule):
    """What torch asks a device's module for."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


def devices(*values: Any) -> set[str]:
    """The kinds of device of all tensors in there."""
    return {leaf.device.type for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}


@cache
def in_package(filename: str) -> str | None:
    """A file's path inside the package, None for a file of others, whatever the folders above are called."""
    import medloss

    package, path = Path(medloss.__file__).resolve().parent, Path(filename).resolve()
    return path.relative_to(package).as_posix() if path.is_relative_to(package) else None


def innermost(frames: Iterable[traceback.FrameSummary]) -> str | None:
    """The last line of the package among the frames."""
    found = [f"{path}:{frame.lineno}" for frame in frames if (path := in_package(frame.filename))]
    return found[-1] if found else None


def place() -> str:
    """The innermost line of the package that is being run."""
    return innermost(traceback.extract_stack()) or "autograd"


class Watch(TorchDispatchMode):
    """Notes what is handed over from the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        copies = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        if copies and devices(args) == {"cpu"} and NAME in devices(result):
            self.faults.append(f"{place()}: numbers are handed over from the CPU")
        return result


def on_gpu(mode: FakeTensorMode) -> Callable[[Tensor], Tensor]:
    """Moves a tensor, or what stands for one."""

    def move(tensor: Tensor) -> Tensor:
        return (tensor if isinstance(tensor, torch._subclasses.FakeTensor) else mode.from_tensor(tensor)).to(NAME)

    return move


def faults_of(call: Callable[[], tuple[Tensor, ...]]) -> list[str]:
    """What is wrong about a call that returns tensors of the GPU."""
    watch = Watch()
    try:
        with watch:
            results = call()
    except Exception as error:  # any: it is what the test is after
        told = str(error).strip().splitlines()[0] if str(error).strip() else ""
        line = innermost(traceback.extract_tb(error.__traceback__)) or place()
        return [*watch.faults, f"{line}: {type(error).__name__}: {told}"]
    return watch.faults + [f"a result is on {one.device}" for one in results if one.device.type != NAME]


def through_references() -> None:
    """Operators are their references, whatever looks on."""
    from medloss.ops.operator import Operator

    Operator.__call__ = lambda self, *args: self.reference(self.arguments(*args))


def through_launches() -> None:
    """Operators choose a path as on a GPU, and a kernel looks at the tensors that it is given."""
    from triton.runtime.jit import JITFunction

    from medloss.ops import operator, triton_path

    def launch(self: JITFunction, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        if devices(args, options) - {NAME}:
            raise TypeError(f"{self.__name__} is given tensors of {devices(args, options)}")
        if any(size > 65535 for size in grid[1:]) or not all(grid):
            raise RuntimeError(f"{self.__name__} cannot be launched with a grid of {grid}")

    JITFunction.run = launch
    operator.can_bypass_dispatcher = lambda args: True
    triton_path.reasons = lambda tensor: []


def through_python() -> None:
    """Numbers go to the device by a copy, which is noted; torch's own ways ask the device for memory."""
    tensor = torch.tensor

    def made(data: Any, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
        found = tensor(data, dtype=dtype)
        # a tensor whose values nobody knows: torch would compute with those it knows
        return found if device is None else torch.empty(found.shape, dtype=found.dtype).to(device)

    torch.tensor = made
    Tensor.new_tensor = lambda self, data, dtype=None: made(data, dtype or self.dtype, self.device)


def faults_by_case(gradients: bool) -> dict[str, list[str]]:
    """The first case of each preparation with a mask and without, the others by turns; gradients without, or all.

    So it is with a loss's numbers and others in their place: all four are met among those that prepare their tensors
    by the same functions.
    """
    from cases import cases, full_mask
    from turns import numbered

    mode, found = FakeTensorMode(), {}
    move = on_gpu(mode)
    for case, turn in numbered(cases()):
        tensors = case.inputs(max(2, case.row.least))
        for masked in (True, False) if turn == 0 else (turn % 2 == 0,):
            mask = full_mask(case, tensors[0]) if masked else None
            other = with_other_numbers(case.make())
            for told, loss in _both_or_one(case.make(), other, masked, turn):
                with mode:
                    loss, inputs = loss._apply(move), [move(tensor) for tensor in tensors]
                    given = None if mask is None else move(mask)
                    wanted = gradients or not masked
                    label = f"{case}{', masked' if masked else ''}{told}"
                    faults = faults_of(lambda: step(loss, inputs, given, wanted))  # noqa: B023 - called at once
                if not (told and any(" ValueError: " in fault for fault in faults)):  # numbers that do not go together
                    found[label] = faults
    return found


def _both_or_one(plain: Any, other: Any, masked: bool, turn: int) -> list[tuple[str, Any]]:
    """The loss, with other numbers, or the one and then the other under a mask of the first that has its preparation.

    A table of the plain numbers may stand from another loss: what is handed over shows with others.
    """
    if other is None:
        return [("", plain)]
    found = [("", plain), (", other numbers", other)]
    return found if masked and turn == 0 else [found[(turn // 2 + masked + 1) % 2]]


def step(loss: Any, inputs: list[Tensor], mask: Tensor | None, wanted: bool) -> tuple[Tensor, ...]:
    """The value, and the gradient where it is wanted."""
    inputs[0].requires_grad_(wanted)
    value = loss(*inputs, mask=mask)
    return value, *(torch.autograd.grad(value, inputs[0], torch.ones_like(value)) if wanted else ())


def with_other_numbers(loss: Any) -> Any:
    """Other weights, spacings and smoothings, as a schedule or the next image brings them; None where there are none.

    A number that would be no option stays as it is.
    """
    changed = False
    for name in type(loss)._options:
        value = getattr(loss, name, None)
        numbers = value if isinstance(value, (tuple, list)) else (value,)
        if not numbers or not all(type(number) is float for number in numbers):
            continue
        other = [number * 0.875 for number in numbers]
        try:
            setattr(loss, name, tuple(other) if isinstance(value, (tuple, list)) else other[0])
            changed = True
        except Exception:  # any: the loss says that it takes no such number
            continue
    return loss if changed else None


def main(way: str) -> None:
    """The faults of all losses, by the case that has them."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    through_python()
    {"reference": through_references, "triton": through_launches}[way]()
    print(json.dumps(faults_by_case(gradients=way == "triton")), flush=True)
    os._exit(0)  # autograd has a thread for the device, whose end now and then aborts a process that is done


if __name__ == "__main__":
    import torch._dynamo  # of which a FakeTensorMode asks something: a second
    import turns  # noqa: F401 - both imported once, with torch and all losses, for every process below

    for each in sys.argv[1:]:
        child = os.fork()
        if child == 0:
            main(each)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"the process of {each} has failed")
