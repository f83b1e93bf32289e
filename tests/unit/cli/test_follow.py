"""The run: results on disk as they come, whatever frames and signals do."""

from __future__ import annotations

import json
import os
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.box import Box
from mixformerv2.cli.ending import report
from mixformerv2.cli.follow import Outputs, Summary, follow
from mixformerv2.errors import BoxError, EngineError, OutputError, SourceError
from mixformerv2.tracking import MultiTracker, Tracker, TrackResult
from mixformerv2.tracking.api import follow as follow_one
from mixformerv2.video import open_source
from mixformerv2.video.formats.journal import Journal
from tests.clips import write_clip
from tests.doubles import ScriptedEngine, config, moving_square
from tests.unit.tracking.test_doubles import GREY, LIGHT, Blobs, scene

BOX = Box(20, 40, 24, 24)


def scripted(scores: list[float] | None = None) -> MultiTracker:
    """The real trackers around an engine that always finds the target where it was."""
    engine = ScriptedEngine(scores or ())
    return MultiTracker.around(Tracker.with_engine(engine, config()))


def run(
    folder: Path,
    frames: Any,
    boxes: list[Box] | None = None,
    follower: MultiTracker | None = None,
    **more: Any,
) -> tuple[Summary, list[tuple[int, TrackResult]]]:
    outputs = more.pop("outputs", None) or Outputs(folder / "run.jsonl")
    start = more.pop("start", 0)
    with open_source(frames, start=start) as source:
        # An empty MultiTracker is false, as an empty list is.
        by = scripted() if follower is None else follower
        summary = follow(source, boxes or [BOX], by, outputs, model="small", **more)
    return summary, [tuple(row) for row in Journal(outputs.journal)]


def frames(count: int) -> list[Any]:
    draw = moving_square()
    return [draw(number) for number in range(count)]


def broken(folder: Path) -> Path:
    path = folder / "broken.png"
    path.write_bytes(b"no picture")
    return path


def test_the_end_tells_of_targets_that_came_to_one_place(tmp_path: Path) -> None:
    both, alone = scene({250: LIGHT, 200: GREY}), scene({250: LIGHT})
    for apart, states in ((True, ["tracked", "lost", "lost"]), (False, ["tracked"] * 3)):
        by = MultiTracker.around(Tracker.with_engine(Blobs(), config(apart=apart)))
        boxes = [Box(*LIGHT), Box(*GREY)]
        summary, rows = run(tmp_path, [both, alone, alone], boxes, by)
        assert [result.state for number, result in rows if number == 2] == states
        assert summary.doubles == {(1, 2): 2}
        lines = report("clip", "small", summary, Outputs(tmp_path / "run.jsonl"))
        assert any("targets 1 and 2 came to one place in 2 frames" in line for line in lines)


def test_exports_without_lost_rows_beside_a_journal_of_all(tmp_path: Path) -> None:
    exports = ((tmp_path / "run.csv", "csv"),)
    outputs = Outputs(tmp_path / "run.jsonl", exports=exports, without_lost=True)
    pictures = [*frames(2), broken(tmp_path), *frames(1)]
    _, rows = run(tmp_path, pictures, outputs=outputs)
    assert [result.state for _, result in rows] == ["tracked", "tracked", "lost", "tracked"]
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["frame", "0", "1", "3"]


def test_every_frame_has_a_result_and_the_first_is_the_given_box(tmp_path: Path) -> None:
    summary, rows = run(tmp_path, frames(6))
    assert [(number, result.frame) for number, result in rows] == [(1, n) for n in range(6)]
    assert rows[0][1].box == BOX.xywh
    assert (rows[0][1].score, rows[0][1].state) == (1.0, "tracked")
    assert [result.time for _, result in rows] == pytest.approx([n / 30 for n in range(6)])
    assert (summary.frames, summary.broken, summary.signal) == (6, 0, None)
    assert summary.states[1]["tracked"] == 6
    assert summary.seconds > 0
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["model"] == "small"
    assert json.loads(lines[0])["engine"] == "scripted fp32"
    assert json.loads(lines[-1]) == {"end": "source", "frames": 6, "broken": 0}


def test_states_come_from_the_scores(tmp_path: Path) -> None:
    summary, rows = run(tmp_path, frames(4), follower=scripted([0.9, 0.05, 0.9]))
    assert [result.state for _, result in rows] == ["tracked", "tracked", "lost", "tracked"]
    assert summary.states[1] == {"tracked": 3, "lost": 1}


