"""What ends a run before its last step: the time, a signal, a process that is gone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..errors import ConfigError, TrainingError

__all__ = ["check_minutes", "of_lost_process", "stopped_between_steps"]


class _Interruptible(Protocol):
    interrupted: bool


def check_minutes(minutes: float | None) -> None:
    """Refuse a wall-clock budget that is none.

    Raises:
        ConfigError: it is below zero, or no number.
    """
    if minutes is not None and not minutes >= 0:
        raise ConfigError(f"minutes must be a number from 0 on, got {minutes}")


@contextmanager
def stopped_between_steps(run: _Interruptible) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run after the step in hand, so that nothing is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number: int, frame: object) -> None:
        run.interrupted = True

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def of_lost_process(error: RuntimeError) -> TrainingError | None:
    """What to say of PyTorch's error that a process which makes samples died; None of any other.

    PyTorch raises it wherever the training process is at that moment, mostly within a step.
    """
    if isinstance(error, TrainingError) or not str(error).startswith("DataLoader worker"):
        return None
    said = str(error).partition(". ")[0].strip().rstrip(".")
    return TrainingError(
        f"a process that makes samples is gone ({said}), most often for lack of memory: set "
        "workers to fewer, make the pictures smaller (`mixformerv2 data pack-bank`, `data pack "
        "--frames --short-side`), and start again, which goes on from the last checkpoint"
    )
