"""Boxes from the command line and from files."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from mixformerv2.cli.boxes import parse_boxes, read_boxes
from mixformerv2.errors import BoxError


@pytest.mark.parametrize(
    "text",
    ["10,20,30.5,40", "10 20 30.5 40", "(10, 20, 30.5, 40)", "[10;20;30.5;40]", "1e1,20,30.5,4e1"],
)
def test_four_numbers(text: str) -> None:
    assert parse_boxes([text]) == [(10.0, 20.0, 30.5, 40.0)]


def test_several_boxes_keep_their_order() -> None:
    assert parse_boxes(["1,2,3,4", "-5,-6,7,8"]) == [(1, 2, 3, 4), (-5, -6, 7, 8)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "neither four numbers"),
        ("1,2,3", "neither four numbers"),
        ("1,2,3,4,5", "neither four numbers"),
        ("a,b,c,d", "neither four numbers"),
        ("0x1,2,3,4", "neither four numbers"),
        ("nofile.txt", "neither four numbers"),
        ("n" * 300, "neither four numbers"),
        ("nan,1,2,3", "not finite"),
        ("1,2,inf,3", "not finite"),
        ("1e400,1,2,3", "not finite"),
        ("1,2,0,4", "above zero"),
        ("1,2,3,-4", "above zero"),
    ],
)
def test_what_is_no_box(text: str, sentence: str) -> None:
    with pytest.raises(BoxError, match=sentence):
        parse_boxes([text])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("one.txt", "1,2,3,4\n", [(1, 2, 3, 4)]),
        ("tabs.txt", "1\t2\t3\t4", [(1, 2, 3, 4)]),
        ("blanks.txt", "  1 2 3 4  \r\n", [(1, 2, 3, 4)]),
        ("truth.txt", "1,2,3,4\n5,6,7,8\n", [(1, 2, 3, 4)]),
        ("truth.csv", "frame,x,y,w,h\n0,1,2,3,4\n1,5,6,7,8\n", [(1, 2, 3, 4)]),
        ("other.csv", "id,h,w,y,x,score\n9,4,3,2,1,0.5\n", [(1, 2, 3, 4)]),
        ("mark.csv", "\ufeffframe,x,y,w,h\n0,1,2,3,4\n", [(1, 2, 3, 4)]),
        ("poly.txt", "100.5,50,160,52,158,110,99,108", [(99, 50, 61, 60)]),
        ("mot.txt", "1,1,146.0,71.0,30.0,30.0,1.0,-1,-1,-1\n", [(145, 70, 30, 30)]),
        ("gt.txt", "1,1,146,71,30,30,1,1,0.8\n", [(145, 70, 30, 30)]),
        ("two.mot", "1 1 146 71 30 30\n1 2 11 21 50 60\n", [(145, 70, 30, 30)]),
        ("two.csv", "frame,id,x,y,w,h\n0,1,1,2,3,4\n0,2,5,6,7,8\n", [(1, 2, 3, 4)]),
        ("note.txt", "# made by a careful hand\n1,2,3,4\n", [(1, 2, 3, 4)]),
        ("one.json", "[1, 2, 3, 4]", [(1, 2, 3, 4)]),
        ("two.json", "[[1, 2, 3, 4], [5, 6, 7, 8]]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
    ],
)
def test_boxes_from_a_file(
    tmp_path: Path, name: str, content: str, expected: list[tuple[float, ...]]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert parse_boxes([str(tmp_path / name)]) == expected


def test_a_file_of_many_frames_says_that_one_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "truth.txt").write_text("1,2,3,4\n5,6,7,8\n")
    with caplog.at_level(logging.WARNING):
        parse_boxes([str(tmp_path / "truth.txt")])
    assert "holds 2 boxes; the first is used" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "0,0,0,0\n0,0,0,0\n5,6,7,8\n", "1 box; the first, of frame 2 in line 3, is used"),
        ("a.csv", "frame,x,y,w,h\n9,1,2,3,4\n", "1 box; the first, of frame 9 in line 2, is used"),
        ("a.csv", "id,frame,x,y,w,h\n1,0,1,2,3,4\n2,0,5,6,7,8\n", "2 boxes; the first is used"),
        ("a.csv", "frame,x,y,w,h\n0,1,2,3,4\n", ""),
        ("a.txt", "1,2,3,4\n", ""),
    ],
)
def test_which_box_is_used_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: str, sentence: str
) -> None:
    (tmp_path / name).write_text(content)
    with caplog.at_level(logging.WARNING):
        parse_boxes([str(tmp_path / name)])
    assert sentence in caplog.text
    assert bool(sentence) == bool(caplog.text)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", "holds no box"),
        ("a.txt", b"hello\n", "holds no box"),
        ("a.txt", b"nan,nan,nan,nan\n", "holds no box"),
        ("a.txt", b"\xff\x00\x9a", "cannot be read"),
        ("a.csv", b"frame,x,y,w,h\n", "holds no box"),
        ("a.csv", b"left,top,width,height\n1,2,3,4\n", "names left, top, width, height; it must"),
        ("a.txt", b"0 0.5 0.5 0.1 0.2\n", "line 1 holds 5 numbers"),  # YOLO
        ("a.txt", b"1,2,3,4\n1,2,3\n", "line 2 holds 3 numbers"),
        ("a.json", b"[1" + b"0" * 400 + b", 1, 1, 1]", "no float can hold"),
        ("a.json", b"{}", "must hold"),
        ("a.json", b"[]", "must hold"),
        ("a.json", b"[1, 2, 3]", "four numbers"),
        ("a.json", b"[[1, 2, 3, 4], 5]", "four numbers"),
        ("a.json", b"nothing", "no JSON"),
        ("a.json", b"[" * 100_000, "no JSON"),
    ],
)
def test_files_that_hold_no_box(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BoxError, match=sentence):
        parse_boxes([str(tmp_path / name)])


def test_frames_without_a_box_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "truth.txt").write_text("1,2,3,4\nnan,nan,nan,nan\n\n0,0,0,0\n5,6,7,8\n")
    assert read_boxes(tmp_path / "truth.txt") == {0: (1, 2, 3, 4), 4: (5, 6, 7, 8)}
    (tmp_path / "truth.csv").write_text("frame,x,y,w,h\n3,1,2,3,4\n7,5,6,7,8\n")
    assert read_boxes(tmp_path / "truth.csv") == {3: (1, 2, 3, 4), 7: (5, 6, 7, 8)}


def test_of_several_targets_the_first_is_meant_in_each_frame(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("frame,id,x,y,w,h\n0,1,1,2,3,4\n0,2,5,6,7,8\n2,1,1,1,3,4\n2,2,5,5,7,8\n")
    assert read_boxes(path) == {0: (1, 2, 3, 4), 2: (1, 1, 3, 4)}


def test_one_object_of_a_json_list_is_not_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([[1, 2, 3, 4]] * 3))
    assert len(parse_boxes([str(path), "9,9,9,9"])) == 4
