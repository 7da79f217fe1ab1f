"""Randomness that depends on the seed and the epoch alone, which is what makes a resumed run exact.

Instead of saving the state of every generator (Python's, NumPy's, torch's on each device, one per MONAI transform and
per worker), all of them are seeded anew when an epoch starts. A checkpoint then needs no random state at all, and what
happens in between (a validation, a crash, another number of workers) cannot shift the random numbers that follow.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from monai.data.utils import set_rnd

from medloss.apps.common import processes


def seed_epoch(seed: int, epoch: int, dataset: Any = None) -> None:
    """Seed every generator for one epoch: Python, NumPy, torch (all devices), the random transforms of ``dataset``."""
    number = processes.rank() if processes.count() > 1 else 0  # each process draws an augmentation of its own
    derived = int(np.random.SeedSequence([seed, epoch, number] if number else [seed, epoch]).generate_state(1)[0])
    random.seed(derived)
    np.random.seed(derived)
    torch.manual_seed(derived)
    if dataset is not None:
        set_rnd(dataset, derived)
