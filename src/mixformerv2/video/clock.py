"""Time stamps of a stream as seconds that only ever rise."""

from __future__ import annotations

from typing import Any

__all__ = ["NO_STAMP", "Clock"]

NO_STAMP = -(1 << 62)
"""What stands for the time of a packet or frame that has none."""

_SQUEEZED = 0.01  # of a frame: what stands between frames while a wrong stamp is waited out


class Clock:
    """Turns a frame's own time stamp into seconds since the first frame.

    Streams start anew (files put one behind the other, the 33 bits of MPEG-TS that overflow every
    26.5 hours, a camera that was restarted) and damaged ones say nonsense. A stamp that goes back
    is one of two things: behind the last but one too, a new start, which goes on where the old
    one ended; else the last one was a wrong leap ahead, and time all but stands until it is past.

    Args:
        base: Seconds of one unit of the stamps; None or 0 where nobody knows.
        step: Seconds between frames, for those without a stamp.
    """

    def __init__(self, base: Any, step: float) -> None:
        self._base = float(base) if base else None
        self._step = step
        self._origin: int | None = None
        self._shift = 0.0
        self._last: float | None = None
        self._before = 0.0
        self.latest = 0.0

    def at(self, pts: int, index: int) -> float:
        """Seconds of a frame, by its stamp and number."""
        if pts == NO_STAMP or self._base is None:
            raw = index * self._step
        else:
            if self._origin is None:
                self._origin = pts - round(index * self._step / self._base)
            raw = (pts - self._origin) * self._base
        self.latest = self._rising(raw + self._shift)
        return self.latest

    def _rising(self, when: float) -> float:
        if self._last is None or when > self.latest:
            self._before = when if self._last is None else self._last
            self._last = when
            return when
        if when > self._before:  # the last stamp was wrong
            self._before = when
            return self.latest + _SQUEEZED * self._step
        fresh = self.latest + self._step
        self._shift += fresh - when
        self._before, self._last = self.latest, fresh
        return fresh
