"""What a run of `track` ends with: the sound put back, and what is said of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import SourceError
from .terminal import say

if TYPE_CHECKING:
    from .follow import Outputs, Summary

__all__ = ["finish", "put_sound_back", "report", "video_line"]


def finish(
    source: str,
    name: str,
    model: str,
    summary: Summary,
    outputs: Outputs,
    *,
    sound: bool,
    quiet: bool,
) -> None:
    """Put the sound back, say what the run came to; end as a signal that stopped it would have.

    Raises:
        SourceError: The run could not go on; it names what holds the results up to there.
    """
    if sound:
        put_sound_back(source, summary, outputs)
    if not quiet:
        for line in report(name, model, summary, outputs):
            say(line, aside=outputs.to_stdout)
    if summary.signal is not None:
        raise typer.Exit(128 + summary.signal)
    if summary.failed is not None:
        raise SourceError(
            f"{summary.failed}; the results up to there are in {outputs.journal}"
        ) from summary.failed


def put_sound_back(source: str, summary: Summary, outputs: Outputs) -> None:
    """Into the video of a run, if one was made of a file; why it cannot is in the summary."""
    from ..video.sound import carry_sound

    if outputs.video is not None and summary.drawn and os.path.isfile(source):
        summary.silent = carry_sound(source, outputs.video, summary.began)


def video_line(summary: Summary, outputs: Outputs) -> str:
    """Where the video is, and what it lacks."""
    silent = f"; without sound: {summary.silent}" if summary.silent else ""
    there = "" if outputs.video is None else _instead(outputs, outputs.video)
    return f"video: {outputs.video}{there}{silent}"


def report(name: str, model: str, summary: Summary, outputs: Outputs) -> list[str]:
    """Sentences for the user, in their order."""
    engine = summary.engine
    alone = f" (tracker alone {summary.tracker_fps:.0f})" if summary.tracker_fps else ""
    lines = [
        f"{name}: {_many(summary.frames, 'frame')} in {summary.seconds:.1f} s, "
        f"{summary.fps:.0f} a second{alone}; model {model}, {engine.name} {engine.precision}"
    ]
    if summary.signal is not None:
        lines[0] += f"; stopped by {signal.Signals(summary.signal).name}"
    for number, states in summary.states.items():
        who = "target" if len(summary.states) == 1 else f"target {number}"
        parts = [f"{state} in {count}" for state, count in states.most_common()]
        lines.append(f"{who}: {', '.join(parts)}")
    for (one, other), count in summary.doubles.most_common(3):
        lines.append(
            f"targets {one} and {other} came to one place in {_many(count, 'frame')}: "
            "only one of them can be right; `mixformerv2 serve` corrects it"
        )
    if summary.broken:
        lines.append(f"{_many(summary.broken, 'frame')} could not be decoded")
    if summary.gaps:
        gaps = _many(summary.gaps, "time")
        lines.append(f"the stream dropped and came back {gaps}, {summary.missed:.1f} s in all")
    if summary.dropped:
        lines.append(f"{_many(summary.dropped, 'frame')} came too fast and were left out")
    if outputs.video is not None and not summary.drawn:
        lines.append("no video: the run was stopped before it was drawn")
    elif outputs.video is not None:
        lines.append(video_line(summary, outputs))
    lines.extend(f"{form}: {path}" for path, form in outputs.exports)
    lines.append(f"journal: {outputs.journal}{_instead(outputs, outputs.journal)}")
    return lines


def _instead(outputs: Outputs, path: Path) -> str:
    return ", in place of that of an earlier run" if path in outputs.replaced else ""


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
