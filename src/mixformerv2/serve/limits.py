"""How much a server takes, so that it can be left running."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused, and with which answer.

    Attributes:
        upload_bytes: Largest upload; 413.
        seconds: Longest video, by its clock; 413.
        frames: Most frames of a video; 413.
        pixels: Most pixels of a frame; 413.
        objects: Most objects in a job; 409.
        jobs: Most jobs that are kept at once; 429.
        workers: Jobs that run at the same time; the others wait.
        waiting: Most jobs that wait; 429.
        streams: Live streams at the same time; 429.
        folder_bytes: Most that all jobs together take on disk; 507.
        keep_seconds: A job that nobody has looked at for so long is removed.
        stall_seconds: A worker that says nothing for so long is ended.
        run_seconds: A worker that runs for so long is ended.
        idle_seconds: An upload or stream that sends nothing for so long is ended; 408.
        live_bytes: Largest picture of a live stream.
    """

    upload_bytes: int = 1 << 30
    seconds: float = 15 * 60.0
    frames: int = 54_000
    pixels: int = 4096 * 2304
    objects: int = 16
    jobs: int = 200
    workers: int = 4
    waiting: int = 16
    streams: int = 4
    folder_bytes: int = 20 << 30
    keep_seconds: float = 24 * 3600.0
    stall_seconds: float = 60.0
    run_seconds: float = 2 * 3600.0
    idle_seconds: float = 30.0
    live_bytes: int = 2 << 20

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)!r}")
