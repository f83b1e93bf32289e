"""Several given boxes: the runs between them, forward and backward, against a known truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import GeneratorType
from typing import Any

import cv2
import numpy as np
import pytest

import mixformerv2 as mf
from mixformerv2.box import Box
from mixformerv2.errors import BoxError, ConfigError, OutputError, SourceError
from mixformerv2.tracking import TrackState
from mixformerv2.tracking.prompts import _next, follow_prompts, parse_prompts
from mixformerv2.video import open_source
from mixformerv2.video.source import VideoFrame
from tests.clips import write_clip
from tests.doubles import ScriptedEngine, config, moving_square

COUNT = 13
FRAMES = [moving_square()(i) for i in range(COUNT)]
TRUTH = [(20.0 + 2 * i, 40.0, 24.0, 24.0) for i in range(COUNT)]


def drifting(prompts: dict[int, Any], *, both: bool, source: Any = None) -> list[mf.TrackResult]:
    """Results of a tracker that slips one pixel to the right and down in each frame."""
    # A little smaller than the given box, so that the search region keeps its 96 pixels.
    low, high = (48 + 1 - 11.9) / 96, (48 + 1 + 11.9) / 96
    tracker = mf.Tracker.with_engine(ScriptedEngine(corners=(low, low, high, high)), config())
    source = FRAMES if source is None else source
    with open_source(source) as video:
        return list(follow_prompts(source, video, tracker, parse_prompts(prompts), both=both))


def slip(result: mf.TrackResult) -> float:
    """How far the middle of a box is below that of the true one."""
    return result.box[1] + result.box[3] / 2 - 52


def test_each_given_box_is_an_answer_and_results_are_in_order() -> None:
    found = drifting({9: TRUTH[9], 3: TRUTH[3]}, both=True)
    assert [one.frame for one in found] == list(range(COUNT))
    assert [one.time for one in found] == pytest.approx([i / 30 for i in range(COUNT)])
    for frame in (3, 9):
        assert (found[frame].box, found[frame].score) == (TRUTH[frame], 1.0)


def test_between_two_boxes_both_runs_count_by_how_near_they_are() -> None:
    still = (50.0, 40.0, 24.0, 24.0)
    found = [slip(one) for one in drifting({0: still, 8: still}, both=True)[:9]]
    # Forward the drift is 1, 2, ... 7; backward, 7, 6, ... 1; blended by distance.
    expected = [(1 - i / 8) * i + (i / 8) * (8 - i) for i in range(9)]
    assert found == pytest.approx(expected, abs=0.01)
    assert max(found) < 4.1  # one run alone would be seven off


def test_forward_alone_begins_at_the_first_box_and_starts_anew_at_each() -> None:
    found = drifting({3: TRUTH[3], 9: TRUTH[9]}, both=False)
    assert [one.frame for one in found] == list(range(3, COUNT))
    assert [slip(one) for one in found] == pytest.approx([0, 1, 2, 3, 4, 5, 0, 1, 2, 3], abs=0.01)


def test_a_run_back_from_a_video_file_sees_the_same_frames(tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    write_clip(file, count=40)
    engine = ScriptedEngine()
    tracker = mf.Tracker.with_engine(engine, config())
    with open_source(file) as video:
        frames = list(video)
    with open_source(file) as video:
        box = parse_prompts({39: (10, 10, 20, 20)})
        found = list(follow_prompts(file, video, tracker, box, both=True))
    assert [one.frame for one in found] == list(range(40))
    straight = ScriptedEngine()
    other = mf.Tracker.with_engine(straight, config())
    other.init(frames[39].image, (10, 10, 20, 20))
    for frame in frames[38::-1]:
        other.update(frame.image)
    np.testing.assert_array_equal(np.stack(engine.searched), np.stack(straight.searched))


def test_a_real_tracker_gains_from_the_way_back(small_bundle: Path) -> None:
    options: Any = {"model": small_bundle, "engine": "onnx"}
    given = {0: TRUTH[0], 12: TRUTH[12]}
    errors = {}
    for reverse in (False, True):
        found = list(mf.track(FRAMES, prompts=given, reverse=reverse, **options))
        boxes = np.array([one.box for one in found])
        errors[reverse] = np.abs(boxes - TRUTH).mean()
    assert errors[True] < errors[False]


def test_broken_frames_are_lost_and_a_given_box_waits_for_a_good_one(tmp_path: Path) -> None:
    for i, picture in enumerate(FRAMES[:6]):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    (tmp_path / "2.png").write_bytes(b"not a picture")
    found = drifting({2: TRUTH[2], 5: TRUTH[5]}, both=False, source=tmp_path)
    assert [(one.frame, one.state) for one in found[:2]] == [(2, "lost"), (3, "tracked")]
    found = drifting({0: TRUTH[0], 5: TRUTH[5]}, both=True, source=tmp_path)
    assert [one.frame for one in found] == list(range(6))
    assert found[2].state == "lost"


def test_a_box_within_a_tail_that_cannot_be_decoded_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(25):
        file = tmp_path / f"{i}.png"
        if i < 10:
            cv2.imwrite(str(file), FRAMES[i])
        else:
            file.write_bytes(b"not a picture")
    found = drifting({0: TRUTH[0], 24: TRUTH[0]}, both=True, source=tmp_path)
    assert [one.frame for one in found] == list(range(25))
    assert [one.state for one in found] == ["tracked"] * 10 + ["lost"] * 15
    told = [text for text in caplog.messages if "decoded" in text]
    assert len(told) == 2  # by the first read alone, and not by each on the way back


@pytest.mark.parametrize(
    ("prompts", "error"),
    [
        ({}, ConfigError),
        ({-1: TRUTH[0]}, ConfigError),
        ({True: TRUTH[0]}, ConfigError),
        ({1.0: TRUTH[0]}, ConfigError),
        ({"1": TRUTH[0]}, ConfigError),
        ({0: TRUTH[0], 4: (1, 2, 3)}, BoxError),
        ({4: (1, 2, 0, 3)}, BoxError),
        ([(0, TRUTH[0])], ConfigError),
        ({0: TRUTH[0], COUNT: TRUTH[0]}, SourceError),
    ],
)
@pytest.mark.parametrize("both", [False, True])
def test_impossible_prompts_are_named(prompts: Any, error: type[Exception], both: bool) -> None:
    with pytest.raises(error, match=r"box|frame"):
        drifting(prompts, both=both)


def test_a_broken_frame_has_the_time_of_the_source() -> None:
    """Far from the start: a filter would take the next motion for one of many seconds."""
    tracker = mf.Tracker.with_engine(ScriptedEngine(), config(smooth_hz=1.0))
    _, state = tracker.start(FRAMES[0], TRUTH[0], 40.0)
    result, after = _next(tracker, Box(*TRUTH[0]), state, VideoFrame(1001, 40.04, None))
    assert (result.state, result.time) == ("lost", 40.04)
    assert after is not None
    assert after.time == 40.0  # of the last frame that was seen


def test_the_clock_runs_forward_on_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    step, passed = mf.Tracker.step, list[float]()

    def timed(self: mf.Tracker, frame: Any, state: TrackState, time: float) -> Any:
        passed.append(time - state.time)
        return step(self, frame, state, time)

    monkeypatch.setattr(mf.Tracker, "step", timed)
    drifting({0: TRUTH[0], 8: TRUTH[8]}, both=True)
    assert len(passed) == 7 + 7 + 4  # between both prompts on each way, and behind the second
    assert passed == pytest.approx([1 / 30] * len(passed))


@pytest.mark.parametrize("room", [True, False])
def test_a_source_from_afar_is_fetched_once_for_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    file, afar, fetches, opened = str(write_clip(tmp_path / "clip.mp4")), "http://a/b", [], []

    @contextmanager
    def fetched(place: str) -> Iterator[str]:
        fetches.append(place)
        if not room:
            raise OutputError("no room")
        yield file
        fetches.append("gone")

    def opening(place: str, **named: Any) -> Any:
        opened.append(place)
        return open_source(file, **named)

    monkeypatch.setattr("mixformerv2.video.address.fetched", fetched)
    monkeypatch.setattr("mixformerv2.video.clip.open_source", opening)
    tracker = mf.Tracker.with_engine(ScriptedEngine(), config())
    boxes = parse_prompts(dict.fromkeys((4, 9, 19), (10, 10, 20, 20)))
    with open_source(file) as video:
        found = list(follow_prompts(afar, video, tracker, boxes, both=True))
    assert [one.frame for one in found] == list(range(20))
    assert fetches == [afar] + ["gone"] * room
    assert set(opened) == {file if room else afar}


def test_a_run_forward_keeps_nothing_of_what_has_passed() -> None:
    """A camera goes on for days."""
    source = [FRAMES[0]] * 300
    tracker = mf.Tracker.with_engine(ScriptedEngine(), config())
    with open_source(source) as video:
        run = follow_prompts(source, video, tracker, {0: Box(*TRUTH[0])}, both=False)
        next(run)
        assert isinstance(run, GeneratorType)
        for _ in run:
            assert len(run.gi_yieldfrom.gi_frame.f_locals["times"]) <= 1


def test_numbers_of_numpy() -> None:
    given = {np.int64(9): np.array(TRUTH[9]), np.uint8(3): TRUTH[3]}
    assert parse_prompts(given) == {3: TRUTH[3], 9: TRUTH[9]}
    assert {type(frame) for frame in parse_prompts(given)} == {int}


def test_one_way_of_giving_boxes(small_bundle: Path) -> None:
    for given in ({}, {"box": TRUTH[0], "prompts": {0: TRUTH[0]}}):
        with pytest.raises(ConfigError, match="prompts"):
            next(iter(mf.track(FRAMES, model=small_bundle, **given)))  # type: ignore[arg-type]