def test_a_broken_frame_repeats_the_box_as_lost(tmp_path: Path) -> None:
    pictures = frames(5)
    pictures[2] = broken(tmp_path)
    summary, rows = run(tmp_path, pictures)
    assert [result.frame for _, result in rows] == [0, 1, 2, 3, 4]
    assert [result.state for _, result in rows] == [
        "tracked",
        "tracked",
        "lost",
        "tracked",
        "tracked",
    ]
    assert rows[2][1].box == rows[1][1].box
    assert rows[2][1].score == 0.0
    assert summary.broken == 1


def test_a_source_that_begins_broken_starts_on_its_first_good_frame(tmp_path: Path) -> None:
    summary, rows = run(tmp_path, [broken(tmp_path), broken(tmp_path), *frames(2)])
    assert [(r.frame, r.score, r.state) for _, r in rows] == [
        (0, 0.0, "lost"),
        (1, 0.0, "lost"),
        (2, 1.0, "tracked"),
        (3, 1.0, "tracked"),
    ]
    assert {result.box for _, result in rows[:3]} == {BOX.xywh}
    assert summary.broken == 2


@pytest.mark.parametrize("begin", ["late", "broken"])
def test_a_late_start_is_that_of_the_call_for_one_target(tmp_path: Path, begin: str) -> None:
    """The clock of a filter runs from the first frame of the target, and not of the source."""
    pictures = [broken(tmp_path)] * 20 + frames(3) if begin == "broken" else frames(23)
    settings = {"smooth_hz": 1.0, "smooth_gain": 0.0}

    def tracker() -> Tracker:
        engine = ScriptedEngine(corners=(0.45, 0.4, 0.65, 0.6))  # it goes to the right
        return Tracker.with_engine(engine, config(**settings))

    start = 0 if begin == "broken" else 20
    alone = list(follow_one(pictures, BOX.xywh, tracker, start_frame=start))
    _, rows = run(tmp_path, pictures, follower=MultiTracker.around(tracker()), start=start)
    assert [result for _, result in rows] == alone


@pytest.mark.parametrize(("form", "told"), [("coco", 1), ("labelstudio", 1), ("csv", 0)])
def test_pictures_that_vary_in_size_are_told_of_where_formats_have_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str, told: int
) -> None:
    pictures = frames(3)
    pictures[1] = np.ascontiguousarray(pictures[1][:100])
    outputs = Outputs(tmp_path / "run.jsonl", exports=((tmp_path / "run.out", form),))
    run(tmp_path, pictures, outputs=outputs)
    sentence = f"its frames vary in size; {form} has them all as 160 x 120 pixels"
    assert sum(sentence in text for text in caplog.messages) == told
    caplog.clear()
    run(tmp_path, frames(3), outputs=outputs)
    assert caplog.messages == []


def test_several_objects_are_numbered_from_one(tmp_path: Path) -> None:
    _, rows = run(tmp_path, frames(3), [BOX, Box(90, 10, 20, 30)])
    assert [(number, result.frame) for number, result in rows] == [
        (number, frame) for frame in range(3) for number in (1, 2)
    ]
    assert rows[1][1].box == (90, 10, 20, 30)


def test_start_and_limit(tmp_path: Path) -> None:
    summary, rows = run(tmp_path, frames(9), start=3, limit=4)
    assert [result.frame for _, result in rows] == [3, 4, 5, 6]
    assert summary.frames == 4
    last = json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])
    assert last == {"end": "limit", "frames": 4, "broken": 0}


def test_a_limit_at_the_end_of_the_source_is_its_end(tmp_path: Path) -> None:
    """CVAT refuses a file that says of a frame behind the last one that nothing is there."""
    exports = ((tmp_path / "a.xml", "cvat"),)
    outputs = Outputs(tmp_path / "run.jsonl", None, exports)
    run(tmp_path, frames(5), outputs=outputs, start=1, limit=4)
    last = json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])
    assert last == {"end": "source", "frames": 4, "broken": 0}
    assert 'frame="4"' in (tmp_path / "a.xml").read_text()
    assert 'frame="5"' not in (tmp_path / "a.xml").read_text()


def test_a_box_partly_outside_is_cut_to_the_picture(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="stands out of the picture"):
        _, rows = run(tmp_path, frames(2), [Box(-10, 40, 30, 24)])
    assert rows[0][1].box == (0.0, 40.0, 20.0, 24.0)


