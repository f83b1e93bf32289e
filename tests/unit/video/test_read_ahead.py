"""Reading ahead: what is decoded before it is asked for, dropped, stopped and let go."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from mixformerv2.errors import SourceError
from mixformerv2.video import Source, VideoFrame, open_source
from tests.clips import indices, number_of, numbered, turn, write_clip


class ListReader:
    """Gives out frames, and counts how many were asked for."""

    name = "list"
    fps: float | None = 10.0
    cut_short: str | None = None
    aspect = None

    def __init__(self, count: int, *, live: bool = False, fail_at: int = -1) -> None:
        self.count: int | None = count
        self.live = live
        self.fail_at = fail_at
        self.made = 0
        self.closed = threading.Event()

    def frames(self, start: int) -> Iterator[VideoFrame]:
        assert self.count is not None
        for index in range(start, self.count):
            if index == self.fail_at:
                raise RuntimeError("the device burst")
            self.made += 1
            yield VideoFrame(index, index / 10, numbered(index))

    def close(self) -> None:
        self.closed.set()


def test_no_more_than_the_queue_is_decoded_ahead() -> None:
    reader = ListReader(1000)
    with Source(reader, read_ahead=4) as source:
        for frame in source:
            # What was fetched, four in the queue, and one that waits for room.
            assert reader.made <= frame.index + 1 + 4 + 1
            if frame.index == 200:
                break
    assert reader.closed.wait(5)
    assert reader.made <= 206


def test_decoded_frames_do_not_wait_for_the_garbage_collector(tmp_path: Path) -> None:
    path = turn(write_clip(tmp_path / "clip.mp4", 60), 0, 1, -1, 0)
    gc.collect()
    gc.disable()
    try:
        with open_source(path) as source:
            assert len(indices(source)) == 60
        left = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 2  # one in a cycle with its side data, and the last


def test_a_live_source_drops_what_nobody_fetches() -> None:
    reader = ListReader(300, live=True)
    with Source(reader, read_ahead=4) as source:
        assert reader.closed.wait(5)  # all was sent before anybody looked
        numbers = indices(source)
        assert source.dropped + len(numbers) == 300
    # The frame that it was opened with, and the last ones.
    assert len(numbers) in (4, 5)
    assert numbers[-3:] == [297, 298, 299]


def test_an_unforeseen_failure_is_an_error_of_ours() -> None:
    with Source(ListReader(9, fail_at=5)) as source:
        frames = iter(source)
        assert [next(frames).index for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(SourceError, match="reading failed: the device burst"):
            next(frames)


def test_stop_ends_the_iteration_from_within() -> None:
    with Source(ListReader(1000)) as source:
        numbers = []
        for frame in source:
            numbers.append(frame.index)
            if frame.index == 3:
                source.stop()
    assert numbers == [0, 1, 2, 3]


def test_a_forgotten_source_leaves_no_thread() -> None:
    reader = ListReader(1000)
    source = Source(reader)
    del source
    assert reader.closed.wait(5)


def test_start_keeps_numbers_and_times(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.mp4", 20), start=15) as source:
        assert source.first == 15
        frames = list(source)
    assert [frame.index for frame in frames] == [15, 16, 17, 18, 19]
    assert frames[0].time == pytest.approx(15 / 25)
    assert frames[0].image is not None
    assert number_of(frames[0].image) == 15
    with pytest.raises(SourceError, match="ends before frame 20"):
        open_source(tmp_path / "clip.mp4", start=20)


def test_peek_shows_the_first_frame_and_keeps_it() -> None:
    with open_source([numbered(0), numbered(1)]) as source:
        assert number_of(source.peek()) == 0
        assert indices(source) == [0, 1]
        with pytest.raises(SourceError, match="fetched already"):
            source.peek()
