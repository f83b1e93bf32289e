"""What a worker does for the annotated video of a job."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tracking.result import TrackResult
from ..video.draw import Overlay
from ..video.formats.journal import Journal, label_of
from ..video.sound import carry_sound
from ..video.source import open_source
from ..video.writer import VideoWriter
from .tasks import TELL_EVERY, Picture
from .wire import Messages, Wire

if TYPE_CHECKING:
    from .engines import Engines

__all__ = ["render"]


def render(task: dict[str, Any], wire: Wire, messages: Messages, engines: Engines) -> None:
    """The video with the results drawn into it."""
    folder = Path(task["folder"])
    journal = Journal(folder / "results.jsonl")
    labels = journal.header.labels
    results: dict[int, dict[int, TrackResult]] = {}
    for number, result in journal:
        results.setdefault(result.frame, {})[number] = result
    part, overlay = folder / "render.part.mp4", Overlay()
    told = 0.0
    last: Picture | None = None
    with (
        open_source(Path(task["source"])) as source,
        VideoWriter(part, fps=source.fps, aspect=source.aspect) as out,
    ):
        for frame in source:
            if frame.index >= task["count"] or messages.stopped.is_set():
                break
            broken = frame.image is None
            last = last if frame.image is None else frame.image
            note = f"frame {frame.index} cannot be decoded" if broken else None
            if last is not None:
                found = results.get(frame.index, {})
                names = {number: label_of(labels, number) for number in found} if labels else None
                drawn = overlay.draw(last, found, note=note, labels=names)
                out.write(drawn, frame.time)
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                wire.send("progress", done=frame.index + 1, total=task["count"])
    if not messages.stopped.is_set():
        carry_sound(Path(task["source"]), part, out.began or 0.0)
        os.replace(part, folder / "render.mp4")
        wire.send("rendered")
