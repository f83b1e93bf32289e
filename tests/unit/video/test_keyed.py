"""What label tools have made of results is read back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mixformerv2.box import Box
from mixformerv2.errors import ConfigError, DataError
from mixformerv2.tracking.result import TrackResult
from mixformerv2.video.formats import FORMATS, export
from mixformerv2.video.formats.journal import Journal, JournalWriter, RunHeader
from mixformerv2.video.formats.keyed import Keyed, read_keyed

SIZE = (200, 100)
LOST = (4, 5)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Two objects in ten frames; the second is lost in two of them."""
    header = RunHeader("clip.mp4", *SIZE, 25.0, labels=("cup", 'the "cat" <&>'))
    with JournalWriter(tmp_path / "run.jsonl", header) as writer:
        for frame in range(10):
            for number in (1, 2):
                box = (1 / 3 + frame * number, 20.0 + frame, 30.0, 40.5)
                lost = number == 2 and frame in LOST
                state = "lost" if lost else "tracked"
                writer.write(number, TrackResult(box, 0.9, state, frame, frame / 25))
        writer.end("source", frames=10, broken=0)
    return Journal(tmp_path / "run.jsonl")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_as_it_was_written(journal: Journal, form: str) -> None:
    path = journal.path.with_name("out" + FORMATS[form].suffixes[0])
    export(journal, path)
    objects = read_keyed(path, SIZE)
    tells = form in ("cvat", "labelstudio")
    names = {"csv": [None, None], "mot": [None, None]}.get(form, list(journal.header.labels))
    assert [(one.label, one.tells) for one in objects] == [(name, tells) for name in names]
    for number, one in enumerate(objects, 1):
        rows = {row.result.frame: row.result for row in journal if row.id == number}
        assert list(one.keys) == list(rows)
        for frame, box in one.keys.items():
            assert (box is None) == (tells and rows[frame].state == "lost")
            assert box is None or box == pytest.approx(rows[frame].box, abs=1e-9)


def test_a_name_of_json_may_be_of_either_tool(journal: Journal) -> None:
    for form in ("coco", "labelstudio"):
        path = journal.path.with_name("project-7.json")
        export(journal, path, form)
        assert read_keyed(path, SIZE)[1].tells == (form == "labelstudio")


CVAT = """<annotations>
<track id="3" label="cup">
  <box frame="40" keyframe="1" outside="0" xtl="1.00" ytl="2.00" xbr="11.00" ybr="22.00"/>
  <box frame="42" keyframe="0" outside="0" xtl="2.00" ytl="2.00" xbr="12.00" ybr="22.00"/>
  <box frame="44" keyframe="1" outside="1" xtl="3.00" ytl="2.00" xbr="13.00" ybr="22.00"/>
</track>
<track id="4" label="road"><polygon frame="0" keyframe="1" points="1,2;3,4;5,6"/></track>
</annotations>"""


