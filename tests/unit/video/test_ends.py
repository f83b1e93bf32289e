"""Files that end before their time, and those that only look so."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import pytest

from mixformerv2.video import open_source
from tests.clips import numbered, write_clip


def test_a_file_that_ends_early_keeps_what_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "clip.avi", 50, codec="mpeg4")
    with av.open(str(path)) as container:
        end = [packet.pos for packet in container.demux(video=0)][30]
    path.write_bytes(path.read_bytes()[:end])
    with open_source(path) as source, caplog.at_level(logging.WARNING):
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(30))
    assert source.cut_short is not None
    assert "ended early" in caplog.messages[-1]


def test_a_last_frame_that_stays_is_no_early_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in recordings of a screen on which nothing moves any more."""
    path = tmp_path / "still.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frames = [av.VideoFrame.from_ndarray(numbered(i), format="bgr24") for i in range(20)]
        packets = [p for one in [*frames, None] for p in stream.encode(one)]
        packets[-1].duration = 50  # two seconds
        container.mux(packets)
    with open_source(path) as source:
        assert len(list(source)) == 20
        assert source.cut_short is None
    assert not caplog.records


def test_a_whole_file_is_not_said_to_end_early(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.avi", 30, codec="mpeg4")) as source:
        assert len(list(source)) == 30
        assert source.cut_short is None
        assert source.broken == 0
