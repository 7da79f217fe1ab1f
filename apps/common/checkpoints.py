"""Checkpoints of a run: ``last.pt`` after every epoch and the best ones by a validation metric, written atomically."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder, atomic_write

# ignite's Checkpoint removes the old last.pt before it writes the new one; a crash in between would leave none.


class Checkpoints:
    """Saves and restores ``objects`` (all with ``state_dict`` and ``load_state_dict``) with the epoch and step reached.

    ``keep`` best checkpoints stay on disk as ``best_<metric>=<score>.pt``; they hold everything, as last.pt does.
    """

    def __init__(self, run: RunFolder, objects: Mapping[str, Any], metric: str, sign: float = 1.0, keep: int = 1):
        self.run, self.objects, self.metric, self.sign, self.keep = run, dict(objects), metric, sign, keep
        self.saved: list[tuple[float, str]] = []  # (score, file name), best first

    @property
    def last(self) -> Path:
        return self.run.checkpoints / "last.pt"

    def save(self, epoch: int, iteration: int, score: float | None = None) -> bool:
        """Write last.pt, and a best checkpoint when ``score`` is among the best; tells whether it is the very best."""
        is_best = (
            score is not None
            and score == score
            and (not self.saved or self.sign * score > self.sign * self.saved[0][0])
        )
        state = {"epoch": epoch, "iteration": iteration}
        state |= {name: each.state_dict() for name, each in self.objects.items()}
        name = f"best_{self.metric}={score:.4f}.pt" if score is not None else ""
        dropped = self._rank(score, name)
        state["saved"] = list(self.saved)
        for file in ([name] if name in [kept for _, kept in self.saved] else []) + ["last.pt"]:
            with atomic_write(self.run.checkpoints / file) as temporary:
                torch.save(state, temporary)
        for file in dropped:
            (self.run.checkpoints / file).unlink(missing_ok=True)
        return is_best

    def _rank(self, score: float | None, name: str) -> list[str]:
        """Put the new score in its place; the names that no longer belong to the best come back."""
        if score is None or score != score:
            return []
        ranked = sorted([*self.saved, (score, name)], key=lambda item: -self.sign * item[0])
        self.saved, dropped = ranked[: self.keep], ranked[self.keep :]
        kept = {file for _, file in self.saved}
        return [file for _, file in dropped if file not in kept and file != name]

    def load(self) -> tuple[int, int]:
        """Restore everything from last.pt; returns the epoch and the iteration reached."""
        state = load_checkpoint(self.last)
        for name, each in self.objects.items():
            try:
                each.load_state_dict(state[name])
            except (KeyError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"{self.last} does not fit this configuration ({name}: {str(error).splitlines()[0]}); "
                    "resume with the configuration the run was started with"
                ) from error
        self.saved = [(score, name) for score, name in state["saved"]]
        return state["epoch"], state["iteration"]


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The content of a checkpoint; only tensors and plain Python are ever unpickled."""
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist: the run was stopped before it began to train")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"cannot read the checkpoint {path}: {str(error).splitlines()[0]}") from error
