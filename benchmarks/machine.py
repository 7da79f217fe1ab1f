"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch

PEERS = ("monai", "kornia", "segmentation-models-pytorch", "pytorch-msssim", "nnunetv2", "fireants", "fused-lncc")
FOLDER = Path(__file__).resolve().parent / ".peers"


def describe(device: str = "cpu") -> dict[str, object]:
    """Processor, threads, instruction set of our kernels, and versions.

    Of figures of a GPU the native library is no part: to ask for it would build it, for a minute of a lent machine.
    """
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **({"kernels": kernels()} if device == "cpu" else {}),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("medloss", "triton", *PEERS)},
    }


def kernels() -> str:
    """The instruction set of the native library, or why there is none."""
    from medloss.ops import native

    return native.unavailable() or native.level()


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """An installed package's version."""
    found = [*metadata.distributions(name=package), *metadata.distributions(name=package, path=[str(FOLDER)])]
    return found[0].version if found else None


if __name__ == "__main__":
    for name, value in describe(*sys.argv[1:]).items():
        print(f"{name}: {value}")
