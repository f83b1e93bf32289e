"""Formats: what each file says, to the letter, and what happens to a damaged journal."""

from __future__ import annotations

import json
import logging
import os
import stat
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixformerv2.errors import ConfigError, DataError, OutputError
from mixformerv2.tracking.result import TrackResult
from mixformerv2.video.formats import FORMATS, export, find_format, prove
from mixformerv2.video.formats.journal import Journal, JournalWriter, RunHeader
from tests.journals import written

HEADER = RunHeader("clip & co.mp4", 200, 100, 25.0, "t", "onnx fp32", "mixformerv2 0.1.0")
ROWS = [
    (1, TrackResult((10.5, 20.25, 40.0, 30.125), 1.0, "tracked", 0, 0.0)),
    (2, TrackResult((0.1, 0.2, 0.3, 0.4), 1.0, "tracked", 0, 0.0)),
    (1, TrackResult((11.0, 21.0, 40.0, 30.0), 0.75, "uncertain", 1, 0.04)),
    (2, TrackResult((0.1, 0.2, 0.3, 0.4), 0.0, "lost", 1, 0.04)),
]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    with JournalWriter(tmp_path / "run.jsonl", HEADER) as writer:
        for number, result in ROWS:
            writer.write(number, result)
        writer.end("source", frames=2, broken=0)
    return Journal(tmp_path / "run.jsonl")


def test_a_journal_comes_back_as_it_was_written(journal: Journal) -> None:
    assert journal.header == HEADER
    assert [tuple(row) for row in journal] == ROWS
    assert journal.ids() == [1, 2]
    assert journal.frame_count() == 2


def test_each_line_is_on_its_way_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with JournalWriter(path, HEADER) as writer:
        for count, (number, result) in enumerate(ROWS, 1):
            writer.write(number, result)
            assert len(path.read_text().splitlines()) == 1 + count
        assert [tuple(row) for row in Journal(path)] == ROWS  # while it is still being written


def test_numbers_of_numpy_are_written_in_full(tmp_path: Path) -> None:
    third = np.float32(1 / 3)
    box: Any = (third, third, third, third)
    score: Any = third
    with JournalWriter(tmp_path / "run.jsonl", HEADER) as writer:
        writer.write(1, TrackResult(box, score, "tracked", 0, 0.0))
    ((_, result),) = Journal(tmp_path / "run.jsonl")
    assert result.box == (float(third),) * 4
    assert result.score == float(third)


def test_csv(journal: Journal) -> None:
    assert written(journal, "csv").splitlines() == [
        "frame,time,id,x,y,w,h,score,state",
        "0,0.0,1,10.5,20.25,40.0,30.125,1.0,tracked",
        "0,0.0,2,0.1,0.2,0.3,0.4,1.0,tracked",
        "1,0.04,1,11.0,21.0,40.0,30.0,0.75,uncertain",
        "1,0.04,2,0.1,0.2,0.3,0.4,0.0,lost",
    ]


def test_mot_counts_everything_from_one(journal: Journal) -> None:
    assert written(journal, "mot").splitlines() == [
        "1,1,11.5,21.25,40.0,30.125,1.0,-1,-1,-1",
        "1,2,1.1,1.2,0.3,0.4,1.0,-1,-1,-1",
        "2,1,12.0,22.0,40.0,30.0,0.75,-1,-1,-1",
        "2,2,1.1,1.2,0.3,0.4,0.0,-1,-1,-1",
    ]


def test_jsonl_is_the_journal_without_its_end(journal: Journal) -> None:
    assert written(journal, "jsonl") == "".join(
        line + "\n" for line in journal.path.read_text().splitlines()[:-1]
    )


def test_coco_video(journal: Journal) -> None:
    content = json.loads(written(journal, "coco"))
    assert content["videos"] == [
        {
            "id": 1,
            "name": "clip & co",
            "file_name": "clip & co.mp4",
            "width": 200,
            "height": 100,
            "length": 2,
            "fps": 25.0,
        }
    ]
    assert content["categories"] == [{"id": 1, "name": "object", "supercategory": "object"}]
    assert [track["id"] for track in content["tracks"]] == [1, 2]
    assert [(image["id"], image["frame_id"], image["video_id"]) for image in content["images"]] == [
        (1, 0, 1),
        (2, 1, 1),
    ]
    assert [
        (one["id"], one["image_id"], one["instance_id"], one["bbox"], one["score"])
        for one in content["annotations"]
    ] == [
        (i, result.frame + 1, number, list(result.box), result.score)
        for i, (number, result) in enumerate(ROWS, 1)
    ]
    assert content["annotations"][0]["area"] == 40.0 * 30.125


