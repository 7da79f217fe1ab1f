"""Intensities on a common scale, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medloss.apps.segmentation.data_config import Intensity

CT_NAMES = ("ct", "computed tomography")
AS_THEY_ARE = ("nonorm", "none")


def normalise(image: torch.Tensor, rules: Sequence[Intensity]) -> torch.Tensor:
    """Channels [C, i, j, k], each by its rule, as float32."""
    return torch.stack([_scaled(channel, rule) for channel, rule in zip(image.float(), rules, strict=True)])


def _scaled(channel: torch.Tensor, rule: Intensity) -> torch.Tensor:
    low, high = rule.bounds()
    if rule.rule == "none":
        return channel
    if rule.rule == "ct":
        return (channel.clamp(low, high) - (rule.mean or 0.0)) / (rule.std or 1.0)
    if rule.rule == "percentile":
        low, high = (float(each) for each in np.percentile(channel.numpy(), (low, high)))
    if rule.rule in ("window", "percentile"):
        return (channel.clamp(low, high) - low) / (high - low) if high > low else torch.zeros_like(channel)
    inside = channel != 0
    values = channel[inside]
    if not len(values):
        return channel
    std = float(values.std(correction=0))
    return torch.where(inside, (channel - values.mean()) / (std or 1.0), channel)


def settle(rules: Sequence[Intensity], names: Sequence[str], foreground: Sequence[np.ndarray]) -> list[Intensity]:
    """The rules with what they left open: ``auto`` by the channel's name, ``ct`` by the foreground's intensities.

    ``foreground`` holds, channel by channel, intensities of labelled voxels of the training cases.
    """
    settled = []
    for rule, name, values in zip(rules, names, foreground, strict=True):
        kind = rule.rule
        if kind == "auto":
            known = name.strip().lower()
            kind = "ct" if known in CT_NAMES else "none" if known in AS_THEY_ARE else "zscore"
            rule = Intensity(rule=kind)
        if kind == "ct" and rule.low is None and len(values):
            low, high = (float(each) for each in np.percentile(values, (0.5, 99.5)))
            rule = Intensity(
                rule="ct",
                low=low,
                high=high if high > low else low + 1.0,
                mean=float(values.mean()),
                std=max(float(values.std()), 1e-8),
            )
        settled.append(rule)
    return settled
