"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .limits import Limits
from .security import LOOPBACK_NAMES

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """What a server is started with.

    Attributes:
        folder: Where jobs are kept.
        model: Bundle, as for `Tracker`.
        engine: As for `Tracker`.
        threads: Of the engine of each worker.
        library: Videos of this machine that may be chosen.
        live: Names and sources of cameras of this machine.
        token: Secret that is asked for; None on loopback.
        hosts: Names under which the server may be called; None for any.
        limits: What is refused.
    """

    folder: Path
    model: str = "t"
    engine: str = "auto"
    threads: int | None = None
    library: list[Path] = field(default_factory=list)
    live: list[tuple[str, str]] = field(default_factory=list)
    token: str | None = None
    hosts: frozenset[str] | None = LOOPBACK_NAMES
    limits: Limits = field(default_factory=Limits)
