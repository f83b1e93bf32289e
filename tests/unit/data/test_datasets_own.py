"""Your own folders, and what label tools export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mixformerv2.data.datasets import AnnotatedSequence, Findings, read_dataset
from mixformerv2.errors import DataError
from mixformerv2.tracking.result import TrackResult
from mixformerv2.video.formats import export
from mixformerv2.video.formats.journal import Journal, JournalWriter, RunHeader
from tests.clips import number_of, write_clip
from tests.unit.data.layouts import Box, box_of, boxes_of, put, rows, write_frames


def assert_square_is_boxed(sequence: AnnotatedSequence) -> None:
    for index in np.flatnonzero(sequence.labelled):
        np.testing.assert_allclose(sequence.boxes[index], box_of(int(index)))
        x, y = sequence.boxes[index, :2].astype(int)
        assert sequence.frames[index][y, x].tolist() == [255, 255, 255]
        assert sequence.frames[index][y - 1, x].tolist() == [90, 90, 90]


def test_folders_of_pictures_and_clips(tmp_path: Path) -> None:
    boxes = boxes_of(4, absent=(2,))
    write_frames(tmp_path / "b/img", boxes, "{:06d}.jpg")
    put(tmp_path / "b/groundtruth.txt", rows(boxes))
    write_frames(tmp_path / "a", boxes, "frame{}.png", first=8)
    put(tmp_path / "a/groundtruth.txt", rows(boxes, gap="nan nan nan nan", form="{} {}\t{},{}"))
    (tmp_path / "c").mkdir()
    write_clip(tmp_path / "c/any.mp4", count=6)
    put(tmp_path / "c/groundtruth.txt", "2,0,2,48\n" * 6)
    write_clip(tmp_path / "d.mp4", count=6)
    put(tmp_path / "d.txt", "2,0,2,48\n" * 5)
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.names) == ("own", ["a", "b", "c", "d"])
    a, b, c, d = dataset
    # nan is a frame that nobody labelled, zeros one without the target
    assert (a.labelled.tolist(), a.absent.any()) == ([True, True, False, True], False)
    assert b.absent.tolist() == [False, False, True, False]
    assert_square_is_boxed(a)
    assert_square_is_boxed(b)
    assert [number_of(frame) for frame in c.frames] == list(range(6))
    assert [number_of(frame) for frame in d.frames] == list(range(5))
    alone = read_dataset(tmp_path / "b")
    assert alone.names == ["b"]
    assert_square_is_boxed(alone[0])


def test_a_clip_that_ends_before_its_truth(tmp_path: Path) -> None:
    write_clip(tmp_path / "d.mp4", count=6)
    put(tmp_path / "d.txt", "2,0,2,48\n" * 9)
    with pytest.raises(DataError, match=r"d\.mp4 ends after 6 frames, but its truth has 9 rows"):
        list(read_dataset(tmp_path)[0].frames)
    findings = Findings(strict=False)
    read_dataset(tmp_path).entries[0].load(findings)
    assert "has 9 rows, but the header" in findings.odd[0]


def test_what_is_wrong_with_a_folder_of_ones_own(tmp_path: Path) -> None:
    put(tmp_path / "a/groundtruth.txt", "1,2,3,4\n")
    with pytest.raises(DataError, match=r"0 clips and no pictures in img"):
        read_dataset(tmp_path)[0]
    write_frames(tmp_path / "a/img", boxes_of(2), "{}.png")
    with pytest.raises(DataError, match=r"groundtruth\.txt has 1 rows but .*img has 2 pictures"):
        read_dataset(tmp_path)[0]


HEADER = RunHeader("clip.mp4", 64, 48, 25.0)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A journal of two objects over four frames beside pictures; the first is lost in frame 2."""
    with JournalWriter(tmp_path / "clip.jsonl", HEADER) as out:
        for number in range(4):
            state = "lost" if number == 2 else "tracked"
            box = tuple(float(v) for v in box_of(number))
            out.write(1, TrackResult(box, 0.9, state, number, number / 25))
            out.write(7, TrackResult((1.5, 2.5, 3.25, 4.75), 0.9, "tracked", number, number / 25))
        out.end("source", frames=4, broken=0)
    return tmp_path


