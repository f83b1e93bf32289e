"""The sound of the source, put back beside the drawn pictures."""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .address import local_name

if TYPE_CHECKING:
    from av import Packet

__all__ = ["carry_sound"]

logger = logging.getLogger(__name__)

_CARRIED = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
"""Codecs that stand in an MP4 as they are."""


def carry_sound(source: str | Path, video: str | Path, began: float = 0.0) -> str | None:
    """Copy the sound of a source into the video that was made of it, without encoding it anew.

    The video is replaced when all of the new one is there; until then, and where anything fails,
    it stays as it is, without sound.

    Args:
        source: A video file.
        video: What `VideoWriter` made of it, closed.
        began: Time of its first frame in the source, seconds since the source's first.

    Returns:
        None where the sound is in the video now or the source has none; else why it is not.

    Example:
        ```python
        with open_source("clip.mp4") as frames, VideoWriter("out.mp4", fps=frames.fps) as out:
            for frame in frames:
                out.write(frame.image, frame.time)
        carry_sound("clip.mp4", "out.mp4")
        ```
    """
    import av

    name = local_name(str(source))
    if os.path.isfile(name):
        name = f"file:{name}"  # or a colon in it would end the name of a protocol
    place = Path(video).resolve()
    part = place.with_name(f".{os.getpid()}.sound{place.suffix}")
    try:
        with av.open(name) as given, av.open(f"file:{place}") as drawn:
            if not given.streams.audio or not given.streams.video:
                return None
            context = given.streams.audio[0].codec_context  # None where nobody knows the codec
            codec = context.codec.canonical_name if context else "sound of an unknown kind"
            if codec not in _CARRIED:
                return f"{codec} cannot stand in an MP4"
            _join(given, drawn, part, began)
        os.replace(part, place)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        logger.debug("%s: %s", source, error)
        return f"it cannot be copied: {error}"
    finally:
        part.unlink(missing_ok=True)
    return None


def _join(given: Any, drawn: Any, part: Path, began: float) -> None:
    """The pictures of one file and the sound of another, by their times."""
    import av

    picture, sound = drawn.streams.video[0], given.streams.audio[0]
    first = given.streams.video[0]
    start = float((first.start_time or 0) * first.time_base) + began
    end = float((picture.duration or 0) * picture.time_base)
    kind = "mov" if part.suffix.lower() == ".mov" else "mp4"
    with av.open(f"file:{part}", "w", format=kind) as out:
        tracks = {
            "video": out.add_stream_from_template(picture),
            "audio": out.add_stream_from_template(sound),
        }
        both = heapq.merge(
            _pictures(drawn, picture), _sounds(given, sound, start, end), key=lambda one: one[0]
        )
        for _, packet in both:
            packet.stream = tracks[packet.stream.type]
            out.mux(packet)


def _pictures(drawn: Any, stream: Any) -> Iterator[tuple[float, Packet[Any]]]:
    for packet in drawn.demux(stream):
        if packet.dts is not None:  # the last, empty one has none
            yield float(packet.dts * packet.time_base), packet


def _sounds(
    given: Any, stream: Any, start: float, end: float
) -> Iterator[tuple[float, Packet[Any]]]:
    """Packets between two times, with stamps from 0."""
    from av.error import FFmpegError

    packets = given.demux(stream)
    last = -1
    while True:
        try:
            packet = next(packets)
        except (StopIteration, FFmpegError):  # a source that is cut off sounds as far as it goes
            return
        if packet.pts is None:
            continue
        pts = packet.pts - round(start / packet.time_base)
        seconds = float(pts * packet.time_base)
        if seconds >= end:
            return
        if pts > last and pts >= 0:
            packet.pts = packet.dts = last = pts
            yield seconds, packet
