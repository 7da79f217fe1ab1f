"""Checkpoints of a run: ``last.pt`` after every epoch and the best ones by a validation metric, written atomically."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from medloss.apps.common import processes
from medloss.apps.common.errors import UserError
from medloss.apps.common.output import RunFolder, atomic_write, remove_unfinished, write_json

# ignite's Checkpoint removes the old last.pt before it writes the new one; a crash in between would leave none.


class Checkpoints:
    """Saves and restores ``objects`` (all with ``state_dict`` and ``load_state_dict``) with the epoch and step reached.

    ``keep`` best checkpoints stay on disk as ``best_<metric>=<score>.pt``; they hold everything, as last.pt does.
    ``best.json`` in the run folder lists them, the best first. last.pt also holds the rows of the history: it alone
    says where the run stands, and :meth:`load` puts right what a killed process left half done beside it.
    """

    def __init__(self, run: RunFolder, objects: Mapping[str, Any], metric: str, sign: float = 1.0, keep: int = 1):
        self.run, self.objects, self.metric, self.sign, self.keep = run, dict(objects), metric, sign, keep
        self.saved: list[tuple[float, str]] = []  # (score, file name), best first

    @property
    def last(self) -> Path:
        return self.run.checkpoints / "last.pt"

    def is_best(self, score: float | None) -> bool:
        """Whether a score is better than all before."""
        if score is None or score != score:
            return False
        return not self.saved or self.sign * score > self.sign * self.saved[0][0]

    def save(
        self, epoch: int, iteration: int, score: float | None = None, history: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Write last.pt, and a best checkpoint when ``score`` is among the best."""
        name = self._name(score, epoch)
        dropped = self._rank(score, name)
        if not processes.is_main():
            return
        rows = [{str(key): value for key, value in row.items()} for row in history]
        state: dict[str, Any] = {"epoch": epoch, "iteration": iteration, "history": rows}
        state |= {name: each.state_dict() for name, each in self.objects.items()}
        state["saved"] = list(self.saved)
        for file in ([name] if name in [kept for _, kept in self.saved] else []) + ["last.pt"]:
            with atomic_write(self.run.checkpoints / file) as temporary:
                torch.save(state, temporary)
        self._write_books()
        for file in dropped:
            (self.run.checkpoints / file).unlink(missing_ok=True)

    def load(self) -> tuple[int, int, list[dict[str, Any]]]:
        """Restore everything from last.pt; returns the epoch and the iteration reached, and the history's rows.

        Raises:
            UserError: last.pt is absent, damaged, or of another network.
        """
        state = load_checkpoint(self.last)
        for name, each in self.objects.items():
            load_state(each, state, name, self.last)
        try:
            self.saved = [(float(score), str(name)) for score, name in state["saved"]]
            reached = int(state["epoch"]), int(state["iteration"]), [dict(row) for row in state.get("history", [])]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.last} is not a checkpoint of medloss: {error!r}") from error
        self._put_right()
        return reached

    def _put_right(self) -> None:
        """Remove what a killed process wrote after last.pt, or could not remove; the replayed epochs write it again."""
        if not processes.is_main():
            return
        remove_unfinished(self.run.path)
        kept = {name for _, name in self.saved}
        for file in self.run.checkpoints.glob("best_*.pt"):
            if file.name not in kept:
                file.unlink()
        self.saved = [entry for entry in self.saved if (self.run.checkpoints / entry[1]).is_file()]
        self._write_books()

    def _write_books(self) -> None:
        write_json(self.run.path / "best.json", [name for _, name in self.saved])

    def _name(self, score: float | None, epoch: int) -> str:
        """The file of a score; a second one that reads the same is told apart by its epoch."""
        if score is None:
            return ""
        name = f"best_{self.metric}={score:.4f}.pt"
        taken = {file for _, file in self.saved}
        return name if name not in taken else f"best_{self.metric}={score:.4f}_epoch={epoch}.pt"

    def _rank(self, score: float | None, name: str) -> list[str]:
        """Put the new score in its place; the names that no longer belong to the best come back."""
        if score is None or score != score:
            return []
        ranked = sorted([*self.saved, (score, name)], key=lambda item: -self.sign * item[0])
        self.saved, dropped = ranked[: self.keep], ranked[self.keep :]
        return [file for _, file in dropped if file != name]


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The content of a checkpoint, compared with its checksums; only tensors and plain Python are ever unpickled.

    Raises:
        UserError: absent, damaged, or no checkpoint of medloss.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist: the run was stopped before it began to train")
    fix = "restore it from a copy, or use another checkpoint of the run (checkpoints/best_*.pt, checkpoints/last.pt)"
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load compares no checksum
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} in it is wrong")
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a damaged archive makes zipfile, pickle and torch raise almost anything
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"cannot read the checkpoint {path} (damaged, or not of medloss?): {told[0]}; {fix}") from error
    if not isinstance(content, dict) or "network" not in content:
        raise UserError(f"{path} is not a checkpoint of medloss: it holds no network; {fix}")
    return content


def load_state(target: Any, state: Mapping[str, Any], name: str, path: Path) -> None:
    """Restore ``target`` from the entry ``name`` of a checkpoint.

    Raises:
        UserError: the entry is absent or belongs to another network or configuration.
    """
    try:
        target.load_state_dict(state[name])
    except Exception as error:  # whatever an entry of another kind makes of torch
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{path} does not fit this configuration ({name}: {told[0]}); use the configuration that the run was "
            "started with"
        ) from error
