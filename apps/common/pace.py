"""How far a training is: in epochs, or in seconds where its length is given in minutes; and how long it will take."""

from __future__ import annotations

import time
from typing import Any

WORTH_SAVING = 2.0  # seconds: a validation that takes less is never left out
DAY = 86400


class Pace:
    """The clock of a training: what it used, what an epoch and a validation take, and whether it is over.

    Args:
        epochs: how many there are; the most there may be where ``seconds`` decides.
        seconds: the whole training in seconds; None where the epochs decide.
        share: largest share of the time that validation may take. One of less than 2 s is never left out.

    >>> pace = Pace(4)
    >>> pace.start(), pace.is_last(3), pace.is_last(4)
    (None, False, True)
    """

    def __init__(self, epochs: int, seconds: float | None = None, share: float = 1.0):
        self.epochs, self.seconds, self.share = epochs, seconds, share
        self.before = 0.0  # seconds of the processes before this one
        self.validations = self.validation = self.training = 0.0
        self.count = 0
        self.start()

    def start(self) -> None:
        """The training begins now."""
        self.started = time.monotonic()

    @property
    def used(self) -> float:
        """Seconds since the training began, those before an interruption included and the interruption not."""
        return self.before + time.monotonic() - self.started

    def fraction(self) -> float:
        """The share of the time that is over, 0 to 1."""
        return min(1.0, self.used / self.seconds) if self.seconds else 0.0

    def add_epoch(self, seconds: float) -> None:
        """An epoch has taken so long, without its validation."""
        self.training, self.count = self.training + seconds, self.count + 1

    def add_validation(self, seconds: float) -> None:
        """A validation has taken so long."""
        self.validation = seconds
        self.validations += seconds

    def is_last(self, epoch: int) -> bool:
        """Whether the training is over with ``epoch``: half of another one and its validation would not fit."""
        if self.seconds is None:
            return epoch >= self.epochs
        return epoch >= self.epochs or self.used + self.validation + self.epoch / 2 >= self.seconds

    def may_validate(self) -> bool:
        """Whether another validation keeps within its share of the time."""
        total = self.training + self.validations + self.validation
        return self.validation < WORTH_SAVING or self.validations + self.validation <= self.share * total

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, on average."""
        return self.training / max(self.count, 1)

    def left(self, epoch: int, step: float = 0.0) -> float:
        """Seconds until the end, when ``epoch`` epochs are over and a share ``step`` of the next one."""
        if self.seconds is not None:
            return max(0.0, self.seconds - self.used)
        each = (self.training + self.validations) / max(self.count, 1)
        return each * max(0.0, self.epochs - epoch - step)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {"seconds": self.used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the time that was used."""
        self.before = float(state["seconds"])
        self.start()


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(75), duration(7265)
    ('1:15', '2:01:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