@pytest.mark.parametrize("kind", ["xml", "zip"])
def test_of_cvat_key_frames_are_taken_and_rectangles_alone(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"task.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("annotations.xml", CVAT)
            archive.writestr("images/frame_000000.png", b"")
    else:
        path.write_text(CVAT)
    assert read_keyed(path, SIZE) == [Keyed("cup", {40: Box(1, 2, 10, 20), 44: None})]
    assert "1 tracks are of no rectangles" in caplog.text


def _task(**parts: Any) -> list[dict[str, Any]]:
    return [{"id": 1, "data": {"video": "clip.mp4"}, **parts}]


def _made(x: float, **more: Any) -> dict[str, Any]:
    key = {"frame": 3, "enabled": True, "x": x, "y": 20, "width": 10, "height": 30}
    value = {"sequence": [key | more.pop("key", {})], "labels": ["cup"]}
    choice = {"type": "choices", "value": {"choices": ["day"]}}
    return {"result": [choice, {"type": "videorectangle", "value": value}], **more}


def test_of_label_studio_the_last_annotation_that_stands_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "project.json"
    predicted = [_made(1)]
    made = [_made(2), _made(50), _made(3, was_cancelled=True)]
    path.write_text(json.dumps(_task(annotations=made, predictions=predicted)))
    assert read_keyed(path, SIZE) == [Keyed("cup", {2: Box(100, 20, 20, 30)})]
    path.write_text(json.dumps(_task(annotations=made[2:], predictions=predicted)))
    assert read_keyed(path, SIZE) == [Keyed("cup", {2: Box(2, 20, 20, 30)})]


TURNED = CVAT.replace('frame="40"', 'frame="40" rotation="12.5"')


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.xml", "<annotations><image id='0'/></annotations>", "export it as CVAT for video 1.1"),
        ("a.xml", "<annotations>", "not read as CVAT for video 1.1 XML: no element found"),
        ("a.xml", TURNED, "frame 40 is turned by 12.5 degrees; .* set its rotation to 0"),
        ("a.xml", CVAT.replace('xtl="1.00"', 'xtl="nan"'), "not finite"),
        ("a.xml", CVAT.replace('xtl="1.00"', ""), "it lacks 'xtl'"),
        ("a.xml", CVAT.replace('frame="40"', 'frame="-1"'), "a box is of frame -1"),
        ("a.xml", "<annotations/>", "holds no box of any object"),
        ("a.xml", "", "not read as CVAT"),
        ("a.zip", "PK", "not read as CVAT"),
        ("a.json", "{", "not read as COCO"),
        ("a.json", "[]", "it holds 0 tasks"),
        ("a.json", "[1]", "not read as Label Studio"),
        ("a.json", json.dumps(_task(box=[])), "use JSON, not JSON-MIN"),
        (
            "a.json",
            json.dumps(_task(annotations=[_made(1, key={"rotation": 3})])),
            "is turned by 3",
        ),
        ("a.json", json.dumps({"images": [], "annotations": []}), "plain COCO knows no tracks"),
        ("a.json", "[" * 100_000, "not read as Label Studio"),
        ("a.csv", "x,y,w,h\n1,2,3,4\n", "it lacks 'frame'"),
        ("a.csv", "frame,x,y,w,h\n0,1,2,3\n", "not read as frame, time"),
        ("a.csv", "", "holds no box"),
        ("a.mot", "1,2,3\n", "not read as MOT"),
        ("a.mot", "0,1,2,3,4,5\n", "a box is of frame -1"),
        ("a.mot", "inf,1,2,3,4,5\n", "not read as MOT.*infinity"),
        ("a.csv", f"frame,x,y,w,h\n{'9' * 200_000},1,2,3,4\n", "field larger than"),
        ("a.json", json.dumps(_task(annotations=[_made(10**400)])), "too large"),
        ("a.jsonl", "{}\n", "is no journal"),
        ("a.csv", None, "cannot be read: No such file"),
        ("a.zip", None, "cannot be read: No such file"),
        ("a.json", None, "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, name: str, content: str | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_keyed(tmp_path / name, SIZE)


def test_an_archive_without_annotations_or_with_far_too_many_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "task.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/0.png", b"")
    with pytest.raises(DataError, match=r"there is no annotations\.xml in it"):
        read_keyed(path, SIZE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", b" " * (1 << 20) + b" ")
    monkeypatch.setattr("mixformerv2.video.formats.cvat.LARGEST", 1 << 20)
    with pytest.raises(DataError, match=r"annotations\.xml has more than 1 MiB"):
        read_keyed(path, SIZE)


def test_a_damaged_archive_is_said(tmp_path: Path) -> None:
    path = tmp_path / "task.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", CVAT * 20)
    data = bytearray(path.read_bytes())
    start = 30 + len("annotations.xml")
    data[start : start + 40] = b"\xff" * 40  # what is packed, with its head and its list whole
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"task\.zip is not read as CVAT"):
        read_keyed(path, SIZE)


def test_a_suffix_of_no_format_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"use one of .*\.xml.* or \.zip \(CVAT\)"):
        read_keyed(tmp_path / "a.docx", SIZE)
