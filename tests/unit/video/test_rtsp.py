"""A camera over RTSP that drops and comes back."""

from __future__ import annotations

import itertools

import pytest

from mixformerv2.errors import SourceError
from mixformerv2.video import VideoFrame, live, open_source, readers
from tests.clips import number_of
from tests.rtsp import Camera

FRAMES = 12
STEP = 1 / 25


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_FIRST_PAUSE", 0.05)


def assert_steady(frames: list[VideoFrame]) -> None:
    """One connection: pictures, numbers and time go on by one frame each."""
    shown = [number_of(frame.image) for frame in frames if frame.image is not None]
    for earlier, later in itertools.pairwise(shown):
        assert (later - earlier) % Camera.FRAMES == 1
    assert [f.index - frames[0].index for f in frames] == list(range(len(frames)))
    # RTP counts in 90,000ths of a second.
    expected = [n * STEP for n in range(len(frames))]
    assert [f.time - frames[0].time for f in frames] == pytest.approx(expected, abs=1e-4)


def test_a_camera_that_drops_goes_on_with_its_clock_and_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        Camera([FRAMES, None, None, FRAMES, FRAMES]) as camera,
        open_source(camera.address, read_ahead=3 * FRAMES, reconnect=20.0) as source,
    ):
        assert source.live
        assert source.count is None
        assert source.fps == pytest.approx(25)
        frames = list(itertools.islice(source, 3 * FRAMES))
    assert camera.asked >= 5
    assert (source.gaps, source.broken, source.dropped) == (2, 0, 0)
    parts = [frames[:FRAMES], frames[FRAMES : 2 * FRAMES], frames[2 * FRAMES :]]
    assert frames[0].index == 0
    waited = 0.0
    for part in parts:
        assert_steady(part)
    for before, after in itertools.pairwise(parts):
        gap = after[0].time - before[-1].time
        assert after[0].index - before[-1].index == max(1, round(gap / STEP))
        waited += gap
    assert source.missed == pytest.approx(waited, abs=1e-6)
    said = [r.getMessage() for r in caplog.records if "came back" in r.getMessage()]
    assert len(said) == 2
    assert f"frame {parts[1][0].index} follows frame {FRAMES - 1}" in said[0]


def test_a_camera_that_falls_silent_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_NETWORK_TIMEOUT", 3.0)
    with (
        Camera([FRAMES, FRAMES], silent=True) as camera,
        open_source(camera.address, read_ahead=2 * FRAMES, reconnect=60.0) as source,
    ):
        frames = list(itertools.islice(source, 2 * FRAMES))
        assert source.gaps == 1
    assert_steady(frames[:FRAMES])
    assert_steady(frames[FRAMES:])
    assert source.missed >= 3.0  # the silence itself


def test_a_camera_that_stays_away_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with Camera([FRAMES]) as camera:
        with open_source(camera.address, read_ahead=FRAMES, reconnect=0.5) as source:
            assert len(list(source)) == FRAMES
        assert camera.asked > 1
    assert "0.5 s without a picture" in str(source.cut_short)


def test_a_camera_without_a_word_is_said_at_once() -> None:
    with Camera([]) as camera, pytest.raises(SourceError, match="sends no video"):
        open_source(camera.address)
