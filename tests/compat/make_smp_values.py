"""Make ``data/smp_0_6_0.json``: values and gradients of segmentation-models-pytorch, which the tests do without.

It pulls another torch, and so needs an environment of its own; its losses need nothing but torch, its encoders more:

    python -m venv ENV && ENV/bin/pip install torch==2.13.0 numpy
    ENV/bin/pip install --no-deps segmentation-models-pytorch==0.6.0
    ENV/bin/python tests/compat/make_smp_values.py
"""

from __future__ import annotations

import importlib
import inspect
import json
import platform
import sys
import types
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
PACKAGE = "segmentation_models_pytorch"


def losses() -> types.ModuleType:
    """The package's losses, without the package's ``__init__``, which imports the encoders and what they need."""
    parent = types.ModuleType(PACKAGE)
    parent.__path__ = [str(distribution("segmentation-models-pytorch").locate_file(PACKAGE))]
    sys.modules[PACKAGE] = parent
    return importlib.import_module(f"{PACKAGE}.losses")


def main() -> None:
    """Write the file."""
    sys.path.insert(0, str(HERE.parent))
    smp_cases = importlib.import_module("smp_cases")
    package, rows = losses(), []
    for case in smp_cases.cases():
        value, gradient = smp_cases.outcome(package, case)
        rows.append({**case, "shape": list(value.shape), "value": numbers(value), "gradient": numbers(gradient)})
    made = {
        "package": f"segmentation-models-pytorch {version('segmentation-models-pytorch')}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "made by": "tests/compat/make_smp_values.py",
        "call": "loss = getattr(segmentation_models_pytorch.losses, loss)([mode,] **options); loss(y_pred, y_true)",
    }
    made["signatures"] = {name: signatures(getattr(package, name)) for name in package.__all__ if "MODE" not in name}
    made["faults"] = {key: fault(package, call) for key, call in smp_cases.faults().items()}
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    text = json.dumps(made, indent=1)[:-2] + ',\n "cases": [\n' + lines + "\n ]\n}\n"
    (HERE / "data" / "smp_0_6_0.json").write_text(text)
    print(f"{len(rows)} cases")


def signatures(kind: type) -> dict[str, str]:
    """Of the constructor and of a call."""
    return {method: str(inspect.signature(getattr(kind, method))) for method in ("__init__", "forward")}


def fault(package: types.ModuleType, call: Any) -> dict[str, Any]:
    """What a call gives, or the name of what it raises."""
    try:
        value = call(package)
    except Exception as raised:
        return {"raises": type(raised).__name__}
    return {"shape": list(value.shape), "value": str(value.tolist())}


def numbers(tensor: torch.Tensor) -> list[float]:
    """Ten digits are more than the tests look at."""
    return [float(f"{value:.10g}") for value in tensor.flatten().tolist()]


if __name__ == "__main__":
    main()