def test_cvat_for_video(journal: Journal) -> None:
    root = ET.fromstring(written(journal, "cvat"))
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/size") == "2"
    assert root.findtext("meta/task/mode") == "interpolation"
    assert root.findtext("meta/task/original_size/width") == "200"
    assert root.findtext("meta/source") == "clip & co.mp4"
    tracks = root.findall("track")
    assert [(track.get("id"), track.get("label")) for track in tracks] == [
        ("0", "object"),
        ("1", "object"),
    ]
    assert [box.attrib for box in tracks[1]] == [
        {
            "frame": str(frame),
            "keyframe": "1",
            "outside": outside,
            "occluded": "0",
            "xtl": "0.1",
            "ytl": "0.2",
            "xbr": "0.4",
            "ybr": "0.6000000000000001",
            "z_order": "0",
        }
        for frame, outside in ((0, "0"), (1, "1"))
    ]


def test_label_studio(journal: Journal) -> None:
    (task,) = json.loads(written(journal, "labelstudio"))
    assert task["data"] == {"video": "clip & co.mp4"}
    (prediction,) = task["predictions"]
    assert prediction["model_version"] == "t"
    first, second = prediction["result"]
    assert (first["type"], first["from_name"], first["to_name"]) == (
        "videorectangle",
        "box",
        "video",
    )
    assert first["value"]["framesCount"] == 2
    assert first["value"]["duration"] == pytest.approx(2 / 25)
    assert first["value"]["labels"] == ["object"]
    assert first["value"]["sequence"][0] == {
        "frame": 1,
        "time": 0.04,
        "enabled": True,
        "rotation": 0,
        "x": 5.25,
        "y": 20.25,
        "width": 20.0,
        "height": 30.125,
    }
    assert [key["enabled"] for key in second["value"]["sequence"]] == [True, False]


def test_lost_rows_can_be_left_out_where_they_look_like_any_other(journal: Journal) -> None:
    seen = [tuple(row) for row in journal if row.result.state != "lost"]
    assert [tuple(row) for row in journal.without_lost()] == seen == ROWS[:3]
    for name, form in FORMATS.items():
        out = journal.path.with_name("seen")
        export(journal, out, name, without_lost=True)
        assert (out.read_text("utf-8") == written(journal, name)) is not form.plain
    export(journal, out, "mot", without_lost=True)
    assert [line.split(",")[:2] for line in out.read_text().splitlines()] == [
        ["1", "1"],
        ["1", "2"],
        ["2", "1"],
    ]


def test_frames_without_a_target_stay_images_of_coco(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "run.jsonl", HEADER) as writer:
        writer.write(*ROWS[0])
        writer.write(1, TrackResult((1, 2, 3, 4), 0.0, "lost", 1, 0.04))
    export(Journal(tmp_path / "run.jsonl"), tmp_path / "out.json", without_lost=True)
    content = json.loads((tmp_path / "out.json").read_text())
    assert [image["frame_id"] for image in content["images"]] == [0, 1]
    assert [note["image_id"] for note in content["annotations"]] == [1]
    assert content["videos"][0]["length"] == 2


@pytest.mark.parametrize(
    ("frames", "why", "count", "expected"),
    [
        ([0, 1, 2], "source", 3, "+++"),
        ([0, 1, 2], "source", 9, "+++-"),
        ([0, 1, 2], "interrupted", 3, "+++-"),
        ([0, 1, 2], None, 3, "+++-"),
        ([3, 4], "source", 2, "   ++"),  # begun later, at its end all the same
        ([0, 1, 5, 6], "source", 7, "++-  ++"),
        ([0, 2], "source", 3, "+-+"),
    ],
)
def test_label_tools_show_no_box_where_nothing_was_tracked(
    tmp_path: Path, frames: list[int], why: str | None, count: int, expected: str
) -> None:
    with JournalWriter(tmp_path / "run.jsonl", HEADER) as writer:
        for frame in frames:
            result = TrackResult((10.0, 20.0, 40.0, 30.0), 0.9, "tracked", frame, frame / 25)
            writer.write(1, result)
        if why is not None:
            writer.end(why, frames=count, broken=0)
    journal = Journal(tmp_path / "run.jsonl")
    boxes = ET.fromstring(written(journal, "cvat")).findall("track/box")
    shown = {int(box.attrib["frame"]): box.attrib["outside"] == "0" for box in boxes}
    (task,) = json.loads(written(journal, "labelstudio"))
    keys = task["predictions"][0]["result"][0]["value"]["sequence"]
    assert {key["frame"] - 1: key["enabled"] for key in keys} == shown
    assert shown == {i: sign == "+" for i, sign in enumerate(expected) if sign != " "}
    assert len(written(journal, "csv").splitlines()) == 1 + len(frames)


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_results_makes_a_whole_file(tmp_path: Path, name: str) -> None:
    with JournalWriter(tmp_path / "run.jsonl", HEADER):
        pass
    text = written(Journal(tmp_path / "run.jsonl"), name)
    if name in ("coco", "labelstudio"):
        json.loads(text)
    elif name == "cvat":
        ET.fromstring(text)
    else:
        assert len(text.splitlines()) == (0 if name == "mot" else 1)


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("a/b.csv", None, "csv"),
        ("b.CSV", None, "csv"),
        ("b.jsonl", None, "jsonl"),
        ("b.json", None, "coco"),
        ("b.labelstudio.json", None, "labelstudio"),
        ("b.mot", None, "mot"),
        ("b.txt", None, "mot"),
        ("b.xml", None, "cvat"),
        ("b.csv", "mot", "mot"),
        ("b", "CVAT", "cvat"),
    ],
)
def test_the_format_goes_by_name_or_suffix(path: str, name: str | None, expected: str) -> None:
    assert find_format(path, name) == expected


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'zip'; choose from jsonl, csv, mot, coco, cvat"):
        find_format("a.csv", "zip")
    with pytest.raises(ConfigError, match=r"a\.foo: this suffix stands for no format"):
        find_format("a.foo")


