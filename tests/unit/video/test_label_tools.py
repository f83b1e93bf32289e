"""What label tools are told beside the boxes: names of objects, and few keys."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from mixformerv2.errors import ConfigError, DataError
from mixformerv2.tracking.result import TrackResult
from mixformerv2.video.formats import export
from mixformerv2.video.formats.journal import Journal, JournalWriter, RunHeader
from tests.journals import written

HEADER = RunHeader("clip.mp4", 200, 100, 25.0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    with JournalWriter(tmp_path / "run.jsonl", HEADER) as writer:
        for frame in range(2):
            for number in (1, 2):
                box = (10.0 * number, 20.0 + frame, 30.0, 40.0)
                writer.write(number, TrackResult(box, 0.9, "tracked", frame, frame / 25))
        writer.end("source", frames=2, broken=0)
    return Journal(tmp_path / "run.jsonl")


def test_a_thinned_journal_leads_label_tools_by_every_box(tmp_path: Path) -> None:
    frames = [*range(40), *range(50, 90)]
    lost = {20, 21, 22, 50, 51, 60}
    with JournalWriter(tmp_path / "run.jsonl", HEADER) as writer:
        for frame in frames:
            box = (frame * 1.5, 40 + 20 * np.sin(frame / 9), 20.0, 10 + frame / 8)
            state = "lost" if frame in lost else "tracked"
            writer.write(1, TrackResult(box, 0.9, state, frame, frame / 25))
        writer.end("source", frames=95, broken=0)
    journal = Journal(tmp_path / "run.jsonl")
    tree = ET.fromstring(written(journal.thinned(1.0), "cvat"))
    keys = [{name: float(value) for name, value in box.attrib.items()} for box in tree.iter("box")]
    assert 10 < len(keys) < 40
    hidden = [int(key["frame"]) for key in keys if key["outside"]]
    assert hidden == [20, 40, 50, 60, 90]  # where it begins to be lost, and behind each stretch
    for _, result in journal:
        before = [key for key in keys if key["frame"] <= result.frame][-1]
        assert bool(before["outside"]) == (result.frame in lost)
        if result.frame in lost:
            continue
        at = [key["frame"] for key in keys]
        x, y, w, h = result.box
        for side, truth in {"xtl": x, "ytl": y, "xbr": x + w, "ybr": y + h}.items():
            drawn = np.interp(result.frame, at, [key[side] for key in keys])
            assert drawn == pytest.approx(truth, abs=1.0 + 1e-9)
    (task,) = json.loads(written(journal.thinned(1.0), "labelstudio"))
    (one,) = task["predictions"][0]["result"]
    assert [key["frame"] - 1 for key in one["value"]["sequence"]] == [key["frame"] for key in keys]
    assert written(journal.thinned(1.0), "csv") == written(journal, "csv")
    with pytest.raises(ConfigError, match="--thin"):
        journal.thinned(-1)


def labels_of(journal: Journal) -> tuple[list[str | None], list[str], list[str]]:
    """What CVAT, COCO and Label Studio call the two objects."""
    tree = ET.fromstring(written(journal, "cvat"))
    names = [name.text for name in tree.findall("meta/task/labels/label/name")]
    tracks = [track.get("label") for track in tree.findall("track")]
    assert names == list(dict.fromkeys(tracks))
    coco = json.loads(written(journal, "coco"))
    kinds = {kind["id"]: kind["name"] for kind in coco["categories"]}
    assert [kinds[row["category_id"]] for row in coco["tracks"]] == [
        kinds[row["category_id"]] for row in coco["annotations"][:2]
    ]
    (task,) = json.loads(written(journal, "labelstudio"))
    found = [one["value"]["labels"][0] for one in task["predictions"][0]["result"]]
    return tracks, [kinds[row["category_id"]] for row in coco["tracks"]], found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["object", "object"]),
        (["cup"], ["cup", "cup"]),
        (['cat & "dog"', "Maus <3"], ['cat & "dog"', "Maus <3"]),
        (["cup", "cup"], ["cup", "cup"]),
    ],
)
def test_objects_are_called_what_they_are(
    journal: Journal, given: list[str], expected: list[str]
) -> None:
    assert labels_of(journal.labelled(given)) == (expected, expected, expected)
    copied = journal.path.with_name("copy.jsonl")
    export(journal.labelled(given), copied)
    assert labels_of(Journal(copied)) == (expected, expected, expected)


@pytest.mark.parametrize("given", [["a", "b", "c"], [""], ["  "], ["a\nb"], ["a\x00", "b"]])
def test_labels_that_cannot_be(journal: Journal, given: list[str]) -> None:
    with pytest.raises(ConfigError, match="--label"):
        journal.labelled(given)


@pytest.mark.parametrize("labels", [1, "cup", "", {}, [1], ["\x00"], None])
def test_labels_of_a_damaged_header(journal: Journal, labels: object) -> None:
    first, *rest = journal.path.read_text().splitlines()
    first = json.dumps({**json.loads(first), "labels": labels})
    journal.path.write_text("\n".join([first, *rest]))
    with pytest.raises(DataError, match="first line is damaged"):
        Journal(journal.path)