def test_a_box_outside_leaves_no_file(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "o" / "run.jsonl", tmp_path / "o" / "v.mp4")
    outputs.journal.parent.mkdir()
    with pytest.raises(BoxError, match="lies outside"):
        run(tmp_path, frames(2), [Box(900, 900, 10, 10)], outputs=outputs)
    assert list((tmp_path / "o").iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/a.csv", "/proc/a.mp4", "a" * 300])
def test_what_cannot_be_written_is_said_before_an_older_file_is_emptied(
    tmp_path: Path, place: str
) -> None:
    journal, path = tmp_path / "run.jsonl", Path(place)
    journal.write_text("old")
    video, exports = (path, ()) if path.suffix == ".mp4" else (None, ((path, "csv"),))
    with pytest.raises(OutputError, match="cannot be written"):
        run(tmp_path, frames(2), outputs=Outputs(journal, video, exports))
    assert journal.read_text() == "old"
    assert list(tmp_path.iterdir()) == [journal]


def test_a_frame_too_large_for_a_video_is_said_before_an_older_file_is_emptied(
    tmp_path: Path,
) -> None:
    outputs = Outputs(tmp_path / "run.jsonl", tmp_path / "run.mp4")
    outputs.journal.write_text("old")
    with pytest.raises(OutputError, match="pixels make no video"):
        run(tmp_path, [np.zeros((60, 20000), np.uint8)], [Box(0, 0, 9, 9)], outputs=outputs)
    assert outputs.journal.read_text() == "old"


def test_a_video_keeps_the_shape_of_the_pixels(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 2, aspect=Fraction(16, 11))
    outputs = Outputs(tmp_path / "run.jsonl", tmp_path / "run.mp4")
    run(tmp_path, clip, [Box(4, 4, 20, 20)], outputs=outputs)
    with open_source(tmp_path / "run.mp4") as video:
        assert video.aspect == Fraction(16, 11)


def test_all_outputs_are_written(tmp_path: Path) -> None:
    outputs = Outputs(
        tmp_path / "run.jsonl",
        tmp_path / "run.mp4",
        ((tmp_path / "a.csv", "csv"), (tmp_path / "b.xml", "cvat")),
    )
    pictures = frames(8)
    pictures[3] = broken(tmp_path)
    run(tmp_path, pictures, outputs=outputs)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 8
    assert (tmp_path / "b.xml").read_text().count("<box ") == 8
    with open_source(tmp_path / "run.mp4") as video:
        drawn = [frame.image for frame in video if frame.image is not None]
    assert len(drawn) == 8  # in place of the broken frame the one before stands
    assert drawn[0].shape == (120, 160, 3)
    # Something is drawn where the box is.
    assert np.abs(drawn[0][52, 16:24].astype(int) - pictures[0][52, 16:24]).max() > 60


def test_watching(tmp_path: Path) -> None:
    seen: list[int] = []

    def watch(results: dict[int, TrackResult]) -> None:
        seen.append(results[1].frame)

    run(tmp_path, frames(4), watch=watch)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_completes_its_files(
    tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    def watch(results: dict[int, TrackResult]) -> None:
        if results[1].frame == 3:
            os.kill(os.getpid(), number)

    outputs = Outputs(tmp_path / "run.jsonl", tmp_path / "run.mp4", ((tmp_path / "a.csv", "csv"),))
    summary, rows = run(tmp_path, frames(50), outputs=outputs, watch=watch)
    assert summary.signal == number
    assert summary.frames == len(rows) == 4
    assert json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])["end"] == "interrupted"
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 4
    with open_source(tmp_path / "run.mp4") as video:
        assert len(list(video)) == 4
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_insists(tmp_path: Path) -> None:
    def watch(results: dict[int, TrackResult]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, frames(5), watch=watch)
    assert [row.result.frame for row in Journal(tmp_path / "run.jsonl")] == [0]


def test_an_engine_that_fails_leaves_what_was_tracked(tmp_path: Path) -> None:
    class Failing(ScriptedEngine):
        def step(self, search: NDArray[np.uint8], memory: Any) -> Any:
            if len(self.searched) == 3:
                raise EngineError("the device is gone")
            return super().step(search, memory)

    follower = MultiTracker.around(Tracker.with_engine(Failing(), config()))
    outputs = Outputs(tmp_path / "run.jsonl", tmp_path / "run.mp4")
    with pytest.raises(EngineError, match="gone"):
        run(tmp_path, frames(9), follower=follower, outputs=outputs)
    assert [row.result.frame for row in Journal(outputs.journal)] == [0, 1, 2, 3]
    with open_source(tmp_path / "run.mp4") as video:
        assert len(list(video)) == 4


def test_a_disk_that_fills_up_leaves_what_was_tracked(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="/dev/full"):
        run(tmp_path, frames(3), outputs=Outputs(Path("/dev/full")))


def test_a_source_that_was_stopped_before_it_began(tmp_path: Path) -> None:
    with open_source(frames(3)) as source:
        source.stop()
        with pytest.raises(SourceError, match="ended before its first frame"):
            follow(source, [BOX], scripted(), Outputs(tmp_path / "run.jsonl"), model="small")
