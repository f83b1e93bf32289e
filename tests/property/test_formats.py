"""No format rounds: what was tracked can be read back from each, to the last bit of a float."""

from __future__ import annotations

import csv
import json
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixformerv2.tracking.result import TrackResult
from mixformerv2.video.formats import export
from mixformerv2.video.formats.journal import Journal, JournalWriter, RunHeader

pixels = st.floats(-1e5, 1e5)
results = st.lists(
    st.builds(
        TrackResult,
        box=st.tuples(pixels, pixels, st.floats(0, 1e5), st.floats(0, 1e5)),
        score=st.floats(0, 1),
        state=st.sampled_from(["tracked", "uncertain", "lost"]),
        frame=st.just(0),
        time=st.floats(0, 1e6),
    ),
    min_size=1,
    max_size=5,
)
sizes = st.integers(1, 10_000)


def run(folder: Path, tracked: list[TrackResult], width: int = 640) -> Journal:
    """A journal of one object, a result a frame."""
    with JournalWriter(folder / "run.jsonl", RunHeader("clip.mp4", width, 360, 30.0)) as writer:
        for frame, one in enumerate(tracked):
            writer.write(1, TrackResult(one.box, one.score, one.state, frame, one.time))
        writer.end("source", frames=len(tracked), broken=0)
    return Journal(folder / "run.jsonl")


@settings(max_examples=40, deadline=None)
@given(tracked=results)
def test_exact_in_journal_csv_and_coco(tracked: list[TrackResult]) -> None:
    with tempfile.TemporaryDirectory() as name:
        journal = run(Path(name), tracked)
        read = [(row.result.box, row.result.score, row.result.time) for row in journal]
        assert read == [(one.box, one.score, one.time) for one in tracked]

        export(journal, f"{name}/out.csv")
        with open(f"{name}/out.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        assert [tuple(float(line[key]) for key in "xywh") for line in lines] == [
            one.box for one in tracked
        ]
        assert [float(line["score"]) for line in lines] == [one.score for one in tracked]

        export(journal, f"{name}/out.json")
        content = json.loads(Path(f"{name}/out.json").read_text())
        assert [tuple(one["bbox"]) for one in content["annotations"]] == [
            one.box for one in tracked
        ]


@settings(max_examples=40, deadline=None)
@given(tracked=results, width=sizes)
def test_as_exact_as_a_float_can_be_where_the_format_counts_otherwise(
    tracked: list[TrackResult], width: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        journal = run(Path(name), tracked, width)

        export(journal, f"{name}/out.mot")
        lines = [line.split(",") for line in Path(f"{name}/out.mot").read_text().splitlines()]
        for frame, (line, one) in enumerate(zip(lines, tracked, strict=True)):
            x, y, w, h = one.box
            assert [int(value) for value in line[:2]] == [frame + 1, 1]
            assert [float(value) for value in line[2:7]] == [x + 1, y + 1, w, h, one.score]

        export(journal, f"{name}/out.xml")
        boxes = ET.parse(f"{name}/out.xml").getroot().findall("track/box")
        for box, one in zip(boxes, tracked, strict=True):
            x, y, w, h = one.box
            corners = [float(box.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr")]
            assert corners == [x, y, x + w, y + h]
            assert (box.attrib["outside"] == "1") == (one.state == "lost")

        export(journal, f"{name}/out.labelstudio.json")
        (task,) = json.loads(Path(f"{name}/out.labelstudio.json").read_text())
        keys = task["predictions"][0]["result"][0]["value"]["sequence"]
        for key, one in zip(keys, tracked, strict=True):
            assert key["x"] * width / 100 == pytest.approx(one.box[0], rel=1e-15, abs=1e-12)
            assert key["width"] * width / 100 == pytest.approx(one.box[2], rel=1e-15, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(tracked=results, cut=st.floats(0, 1))
def test_a_journal_cut_anywhere_gives_its_whole_lines(
    tracked: list[TrackResult], cut: float
) -> None:
    with tempfile.TemporaryDirectory() as name:
        journal = run(Path(name), tracked)
        data = journal.path.read_bytes()
        first = data.index(b"\n") + 1
        end = first + round(cut * (len(data) - first))
        journal.path.write_bytes(data[:end])
        whole = data[:end].count(b"\n") - 1
        # Without its newline the last line may still be whole.
        found = [row.result.box for row in Journal(journal.path)]
        assert found in ([one.box for one in tracked[:n]] for n in (whole, whole + 1))