def test_a_journal_cut_off_in_a_line_is_read_up_to_there(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[:4]) + lines[4][:30])
    with caplog.at_level(logging.WARNING):
        assert [tuple(row) for row in Journal(journal.path)] == ROWS[:3]
    assert "cut off" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "[]",
        "{}",
        '{"frame": 0, "time": 0, "id": 1, "box": [1, 2, 3], "score": 1, "state": "tracked"}',
        '{"frame": 0, "time": 0, "id": 1, "box": [1, 2, 3, NaN], "score": 1, "state": "lost"}',
        '{"frame": 0, "time": 0, "id": 1, "box": [1, 2, 3, 4], "score": 1, "state": "gone"}',
        '{"frame": -1, "time": 0, "id": 1, "box": [1, 2, 3, 4], "score": 1, "state": "lost"}',
        '{"frame": 1e999, "time": 0, "id": 1, "box": [1, 2, 3, 4], "score": 1, "state": "lost"}',
        "[" * 5000,
    ],
)
def test_damage_in_the_middle_is_named_by_its_line(journal: Journal, line: str) -> None:
    lines = journal.path.read_text().splitlines()
    journal.path.write_text("\n".join([*lines[:3], line, *lines[3:]]))
    with pytest.raises(DataError, match=r"run\.jsonl: line 4 is damaged"):
        list(Journal(journal.path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no journal"),
        (b"hello\n", "is no journal"),
        (b"\xff\xfe\x00", "it is not text"),
        (b'{"journal": 2, "source": "a", "width": 1, "height": 1}', "is no journal"),
        (b'{"journal": 1, "source": "a"}', "first line is damaged"),
        (
            b'{"journal": 1, "source": "a", "width": 1, "height": 1, "given": [[1, Infinity]]}',
            "first line is damaged",
        ),
        (b'{"journal": 1, "source": "a", "width": 0, "height": 1}', "first line is damaged"),
        (b'{"journal": 1, "source": "a", "width": "x", "height": 1}', "first line is damaged"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "run.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        Journal(tmp_path / "run.jsonl")


def test_a_journal_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        Journal(tmp_path / "run.jsonl")


def test_a_name_may_be_as_long_as_the_system_lets_it(journal: Journal, tmp_path: Path) -> None:
    target = tmp_path / ("名" * 83 + ".csv")  # 253 bytes of 255
    prove(target)
    export(journal, target)
    assert target.stat().st_size > 0


def test_a_failed_export_leaves_the_file_as_it_was(journal: Journal) -> None:
    target = journal.path.with_name("boxes.csv")
    target.write_text("before")
    with journal.path.open("a") as file:
        file.write("garbage\n{}\n")
    with pytest.raises(DataError):
        export(journal, target)
    assert target.read_text() == "before"
    assert sorted(path.name for path in target.parent.iterdir()) == ["boxes.csv", "run.jsonl"]


def test_a_link_stays_a_link_and_rights_are_the_usual_ones(journal: Journal) -> None:
    real, link = journal.path.with_name("real.csv"), journal.path.with_name("link.csv")
    real.write_text("before")
    link.symlink_to(real)
    export(journal, link)
    assert link.is_symlink()
    assert real.read_text().startswith("frame,")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o666 & ~mask


def test_a_full_device_is_an_output_error(journal: Journal) -> None:
    # It always answers "no space left", and must still be a device afterwards.
    with pytest.raises(OutputError, match="/dev/full cannot be written: No space left"):
        export(journal, "/dev/full", "csv")
    with (
        pytest.raises(OutputError, match="No space left"),
        JournalWriter("/dev/full", HEADER) as writer,
    ):
        writer.write(*ROWS[0])
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_folder_that_is_not_there_is_an_output_error(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        export(journal, tmp_path / "no" / "boxes.csv")
    with pytest.raises(OutputError, match="No such file"):
        JournalWriter(tmp_path / "no" / "run.jsonl", HEADER)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no streams by number here")
def test_a_reader_that_has_enough_is_no_error_of_ours(tmp_path: Path) -> None:
    """`formats --out - | head` ends in silence, as other commands do."""
    path = tmp_path / "run.jsonl"
    with JournalWriter(path, HEADER) as writer:
        writer.write(1, TrackResult((1, 2, 3, 4), 0.5, "tracked", 0, 0.0))
    reader, end = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError):
            export(Journal(path), f"/dev/fd/{end}", "csv")
        with pytest.raises(BrokenPipeError):  # as of `track --boxes - --format jsonl`
            JournalWriter(f"/dev/fd/{end}", HEADER)
    finally:
        os.close(end)
