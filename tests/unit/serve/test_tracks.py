"""What is still to be tracked, what a correction undoes, and how two passes become one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.box import XYWH, Box
from mixformerv2.serve.tasks import _Pass
from mixformerv2.serve.tracks import Run, Tracks, neighbours, plan
from mixformerv2.tracking.blend import blend
from mixformerv2.tracking.result import TrackResult
from mixformerv2.video import VideoFrame

BOX: XYWH = (10.0, 20.0, 30.0, 40.0)


@pytest.fixture
def tracks(tmp_path: Path) -> Tracks:
    return Tracks(tmp_path, 20, writable=True)


def fill(tracks: Tracks, run: Run, x: float = 10.0, score: float = 0.9) -> None:
    """What a worker would write for a run."""
    step = 1 if run.direction == "forward" else -1
    for number in run.objects:
        rows = tracks.rows(number, run.direction)
        for frame in range(run.frontier, run.stop, step):
            rows[frame] = (x, 20, 30, 40, score, 0)


def test_everything_is_planned_and_then_nothing(tracks: Tracks) -> None:
    prompts = {1: {5: BOX}, 2: {5: BOX}, 3: {0: BOX, 12: BOX}}
    runs = plan(prompts, tracks)
    assert runs == [
        Run((3,), "forward", 0, 0, 12),
        Run((1, 2), "forward", 5, 5, 20),  # the same frames: one batch
        Run((3,), "forward", 12, 12, 20),
        Run((1, 2), "backward", 5, 4, -1),
        Run((3,), "backward", 12, 11, 0),
    ]
    assert [run.frames for run in runs] == [12, 15, 8, 5, 11]
    for run in runs:
        fill(tracks, run)
    assert plan(prompts, tracks) == []
    for number, given in prompts.items():
        assert not np.isnan(tracks.merged(number, given)).any()


def test_frames_before_the_first_box_are_left_out_where_nobody_wants_them(tracks: Tracks) -> None:
    assert plan({1: {5: BOX}}, tracks, backward=False) == [Run((1,), "forward", 5, 5, 20)]
    # Between two boxes both ways are wanted in any case.
    runs = plan({1: {5: BOX, 9: BOX}}, tracks, backward=False)
    assert Run((1,), "backward", 9, 8, 5) in runs
    assert all(run.stop >= 5 for run in runs)


def test_a_run_that_was_ended_goes_on_at_its_frontier(tracks: Tracks) -> None:
    tracks.rows(1, "forward")[5:9] = 1.0
    tracks.rows(1, "backward")[3:5] = 1.0
    assert plan({1: {5: BOX}}, tracks) == [
        Run((1,), "forward", 5, 9, 20),
        Run((1,), "backward", 5, 2, -1),
    ]


@pytest.mark.parametrize(
    ("frame", "expected"), [(0, (-1, 4)), (4, (-1, 9)), (6, (4, 9)), (9, (4, 20)), (15, (9, 20))]
)
def test_neighbours_of_a_frame(frame: int, expected: tuple[int, int]) -> None:
    assert neighbours([4, 9], frame, 20) == expected


def test_two_passes_are_mixed_by_how_near_their_boxes_are(tracks: Tracks) -> None:
    prompts = {0: BOX, 10: BOX}
    for run in plan({1: prompts}, tracks):
        fill(tracks, run, x=10.0 if run.direction == "forward" else 20.0)
    merged = tracks.merged(1, prompts)
    assert tuple(merged[0, :4]) == BOX
    assert tuple(merged[10, :4]) == BOX
    assert merged[1:10, 0] == pytest.approx(np.arange(1, 10) + 10.0)  # 11, 12, ... 19
    assert merged[11:, 0] == pytest.approx(10.0)
    part = tracks.merged(1, prompts, 3, 6)
    np.testing.assert_array_equal(part, merged[3:6])


def rows(box: XYWH, score: float, state: float) -> NDArray[np.float64]:
    return np.array([[*box, score, state]])


def test_a_pass_that_lost_its_target_counts_for_little() -> None:
    lost = rows((10, 20, 30, 40), 0.0, 2)
    sure = rows((14, 20, 30, 40), 0.9, 0)
    mixed = blend(lost, sure, np.array([0.3]))
    assert mixed[0, 0] == pytest.approx(14.0, abs=0.05)
    assert mixed[0, 5] == 0


def test_passes_on_different_things_are_not_averaged() -> None:
    left = rows((10, 20, 30, 40), 0.9, 0)
    right = rows((300, 20, 30, 40), 0.9, 1)
    for share, expected in ((0.3, left), (0.7, right)):
        np.testing.assert_allclose(blend(left, right, np.array([share])), expected)


def test_results_leave_out_what_was_not_tracked(tracks: Tracks) -> None:
    tracks.rows(1, "forward")[5:8] = (1, 2, 3, 4, 0.5, 1)
    times = np.arange(20) / 25
    found = list(tracks.results(1, {5: BOX}, times))
    assert [one.frame for one in found] == [5, 6, 7]
    assert found[0].box == BOX
    assert (found[0].score, found[0].state) == (1.0, "tracked")
    assert (found[1].box, found[1].score, found[1].state) == ((1, 2, 3, 4), 0.5, "uncertain")
    assert found[2].time == 7 / 25


def test_a_file_of_another_length_is_made_anew(tracks: Tracks, tmp_path: Path) -> None:
    (tmp_path / "rows-1-forward.bin").write_bytes(b"short")
    assert np.isnan(tracks.rows(1, "forward")).all()
    assert np.isnan(Tracks(tmp_path, 20).rows(2, "forward")).all()
    assert not (tmp_path / "rows-2-forward.bin").exists()  # a reader makes nothing
    tracks.remove(1)
    assert not list(tmp_path.iterdir())


def test_a_run_begins_at_the_time_of_its_frame(tracks: Tracks) -> None:
    """Smoothing goes by the seconds between frames, also from a box on a later one."""
    told: list[float] = []

    class Timed:
        settings = SimpleNamespace(apart=False)
        has_score = True

        def start(self, image: Any, box: Any, time: float = 0.0) -> tuple[TrackResult, Any]:
            return self.miss(None, time)

        def miss(self, state: Any, time: float = -1.0) -> tuple[TrackResult, Any]:
            told.append(time)
            return TrackResult(BOX, 0.5, "lost", 0, time), SimpleNamespace()

    run = Run((1,), "forward", 5, 5, 20)
    boxes = {1: {5: Box(*BOX)}}
    one = _Pass(run, tracks, cast(Any, None), cast(Any, Timed()), boxes, cast(Any, None))
    one._keep = lambda frame, states: setattr(one, "_states", states)  # type: ignore[method-assign]
    one._take(VideoFrame(5, 0.2, np.zeros((8, 8, 3), np.uint8)))
    one._take(VideoFrame(6, 0.24, None))
    assert told == [0.2, 0.24]
