"""Small videos made on the spot, whose frames say which number they have."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mixformerv2.video import Source

SIZE = (64, 48)
"""Width and height of the clips."""


def numbered(index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A frame that is dark but for a bright column, whose place is its number."""
    width, height = size
    frame = np.full((height, width, 3), 40, np.uint8)
    left = 2 * index % width
    frame[:, left : left + 2] = 230
    return frame


def number_of(frame: NDArray[np.uint8]) -> int:
    """The number that `numbered` wrote, after any compression."""
    return int(frame.astype(float).mean((0, 2)).reshape(-1, 2).mean(1).argmax())


def write_clip(
    path: Path,
    count: int = 20,
    *,
    codec: str = "libx264",
    fps: int = 25,
    options: dict[str, str] | None = None,
    size: tuple[int, int] = SIZE,
    pix_fmt: str = "yuv420p",
    aspect: Fraction | None = None,
) -> Path:
    """Write numbered frames by PyAV alone, so that readers are tested without our writer."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.options = options or {}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index, size), format="bgr24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


def damage_packets(path: Path, order: list[int]) -> list[int]:
    """Overwrite packets, given by their place in the file; returns their numbers when shown."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        shown = sorted(packet.pts for packet in packets if packet.pts is not None)
        places = [(packets[i].pos, packets[i].size, packets[i].pts) for i in order]
    data = bytearray(path.read_bytes())
    for start, length, _ in places:
        assert start is not None
        data[start : start + length] = b"\xff" * length
    path.write_bytes(data)
    return sorted(shown.index(pts) for _, _, pts in places if pts is not None)


def turn(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix (x' = a x + c y, y' = b x + d y) into an MP4's track header."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    data[start : start + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def indices(source: Source) -> list[int]:
    """The numbers of all frames of a source."""
    return [frame.index for frame in source]


_RATE = 48000
SECONDS = 2.0
BEEP = 1.2
"""Of a `sounding_clip`: where the silence ends."""


def sounding_clip(path: Path, codec: str | None = "aac") -> Path:
    """Black pictures that turn white where the beep begins."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = None if codec is None else out.add_stream(codec, rate=_RATE, layout="mono")
        for index in range(round(25 * SECONDS)):
            value = 255 if index / 25 >= BEEP else 0
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), value, np.uint8), "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            times = np.arange(round(_RATE * SECONDS)) / _RATE
            wave = np.where(times >= BEEP, np.sin(2 * np.pi * 440 * times), 0).astype(np.float32)
            for begin in range(0, len(wave) - 1023, 1024):
                part = av.AudioFrame.from_ndarray(wave[None, begin : begin + 1024], "fltp", "mono")
                part.sample_rate, part.pts, part.time_base = _RATE, begin, Fraction(1, _RATE)
                out.mux(audio.encode(part))
            out.mux(audio.encode(None))
    return path
