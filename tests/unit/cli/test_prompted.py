"""`track --prompt`: several given boxes on the command line, and what is written for them."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer

from mixformerv2.cli.prompted import read_prompts
from mixformerv2.cli.track import run
from mixformerv2.errors import BoxError, ConfigError, OutputError, SourceError
from mixformerv2.tracking import Tracker
from mixformerv2.video import open_source
from mixformerv2.video.formats.journal import Journal
from tests.clips import write_clip
from tests.doubles import moving_square


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(7):
        cv2.imwrite(str(folder / f"{number}.png"), moving_square()(number))
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_boxes_and_video_of_a_run_both_ways(
    frames: Path, small_bundle: Path, tmp_path: Path
) -> None:
    film, table = tmp_path / "out.mp4", tmp_path / "out.csv"
    run(
        str(frames),
        prompt=["5:30,40,24,24", "2:24,40,24,24"],
        out=film,
        boxes=[table],
        model=str(small_bundle),
        engine="onnx",
        quiet=True,
    )
    found = rows(table)
    assert [int(row["frame"]) for row in found] == list(range(7))
    assert [float(found[2][side]) for side in "xywh"] == [24, 40, 24, 24]
    assert [float(found[5][side]) for side in "xywh"] == [30, 40, 24, 24]
    with open_source(film) as source:
        assert sum(frame.image is not None for frame in source) == 7


def test_forward_alone_starts_at_the_first_box(
    frames: Path, small_bundle: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out.csv"
    options = {"model": str(small_bundle), "engine": "onnx", "quiet": True}
    run(str(frames), prompt=["3:26,40,24,24"], reverse=False, boxes=[table], **options)  # type: ignore[arg-type]
    assert [int(row["frame"]) for row in rows(table)] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("prompts", "step", "expected"),
    [
        (["0:20,40,24,24"], 3, [0, 1, 2, 3]),  # after the last box
        (["0:20,40,24,24", "6:32,40,24,24"], 3, [0, 1, 2, 3]),  # on the way to a box
        (["0:20,40,24,24", "4:28,40,24,24"], 5, [0, 1, 2, 3]),  # on the way back from it
        (["5:30,40,24,24"], 2, []),  # on the way back to the start
    ],
)
def test_a_signal_leaves_the_results_so_far(
    frames: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prompts: list[str],
    step: int,
    expected: list[int],
) -> None:
    steps = iter(range(1, 99))
    plain = Tracker.step

    def stopped(self: Tracker, *rest: Any) -> Any:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *rest)

    monkeypatch.setattr(Tracker, "step", stopped)
    film, table = tmp_path / "out.mp4", tmp_path / "out.csv"
    options: dict[str, Any] = {"model": str(small_bundle), "engine": "onnx", "quiet": True}
    with pytest.raises(typer.Exit) as ended:
        run(str(frames), prompt=prompts, out=film, boxes=[table], **options)
    assert ended.value.exit_code == 128 + signal.SIGTERM
    assert [int(row["frame"]) for row in rows(table)] == expected
    last = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])
    assert last == {"end": "interrupted", "frames": len(expected), "broken": 0}
    assert not film.exists()


@pytest.mark.parametrize(
    ("prompts", "boxes", "kind", "sentence"),
    [
        (["0:20,40,24,24", "5:900,0,9,9"], "a.csv", BoxError, "frame 5: .* outside the picture of"),
        (["0:20,40,24,24", "7:20,40,24,24"], "a.csv", SourceError, "has 7 pictures, .* frame 7"),
        (["0:20,40,24,24"], "/proc/a.csv", OutputError, "/proc/a.csv cannot be written"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_tracked(
    frames: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prompts: list[str],
    boxes: str,
    kind: type[Exception],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Tracker, "start", None)
    given: dict[str, Any] = {"boxes": [Path("a.jsonl"), Path(boxes)], "model": str(small_bundle)}
    with pytest.raises(kind, match=sentence):
        run(str(frames), prompt=prompts, engine="onnx", quiet=True, **given)
    assert list(tmp_path.iterdir()) == [frames]


def test_a_source_that_ends_before_a_box_leaves_what_was_tracked(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(write_clip(tmp_path / "clip.mp4", 5))
    film, table, journal = (tmp_path / name for name in ("a.mp4", "a.csv", "a.jsonl"))
    given: dict[str, Any] = {"boxes": [table], "out": film, "model": str(small_bundle)}
    sentence = f"ended after 5 frames, before the box .* are in {journal}"
    with pytest.raises(SourceError, match=sentence):
        run(clip, prompt=["0:9,9,20,20", "8:9,9,20,20"], engine="onnx", **given)
    assert "has 5 frames by its header, and a box is given on frame 8" in capsys.readouterr().err
    assert [row.result.frame for row in Journal(journal)] == [0, 1, 2, 3, 4]
    assert [int(row["frame"]) for row in rows(table)] == [0, 1, 2, 3, 4]
    with open_source(film) as source:
        assert sum(frame.image is not None for frame in source) == 5


def test_a_box_on_a_picture_that_cannot_be_decoded_is_no_reason_to_refuse(
    frames: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (4, 5, 6):
        (frames / f"{number}.png").write_bytes(b"no picture")
    film, table = tmp_path / "out.mp4", tmp_path / "out.csv"
    given: dict[str, Any] = {"out": film, "boxes": [table], "model": str(small_bundle)}
    run(str(frames), prompt=["0:20,40,24,24", "6:32,40,24,24"], engine="onnx", **given)
    assert [row["state"] for row in rows(table)][4:] == ["lost"] * 3
    assert capsys.readouterr().err.count("cannot be decoded") == 1


def test_a_pipe_cannot_be_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is a pipe or device and cannot be read twice"):
        run(str(tmp_path / "pipe"), prompt=["0:1,2,3,4"])


def test_the_time_of_a_run_is_that_of_both_passes(
    frames: Path, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    told: list[Any] = []
    monkeypatch.setattr(
        "mixformerv2.cli.ending.finish",
        lambda source, name, model, summary, *rest, **more: told.append(summary),
    )
    given: dict[str, Any] = {"out": tmp_path / "a.mp4", "model": str(small_bundle)}
    run(str(frames), prompt=["0:20,40,24,24"], engine="onnx", quiet=True, **given)
    assert told[0].seconds > 2  # more than one look at the clock and the next
    assert told[0].tracker_fps == 0  # nobody took it


@pytest.mark.parametrize(
    "texts", [["1,2,3,4"], ["x:1,2,3,4"], ["-1:1,2,3,4"], ["5:1,2,3"], ["5:1,2,3,4", "05:1,2,3,4"]]
)
def test_prompts_that_cannot_be_read_are_named(texts: list[str]) -> None:
    with pytest.raises(BoxError, match=r"prompt|box"):
        read_prompts(texts)


def test_a_prompt_without_a_box_is_told_of_by_its_own_option() -> None:
    with pytest.raises(BoxError, match=r"^--prompt 5: box '1,2,3' is neither four numbers"):
        read_prompts(["5:1,2,3"])


def test_prompts_go_with_no_other_way_of_giving_boxes(frames: Path) -> None:
    with pytest.raises(ConfigError, match="--prompt"):
        run(str(frames), box=["1,2,3,4"], prompt=["0:1,2,3,4"])
