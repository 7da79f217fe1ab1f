"""Every drop-in: labels without a sign, a default device that is another, and tensors on meta."""

from __future__ import annotations

import inspect
import warnings
from enum import Enum
from typing import Any

import pytest
import torch
from torch import Tensor

import medloss.compat.gdl as gdl
import medloss.compat.kornia as kornia
import medloss.compat.monai as monai

SETS: dict[Any, list[dict[str, Any]]] = {
    monai: [
        {}, {"softmax": True, "to_onehot_y": True}, {"to_onehot_y": True, "use_softmax": True},
        {"softmax": True, "to_onehot_y": True, "weight": [1.0, 2.0, 3.0]}, {"spatial_dims": 2},
        {"num_classes": 3, "dimensions": 2}, {"spatial_dims": 2, "win_size": 5},
    ],
    gdl: [{}, {"mode": "multiclass"}, {"mode": "multiclass", "class_weights": [1.0, 2.0, 3.0]}],
    kornia: [{}, {"alpha": 0.5}, {"alpha": 0.3, "beta": 0.7}, {"window_size": 5}],
}  # fmt: skip
"""Options with which some call of each drop-in works."""


def calls() -> list[Any]:
    """Each drop-in with each of the options and tensors that it takes."""
    torch.manual_seed(0)
    logits, labels, images = torch.randn(2, 3, 16, 16), torch.randint(0, 3, (2, 1, 16, 16)), torch.rand(2, 2, 1, 16, 16)
    given = [(logits, labels), (logits, labels[:, 0]), tuple(images), (logits[:, :2],)]
    found = []
    for package, options in SETS.items():
        for name in package.__all__:
            kind = getattr(package, name)
            for each in options if inspect.isclass(kind) else ():
                for tensors in given:
                    try:
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore")
                            expected = kind(**each)(*tensors)
                    except Exception:  # any: it takes no such options or tensors
                        continue
                    told = f"{package.__name__.rsplit('.', 1)[1]}.{name}-{each}-{len(found)}"
                    found.append(pytest.param(kind, each, tensors, expected, id=told))
    return found


CALLS = calls()
pytestmark = pytest.mark.filterwarnings("ignore")


def signature_of(kind: type) -> list[str]:
    """The names of the constructor's arguments."""
    return list(inspect.signature(kind).parameters)


def test_most_drop_ins_are_called() -> None:
    """All but those of other tensors, those around another loss, and those that are given an image when made."""
    called = {param.values[0] for param in CALLS}
    for package in SETS:
        kinds = {getattr(package, name) for name in package.__all__ if inspect.isclass(getattr(package, name))}
        kinds -= {kind for kind in kinds if issubclass(kind, Enum) or "reference_signal" in signature_of(kind)}
        assert len(called & kinds) > 0.7 * len(kinds), package


@pytest.mark.parametrize("kind,options,tensors,expected", CALLS)
def test_labels_without_a_sign(kind: Any, options: dict[str, Any], tensors: tuple[Tensor, ...], expected: Any) -> None:
    if len(tensors) == 1 or tensors[1].is_floating_point():
        return
    for dtype in (torch.uint16, torch.uint32, torch.uint64):
        try:
            found = kind(**options)(tensors[0], tensors[1].to(dtype))
        except (TypeError, ValueError, RuntimeError) as fault:
            assert "must be torch." in str(fault)  # kornia, too, takes 64 bits alone
            continue
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind,options,tensors,expected", CALLS)
def test_devices(kind: Any, options: dict[str, Any], tensors: tuple[Tensor, ...], expected: Any) -> None:
    with torch.device("meta"):
        torch.testing.assert_close(kind(**options)(*tensors), expected)
    found = kind(**options)(*(tensor.to("meta") for tensor in tensors))
    assert found.is_meta
    assert found.shape == expected.shape
