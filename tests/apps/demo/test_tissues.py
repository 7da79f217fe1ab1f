"""Part one of the demo: the split, the fresh noise and bias, the thresholds against brute force, the scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from medloss.apps.common.random_state import seed_epoch
from medloss.apps.demo import tissues
from medloss.apps.demo.baseline import apply_thresholds, best_thresholds
from medloss.apps.demo.corruption import BIAS, NOISE, BiasField, corrupt
from medloss.apps.segmentation.volumes import IMAGE, LABEL


@pytest.fixture
def ball() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shells of three tissues (24, 28, 20): image, tissues, brain."""
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 28, 20)), indexing="ij")
    radius = np.sqrt(i**2 + j**2 + k**2)
    labels = np.select([radius < 0.5, radius < 0.8, radius < 0.9], [3, 2, 1], 0).astype(np.uint8)
    return np.array([0, 0.4, 0.65, 0.85], np.float32)[labels], labels, labels > 0


def test_parts_are_apart_and_no_mirror_images(ball):
    image, _, brain = ball
    posterior, anterior = tissues.split(brain)
    assert image[posterior].size + image[anterior].size == image.size
    counts = brain[posterior].sum(), brain[anterior].sum()
    assert abs(counts[0] - counts[1]) < 0.15 * sum(counts)
    # cut along posterior-anterior: each part holds both sides of the left-right mirror
    assert posterior[0] == anterior[0] == slice(None) and posterior[1].stop == anterior[1].start


def test_bias_field_is_smooth_and_as_strong_as_said():
    field = BiasField((40, 50, 30), BIAS, np.random.RandomState(0))()
    assert np.abs(field - 1).max() == pytest.approx(BIAS, rel=0.1)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.06
    again = BiasField((40, 50, 30), BIAS, np.random.RandomState(0))
    box = (slice(3, 9), slice(20, 25), slice(0, 4))
    np.testing.assert_allclose(again(box), field[box])  # a patch has its place in the field of the whole volume


def test_corruption(ball):
    image, _, brain = ball
    noisy = corrupt(image, brain, np.random.RandomState(0))
    assert noisy.dtype == np.float32 and (noisy[~brain] == 0).all()
    biased = image * BiasField(image.shape, BIAS, np.random.RandomState(0))()
    assert (noisy - biased)[brain].std() == pytest.approx(NOISE, rel=0.05)


def test_patches_are_fresh_and_repeatable(ball):
    patches = tissues.FreshPatches(*ball, patch=(8, 8, 8), length=6)
    seed_epoch(0, 1, patches)
    first = [patches[n] for n in range(len(patches))]
    other = [patches[n] for n in range(len(patches))]
    seed_epoch(0, 1, patches)
    again = [patches[n] for n in range(len(patches))]
    assert all(torch.equal(a[IMAGE], b[IMAGE]) and torch.equal(a[LABEL], b[LABEL]) for a, b in zip(first, again))
    assert not any(torch.equal(a[IMAGE], b[IMAGE]) for a, b in zip(first, other))
    for patch in first:
        assert patch[IMAGE].shape == patch[LABEL].shape == (1, 8, 8, 8)
        assert (patch[IMAGE][patch[LABEL] == 0] == 0).all()  # image and label are turned alike
        assert (patch[LABEL] > 0).any()


def test_thresholds_are_the_best_of_all_pairs():
    random = np.random.default_rng(0)
    labels = random.integers(1, 4, 300)
    values = (0.3 * labels + random.normal(0, 0.15, 300)).astype(np.float32)
    found = best_thresholds(values, labels, steps=25)
    edges = np.linspace(values.min(), np.nextafter(np.float64(values.max()), np.inf), 26)

    def dice(low: float, high: float) -> list[float]:
        guess = np.where(values < low, 1, np.where(values < high, 2, 3))
        return [
            2 * ((guess == n) & (labels == n)).sum() / ((guess == n).sum() + (labels == n).sum()) for n in (1, 2, 3)
        ]

    best = max(np.mean(dice(low, high)) for low, high in itertools.combinations_with_replacement(edges, 2))
    assert np.mean(found.dice) == pytest.approx(best)
    assert found.dice == pytest.approx(dice(found.low, found.high))
    applied = apply_thresholds(values, np.ones(300, bool), found)
    rows = tissues.score(labels.reshape(3, 10, 10), applied.reshape(3, 10, 10), labels.reshape(3, 10, 10))
    assert [row["dice_network"] for row in rows] == [1.0] * 4  # the reference against itself
    assert [row["dice_thresholds"] for row in rows] == pytest.approx([*found.dice, best], abs=1e-6)


def test_apply_thresholds_stays_in_the_brain(ball):
    image, labels, brain = ball
    perfect = best_thresholds(image[brain], labels[brain])
    assert perfect.dice == (1.0, 1.0, 1.0)
    assert np.array_equal(apply_thresholds(image, brain, perfect), labels)