@pytest.mark.parametrize("form", ["csv", "cvat", "coco", "mot"])
def test_what_track_writes_is_read_again(form: str, exported: Path) -> None:
    suffix = {"csv": ".csv", "cvat": ".xml", "coco": ".json", "mot": ".mot"}[form]
    home = exported / "labels"
    home.mkdir()
    write_frames(home / "clip", boxes_of(4, absent=(2,)), "{:06d}.jpg", first=0)
    export(Journal(exported / "clip.jsonl"), home / f"clip{suffix}", form)
    for place in (home, home / f"clip{suffix}"):
        dataset = read_dataset(place)
        assert dataset.layout == {"coco": "cocovid"}.get(form, form)
        numbers = (0, 1) if form == "cvat" else (1, 7)  # tracks of CVAT count from 0
        assert dataset.names == [f"clip-{number}" for number in numbers]
        first, second = dataset
        np.testing.assert_allclose(second.boxes, [(1.5, 2.5, 3.25, 4.75)] * 4)
        if form != "mot":  # has no word for lost
            assert first.absent.tolist() == [False, False, True, False]
            assert_square_is_boxed(first)


@pytest.mark.parametrize("end", ["source", "limit"])
def test_what_was_not_tracked_is_not_labelled(end: str, tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "clip.jsonl", HEADER) as out:
        for number, state in {0: "tracked", 1: "lost", 2: "tracked", 5: "tracked"}.items():
            box = tuple(float(v) for v in box_of(number))
            out.write(1, TrackResult(box, 0.9, state, number, number / 25))
        out.end(end, frames=8, broken=0)
    found = []
    for form, suffix in {"csv": ".csv", "cvat": ".xml"}.items():
        write_frames(tmp_path / form / "clip", boxes_of(1) * 8, "{:06d}.jpg", first=0)
        export(Journal(tmp_path / "clip.jsonl"), tmp_path / form / f"clip{suffix}", form)
        (sequence,) = read_dataset(tmp_path / form)
        found.append((sequence.labelled.tolist(), sequence.absent.tolist(), len(sequence)))
    assert found[0] == found[1]
    assert found[0][0] == [True, False, True, False, False, True, False, False]
    assert found[0][1] == [False, True, *[False] * 6]


def test_csv_of_several_videos(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", count=5)
    write_frames(tmp_path / "b", boxes_of(3), "{}.png")
    text = "Video, Frame, x, y, w, h, label\na.mp4,0,0,0,2,48,bar\na.mp4,3,6,0,2,48,bar\n"
    put(tmp_path / "all.csv", text + "b,1,12,13,9,8,square\n")
    a, b = read_dataset(tmp_path)
    assert (a.name, a.category, len(a)) == ("a", "bar", 4)
    assert a.labelled.tolist() == [True, False, False, True]
    assert number_of(a.frames[3]) == 3
    assert (b.name, b.category, len(b)) == ("b", "square", 3)
    put(tmp_path / "all.csv", text + "b,-1,12,13,9,8,square\nb,1,12,x,9,8,\nb,7,1,1,1,1,\n")
    findings = Findings(strict=False)
    for entry in read_dataset(tmp_path).entries:
        entry.load(findings)
    assert [sentence.partition(":")[0].rpartition(", ")[2] for sentence in findings.wrong] == [
        "line 4", "line 5", "object 1",
    ]  # fmt: skip
    assert "frame 7 is labelled, but there are 3 frames" in findings.wrong[2]


@pytest.mark.parametrize(
    ("row", "refused"),
    [("b,0,x,1,2,3", "b"), ("b,1,1,1,2,3", "b"), ("c,0,x,1,2,3", "ab"), ("a,-1,1,1,2,3", "a")],
)
def test_a_bad_line_of_an_export_costs_its_own_sequence(
    row: str, refused: str, tmp_path: Path
) -> None:
    """Of one that cannot be told whose it is, all: each may lack the label that it was."""
    for name in "ab":
        write_frames(tmp_path / name, boxes_of(3), "{}.png")
    text = "video,frame,x,y,w,h\na,0,1,1,9,9\na,1,1,1,9,9\nb,1,1,1,9,9\nb,2,1,1,9,9\n"
    put(tmp_path / "all.csv", f"{text}{row}\n")
    for entry in read_dataset(tmp_path).entries:
        if entry.name in refused:
            with pytest.raises(DataError, match="line 6"):
                entry.load(Findings())
        else:
            entry.load(Findings())
    collected = Findings(strict=False)
    for entry in read_dataset(tmp_path).entries:
        entry.load(collected)
    assert len(collected.wrong) == 1


def test_mot_counts_pixels_from_1_and_cvats_from_0(tmp_path: Path) -> None:
    lines = {1: "", 0: ""}
    for origin in lines:
        for number in range(3):
            x, y, w, h = box_of(number)
            lines[origin] += f"{number + 1},4,{x + origin},{y + origin},{w},{h},1,1,1.0\n"
        lines[origin] += "1,5,3,3,9,9,0,7,1.0\n"  # not to be counted
    for name, origin in (("MOT17-02", 1), ("cvat", 0)):
        write_frames(tmp_path / name / "img1", boxes_of(3), "{:06d}.jpg")
        put(tmp_path / name / "gt/gt.txt", lines[origin])
    put(tmp_path / "MOT17-02/seqinfo.ini", "[Sequence]\nname=MOT17-02\nimDir=img1\n")
    put(tmp_path / "cvat/gt/labels.txt", "square\nother\n")
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.names) == ("mot", ["cvat", "MOT17-02"])
    for sequence in dataset:
        assert len(sequence) == 3
        assert_square_is_boxed(sequence)
    assert [one.category for one in dataset] == ["square", None]
    assert read_dataset(tmp_path / "cvat").names == ["cvat"]
    put(tmp_path / "cvat/gt/gt.txt", lines[0] + "0,4,1,1,1,1\n")
    with pytest.raises(DataError, match=r"gt\.txt, line 5: '0,4,1,1,1,1' is not frame"):
        read_dataset(tmp_path)[0]


