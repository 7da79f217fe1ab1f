"""geo-deep-learning's losses by the formulas of their papers, in plain torch and NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import max_pool2d, one_hot


def example(seed, classes=3, spatial=(9, 8), ignored=None):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, classes, *spatial, generator=generator, dtype=torch.float64)
    coarse = torch.randint(0, classes, (2, *[(size + 2) // 3 for size in spatial]), generator=generator)
    labels = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, : spatial[0], : spatial[1]]
    if ignored is not None:
        labels = torch.where(torch.rand(labels.shape, generator=generator) < 0.2, ignored, labels)
    return logits, labels


def boundary_f1(logits, labels, theta0, theta):
    """1 - BF1 of each sample and class, in the paper's way: pools of the complement."""
    p, g = torch.softmax(logits, 1), one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)

    def pool(x, size):
        return max_pool2d(x, size, 1, (size - 1) // 2)

    inner = [pool(1 - x, theta0) - (1 - x) for x in (p, g)]
    outer = [pool(x, theta) for x in inner]
    precision = (inner[0] * outer[1]).sum((2, 3)) / (inner[0].sum((2, 3)) + 1e-7)
    recall = (outer[0] * inner[1]).sum((2, 3)) / (inner[1].sum((2, 3)) + 1e-7)
    return 1 - 2 * precision * recall / (precision + recall + 1e-7)


def jaccard_extension(errors, members):
    """By the definition: errors in falling order, each times what its voxel adds to the Jaccard loss."""
    value, wrong, total = 0, torch.zeros_like(members), members.sum()
    for i in torch.argsort(errors.detach(), descending=True).tolist():
        before = wrong.clone()
        wrong[i] = 1

        def loss(chosen):
            if chosen.sum() == 0:
                return 0
            return 1 - (total - (chosen * members).sum()) / (total + (chosen * (1 - members)).sum())

        value = value + errors[i] * (loss(wrong) - loss(before))
    return value


def lovasz_softmax(logits, labels, ignore_index, only_present):
    """The mean over the classes of each image, then over the images that have a voxel."""
    images = []
    for z, t in zip(logits, labels, strict=True):
        p, t = torch.softmax(z, 0).flatten(1), t.flatten()
        if ignore_index is not None:
            p, t = p[:, t != ignore_index], t[t != ignore_index]
        if not len(t):
            continue
        classes = [c for c in range(len(p)) if not only_present or (t == c).any()]
        images.append(sum(jaccard_extension((p[c] - (t == c).double()).abs(), (t == c).double()) for c in classes))
        images[-1] = images[-1] / len(classes)
    return sum(images) / len(images)


def ohem(logits, labels, thresh, min_kept, weight, ignore_index):
    """In NumPy: which voxels, then their weighted mean."""
    kept = labels.flatten() != ignore_index
    z = logits.movedim(1, -1).flatten(0, -2)[kept]
    t = labels.flatten()[kept]
    p = torch.softmax(z.detach(), 1).numpy()[np.arange(len(t)), t.numpy()]
    if min_kept >= len(p):
        hard = np.ones(len(p), bool)
    else:
        threshold = max(thresh, np.sort(p)[min_kept - 1]) if min_kept else thresh
        hard = p <= threshold
    hard = torch.from_numpy(hard)
    w = torch.ones(logits.shape[1], dtype=z.dtype) if weight is None else weight.to(z.dtype)
    entropy = -torch.log_softmax(z, 1).gather(1, t[:, None])[:, 0]
    return (w[t] * entropy)[hard].sum() / w[t][hard].sum()
