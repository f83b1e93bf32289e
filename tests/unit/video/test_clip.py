"""Frames from any place of a file: equal to those of a read from its start."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mixformerv2.errors import SourceError
from mixformerv2.video import VideoFrame, open_source
from mixformerv2.video.clip import Clip
from tests.clips import damage_packets, number_of, numbered, turn, write_clip

COUNT = 90


def read(path: Path) -> tuple[list[VideoFrame], Clip]:
    with open_source(path) as source:
        frames = list(source)
    return frames, Clip(path, np.array([frame.time for frame in frames]))


def same(a: VideoFrame, b: VideoFrame) -> bool:
    if a.index != b.index or a.time != b.time or (a.image is None) != (b.image is None):
        return False
    return a.image is None or b.image is None or bool((a.image == b.image).all())


CLIPS = {
    "b-frames.mp4": {"options": {"bf": "3", "g": "30"}},
    "one-key-frame.mkv": {"options": {"g": "500"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "transport.ts": {"options": {"bf": "2", "g": "25"}},
    "program.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "15"}},
}


@pytest.mark.parametrize("name", CLIPS)
def test_any_place_is_found(name: str, tmp_path: Path) -> None:
    frames, clip = read(write_clip(tmp_path / name, COUNT, **CLIPS[name]))  # type: ignore[arg-type]
    assert len(frames) == COUNT
    for start, stop in ((0, 3), (24, 27), (31, 33), (61, 64), (COUNT - 2, COUNT)):
        found = list(clip.forward(start, stop))
        assert [one.index for one in found] == list(range(start, stop))
        assert all(same(one, frames[one.index]) for one in found)
    back = list(clip.backward(70, 40))
    assert [one.index for one in back] == list(range(70, 40, -1))
    assert all(same(one, frames[one.index]) for one in back)
    assert [one.index for one in clip.backward(2, -1)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("name", "tries", "seeks"),
    [("transport.ts", 2, True), ("program.mpg", 1, False), ("raw.h264", 1, False)],
)
def test_where_seeks_work_and_where_they_are_given_up(
    name: str, tries: int, seeks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = "mpeg2video" if name.endswith(".mpg") else "libx264"
    frames, clip = read(write_clip(tmp_path / name, COUNT, codec=codec, options={"g": "15"}))
    opened: list[int] = []
    landed = clip._landed

    def watch(container: Any, start: int) -> Any:
        opened.append(start)
        return landed(container, start)

    monkeypatch.setattr(clip, "_landed", watch)
    if seeks:
        monkeypatch.setattr("mixformerv2.video.clip.open_source", None)  # nothing read from frame 0
    back = list(clip.backward(COUNT - 1, 39))
    assert [one.index for one in back] == list(range(COUNT - 1, 39, -1))
    assert all(same(one, frames[one.index]) for one in back)
    assert len(opened) == tries  # of two chunks


def test_a_turned_video_stays_upright(tmp_path: Path) -> None:
    path = turn(write_clip(tmp_path / "turned.mp4", 40), 0, 1, -1, 0)
    frames, clip = read(path)
    found = clip.frame(35)
    assert found.image is not None
    assert found.image.shape == (64, 48, 3)
    assert same(found, frames[35])


def test_broken_frames_keep_their_numbers(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "broken.avi", 60, codec="mjpeg", pix_fmt="yuvj420p")
    broken = damage_packets(path, [40, 41])
    frames, clip = read(path)
    assert [frame.index for frame in frames if frame.image is None] == broken
    found = list(clip.forward(38, 45))
    assert [one.index for one in found] == list(range(38, 45))
    assert all(same(one, frames[one.index]) for one in found)


def test_frames_that_share_a_time_stamp_keep_their_numbers(tmp_path: Path) -> None:
    """Screen recorders and damaged streams write such."""
    path, twice = tmp_path / "clip.mkv", Fraction(1, 25)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for index in range(60):
            frame = av.VideoFrame.from_ndarray(numbered(index % 32), format="bgr24")
            for packet in stream.encode(frame.reformat(format="bgr0")):
                packet.pts = packet.dts = index // 2
                packet.time_base = twice
                container.mux(packet)
    with open_source(path) as source:
        frames = list(source)
    clip = Clip(path, np.array([one.time for one in frames]))
    found = [number_of(image) for n in range(26, 34) if (image := clip.frame(n).image) is not None]
    assert found == [n % 32 for n in range(26, 34)]


def test_there_is_no_frame_behind_the_end(tmp_path: Path) -> None:
    _, clip = read(write_clip(tmp_path / "short.mp4", 30))
    with pytest.raises((SourceError, IndexError)):
        clip.frame(30)