def cvat(boxes: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>\n'
        "<meta><task><name>t</name></task><source>videos/clip.mp4</source></meta>\n"
        f'<track id="0" label="cup">\n{boxes}</track></annotations>'
    )


def cvat_box(frame: int, box: Box, outside: int = 0) -> str:
    x, y, w, h = box
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="1" xtl="{x}" ytl="{y}" '
        f'xbr="{x + w}" ybr="{y + h}" z_order="0"></box>\n'
    )


def test_cvat_key_frames_are_joined_by_straight_lines(tmp_path: Path) -> None:
    write_frames(tmp_path / "images", boxes_of(1) * 8, "frame_{:06d}.PNG", first=0)
    keys = [(0, (0, 0, 4, 4), 0), (2, (4, 8, 8, 4), 0), (4, (4, 8, 8, 4), 1), (6, (9, 9, 1, 1), 0)]
    put(tmp_path / "annotations.xml", cvat("".join(cvat_box(*key) for key in keys)))
    (sequence,) = read_dataset(tmp_path)
    assert (sequence.name, sequence.category, len(sequence)) == ("clip", "cup", 8)
    np.testing.assert_allclose(sequence.boxes[1], (2, 4, 6, 4))
    np.testing.assert_allclose(sequence.boxes[3], (4, 8, 8, 4))
    assert sequence.absent.tolist() == [False] * 4 + [True] * 2 + [False] * 2
    assert sequence.labelled.tolist() == [True] * 4 + [False] * 2 + [True, False]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.xml", cvat('<box frame="0"/>'), r"a\.xml, line 5: a box needs frame"),
        ("a.xml", cvat("</box>"), r"a\.xml, line 5: it is no XML"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]>' + cvat(""), "defines entities"),
        ("a.xml", cvat(""), "holds no box"),
        ("a.csv", "frame,x,y,w\n", r"a\.csv, line 1: its header lacks h"),
        ("a.json", "{\n,", r"a\.json, line 2: it is no JSON"),
        ("a.json", '{"images": []}', "is no COCO-video file"),
        ("a.csv", "frame,x,y,w,h\n0,1,1,2,2\n", "no frames of .*; looked for a.mp4, a, a/img"),
    ],
)
def test_exports_that_cannot_be_read(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    put(tmp_path / name, text)
    with pytest.raises(DataError, match=sentence):
        list(read_dataset(tmp_path / name))


def test_cocovid_pictures_by_their_names_and_bad_annotations(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames/v", boxes_of(3), "{}.jpg", first=10)
    images = [
        {"id": 5 + i, "video_id": 1, "frame_id": i, "file_name": f"v/{10 + i}.jpg"}
        for i in range(3)
    ]
    notes = [
        {"id": 1, "image_id": 7, "track_id": 3, "category_id": 2, "bbox": list(box_of(2))},
        {"id": 2, "image_id": 99, "track_id": 3, "category_id": 2, "bbox": [1, 1, 1, 1]},
    ]
    content = {"videos": [{"id": 1, "name": "v"}], "images": images, "annotations": notes}
    content["categories"] = [{"id": 2, "name": "cup"}]
    put(tmp_path / "labels.json", json.dumps(content))
    findings = Findings(strict=False)
    sequence = read_dataset(tmp_path).entries[0].load(findings)
    assert findings.wrong == [f"{tmp_path / 'labels.json'}: annotation 2: KeyError(99)"]
    assert (sequence.name, len(sequence), sequence.category) == ("v", 3, "cup")
    assert_square_is_boxed(sequence)
