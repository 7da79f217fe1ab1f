"""``medloss doctor``: what this installation is made of, what serves the losses, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata

from medloss.extras import install_line

PACKAGES = ("medloss", "torch", "triton", "monai", "pytorch-ignite", "numpy", "scipy", "nibabel", "itk-io", "kornia")
EXTRAS = {
    "nilearn": f"the demo: {install_line('demo')}",
    "tensorboard": "curves in TensorBoard",
}
NOT_BUILT = "built at first use ({}), by make, or by pip install; this command does not build it"


def doctor() -> str:
    """The report, a line for each fact; it never raises because something is missing."""
    return "\n".join([*_versions(), *_devices(), *_kernels(), *_settings(), *_missing()])


def _versions() -> Iterator[str]:
    yield f"python      {platform.python_version()} on {platform.platform()} ({sys.executable})"
    for name in PACKAGES:
        try:
            yield f"{name:<11} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"{name:<11} not installed"


def _devices() -> Iterator[str]:
    import torch

    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    yield f"processor   {threads} threads of {os.cpu_count()}, {capability}"
    if not torch.cuda.is_available():
        built = "built for CUDA or ROCm" if torch.version.cuda or torch.version.hip else "built for the CPU alone"
        yield f"gpu         none that torch sees ({built})"
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        memory, capability = f"{facts.total_memory / 2**30:.0f} GiB", f"{facts.major}.{facts.minor}"
        yield f"gpu         cuda:{number} {facts.name}, {memory}, compute capability {capability}"


def _kernels() -> Iterator[str]:
    """Which implementation serves one loss of each kind on each device, and why no faster one."""
    import torch

    import medloss
    from medloss.ops import library
    from medloss.ops.dispatch import forced_backend

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if forced_backend() != "reference" and library.would_be_built():
        devices.remove("cpu")
        yield f"kernels     cpu: the native library is not built: {NOT_BUILT.format(library.BUILD_TIME)}"
    for device in devices:
        logits, labels = torch.zeros(1, 2, 8, 8, 8, device=device), torch.zeros(1, 1, 8, 8, 8, device=device).long()
        image, field = torch.rand(1, 1, 8, 8, 8, device=device), torch.zeros(1, 3, 8, 8, 8, device=device)
        losses = {
            "DiceCELoss": (medloss.DiceCELoss(softmax=True, to_onehot_y=True), (logits, labels)),
            "LocalNormalizedCrossCorrelationLoss": (medloss.LocalNormalizedCrossCorrelationLoss(), (image, image)),
            "BendingEnergyLoss": (medloss.BendingEnergyLoss(), (field,)),
        }
        for name, (loss, tensors) in losses.items():
            yield f"kernels     {device}: {name}: {medloss.explain(loss, *tensors)}".replace("\n", "; ")


def _settings() -> Iterator[str]:
    for name in sorted(name for name in os.environ if name.startswith(("MEDLOSS_", "OMP_", "TRITON_"))):
        yield f"setting     {name}={os.environ[name]}"


def _missing() -> Iterator[str]:
    from medloss.ops import library, native

    for name, use in EXTRAS.items():
        if importlib.util.find_spec(name) is None:
            yield f"missing     {name}, for {use}"
    if not library.would_be_built() and native.unavailable():
        yield f"missing     the native library, without which losses on the CPU are slower: {native.unavailable()}"
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")) and not os.environ.get("CC"):
        yield "missing     a C compiler (cc), which a build of the native library and Triton need"
