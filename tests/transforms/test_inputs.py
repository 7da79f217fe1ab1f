"""Every transform: labels without a sign, options in arrays and tensors, and torch's default device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medloss import transforms

LABEL = np.array([[[0, 1, 1, 2, 2, 0], [0, 1, 1, 2, 2, 0], [0, 1, 1, 0, 2, 2], [0, 0, 0, 0, 2, 2]]], np.int64)
FIELD = np.full((2, 4, 6), 0.5, np.float32)
CALLS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "BorderWeightMap": (lambda label: transforms.BorderWeightMap(class_weights=[1.0, 2.0])(label), False),
    "ClassBalanceMap": (lambda label: transforms.ClassBalanceMap(3)(label), False),
    "ComponentLabels": (lambda label: transforms.ComponentLabels()(label), False),
    "DistanceMap": (lambda label: transforms.DistanceMap(to_onehot=3)(label), False),
    "DistanceMap, a mask": (lambda label: transforms.DistanceMap()(label, mask=label), False),
    "LossMask": (lambda label: transforms.LossMask(ignore=2)(label, label), False),
    "LossMask.clean": (lambda label: transforms.LossMask(ignore=2).clean(label), True),
    "RandSparseSlices": (
        lambda label: transforms.RandSparseSlices(ignore=9, every=2).set_random_state(0)(label),
        True,
    ),
    "RemapLabels": (lambda label: transforms.RemapLabels({0: 0, 1: 7, 2: 60000})(label), True),
    "SkeletonMap": (lambda label: transforms.SkeletonMap(radius=1)(label), True),
    "SkeletonMap, lee": (lambda label: transforms.SkeletonMap(radius=1, method="lee")(label), True),
    "SmoothLabels": (lambda label: transforms.SmoothLabels(0.1)(transforms.SoftOneHot(3)(label)), False),
    "SoftOneHot": (lambda label: transforms.SoftOneHot(3)(label), False),
    "WarpField": (lambda label: transforms.WarpField()(label, FIELD), False),
    "WarpField, nearest": (lambda label: transforms.WarpField("nearest")(label, FIELD), True),
}
"""A call of each array transform, and whether the result has the type of the label."""
WITHOUT_LABEL = {"ClassPresent"}
COUNTS = {"ClassCounts"}
"""What gives a tensor with an entry per class, whatever the label is."""
KINDS = {"array": np.array, "tensor": torch.from_numpy, "MetaTensor": lambda array: MetaTensor(torch.from_numpy(array))}


def plain(result: Any) -> np.ndarray:
    return result if isinstance(result, np.ndarray) else result.numpy()


def test_every_array_transform_has_a_call() -> None:
    named = {name for name in transforms.__all__ if f"{name}d" in transforms.__all__}
    assert {name.split(",")[0].split(".")[0] for name in CALLS} | COUNTS | WITHOUT_LABEL == named


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int32, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_counts(kind: str, dtype: type) -> None:
    given = KINDS[kind](LABEL.astype(dtype))
    with torch.device("meta"):
        found = transforms.ClassCounts(3)(given)
        present = transforms.ClassPresent(3)([2])
    assert found.tolist() == [10, 6, 8] and present.tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int32, np.float32])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_labels_of_every_type(name: str, kind: str, dtype: type) -> None:
    if dtype == np.uint8 and name == "RemapLabels":
        return  # which says that the type holds no 60000
    call, keeps = CALLS[name]
    expected = call(LABEL)
    given = KINDS[kind](LABEL.astype(dtype))
    found = call(given)
    assert type(found) is type(given)
    np.testing.assert_array_equal(plain(found), expected)
    if keeps:
        assert found.dtype == given.dtype


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_default_device_is_nobody_s_business(name: str, kind: str) -> None:
    call, _ = CALLS[name]
    given = KINDS[kind](LABEL)
    expected = call(given)
    from medloss.transforms import thinning

    thinning.neighbours.cache_clear()
    with torch.device("meta"):
        found = call(given)
    np.testing.assert_array_equal(plain(found), plain(expected))


@pytest.mark.parametrize("form", [np.array, lambda value: torch.from_numpy(np.array(value))])
def test_options_in_every_form(form: Callable[[Any], Any]) -> None:
    pairs = [
        (transforms.BorderWeightMap, {"w0": 3.0, "sigma": 2.0, "class_weights": [1.0, 2.0], "spacing": [1.0, 2.0]}),
        (transforms.ComponentLabels, {"connectivity": 1}),
        (transforms.DistanceMap, {"to_onehot": 3, "clip": 2.5, "spacing": [1.0, 2.0]}),
        (transforms.DistanceMap, {"spacing": 2.0}),
        (transforms.LossMask, {"ignore": [1, 2], "replace": 0}),
        (transforms.LossMask, {"ignore": 2}),
        (transforms.SkeletonMap, {"radius": 1}),
    ]
    for kind, options in pairs:
        given = {name: form(value) for name, value in options.items()}
        np.testing.assert_array_equal(kind(**given)(LABEL), kind(**options)(LABEL))
