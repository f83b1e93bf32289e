"""`track --corrected`: what somebody has mended in a label tool is tracked anew, the rest stays."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer

from mixformerv2.cli.track import run
from mixformerv2.errors import BoxError, ConfigError, DataError, OutputError, SourceError
from mixformerv2.tracking import Tracker, TrackResult
from mixformerv2.video import open_source
from mixformerv2.video.formats import export
from mixformerv2.video.formats.journal import Journal
from tests.doubles import moving_square

COUNT = 9


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(COUNT):
        cv2.imwrite(str(folder / f"{number}.png"), moving_square()(number))
    return folder


@pytest.fixture
def options(small_bundle: Path) -> dict[str, Any]:
    return {"model": str(small_bundle), "engine": "onnx"}


@pytest.fixture
def before(frames: Path, tmp_path: Path, options: dict[str, Any]) -> Path:
    """A run with two objects, of which none was lost, and what it gave a label tool."""
    journal = tmp_path / "run.jsonl"
    given = ["20,40,24,24", "60,10,20,20"]
    run(str(frames), box=given, boxes=[journal], label=["cup", "cat"], quiet=True, **options)
    # Random weights lose everything.
    journal.write_text(re.sub(r'"(lost|uncertain)"', '"tracked"', journal.read_text()))
    export(Journal(journal), tmp_path / "run.xml")
    return journal


def rows(journal: Path, number: int) -> dict[int, TrackResult]:
    return {row.result.frame: row.result for row in Journal(journal) if row.id == number}


def mend(before: Path, track: int, frame: int, change: str) -> Path:
    """Change the attributes of one box of the XML, as a label tool does."""
    head, *tracks = re.split(r"(?=<track )", before.with_suffix(".xml").read_text())
    lines = tracks[track].splitlines(keepends=True)
    for index, line in enumerate(lines):
        if f'frame="{frame}"' in line:
            for name, value in re.findall(r'(\w+)="([^"]*)"', change):
                line = re.sub(rf'{name}="[^"]*"', f'{name}="{value}"', line)
            lines[index] = line
    tracks[track] = "".join(lines)
    path = before.with_name("fixed.xml")
    path.write_text(head + "".join(tracks))
    return path


MOVED = 'xtl="30" ytl="40" xbr="54" ybr="64"'


def test_an_object_is_tracked_from_its_corrected_box_and_others_stay(
    frames: Path,
    before: Path,
    tmp_path: Path,
    options: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fixed, after, film = mend(before, 0, 5, MOVED), tmp_path / "a.jsonl", tmp_path / "a.mp4"
    outputs: dict[str, Any] = {"boxes": [after, tmp_path / "a.xml"], "out": film}
    run(str(frames), corrected=fixed, before=before, **outputs, **options)
    told = capsys.readouterr().out
    assert "target 1: 1 box corrected, tracked anew\ntarget 2: as it was\n" in told
    assert rows(after, 2) == rows(before, 2)
    found = rows(after, 1)
    assert list(found) == list(range(COUNT))
    assert (found[5].box, found[5].score) == ((30, 40, 24, 24), 1.0)
    assert found[0] == rows(before, 1)[0]
    # Frame by frame what two given boxes on the command line come to.
    prompts = ["0:20,40,24,24", "5:30,40,24,24"]
    run(str(frames), prompt=prompts, boxes=[tmp_path / "b.jsonl"], quiet=True, **options)
    assert found == rows(tmp_path / "b.jsonl", 1)
    assert Journal(after).header.labels == ("cup", "cat")
    with open_source(film) as source:
        assert sum(frame.image is not None for frame in source) == COUNT
    # The mended run is the one to be mended next: what was corrected stays.
    again = tmp_path / "again.jsonl"
    second = mend(tmp_path / "a.jsonl", 0, 2, 'xtl="25" ytl="41" xbr="49" ybr="65"')
    run(str(frames), corrected=second, before=after, boxes=[again], quiet=True, **options)
    given = [frame for frame, result in rows(again, 1).items() if result.score == 1.0]
    assert given == [0, 2, 5]
    assert sorted(Journal(again).header.given) == [(1, 0), (1, 2), (1, 5), (2, 0)]


def test_every_object_that_was_corrected_is_tracked_by_a_read_of_its_own(
    frames: Path, before: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    mend(before, 0, 5, MOVED).rename(before.with_suffix(".xml"))
    fixed = mend(before, 1, 7, 'xtl="63" ytl="12" xbr="83" ybr="32"')
    after = tmp_path / "a.jsonl"
    run(str(frames), corrected=fixed, before=before, boxes=[after], quiet=True, **options)
    assert [row.result.frame for row in Journal(after)] == [f for f in range(COUNT) for _ in "12"]
    assert rows(after, 1)[5].score == rows(after, 2)[7].score == 1.0
    plain = tmp_path / "plain.jsonl"
    prompts = ["0:60,10,20,20", "7:63,12,20,20"]
    run(str(frames), prompt=prompts, boxes=[plain], quiet=True, **options)
    assert rows(after, 2) == rows(plain, 1)


def test_where_somebody_has_hidden_an_object_it_is_lost(
    frames: Path, before: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    exported = before.with_suffix(".xml")
    exported.write_text(
        mend(before, 1, 6, 'outside="1"').read_text().replace('label="cat"', 'label="dog"')
    )
    fixed = mend(before, 1, 7, 'outside="1"')
    after = tmp_path / "a.jsonl"
    run(str(frames), corrected=fixed, before=before, boxes=[after], quiet=True, **options)
    found = rows(after, 2)
    assert [f for f, one in found.items() if one.state == "lost" and one.score == 0] == [6, 7]
    assert found[8].score == 1.0  # where it is seen again somebody has looked
    assert Journal(after).header.labels == ("cup", "dog")


def test_an_object_that_begins_later_has_no_results_before(
    frames: Path, before: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    lines = mend(before, 1, 7, 'xtl="63" ytl="12" xbr="83" ybr="32"').read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if 'id="1"' in line)
    fixed = tmp_path / "late.xml"
    fixed.write_text("\n".join(lines[: start + 1] + lines[start + 4 :]))  # frames 0 to 2 are gone
    after = tmp_path / "a.jsonl"
    run(str(frames), corrected=fixed, before=before, boxes=[after], quiet=True, **options)
    assert list(rows(after, 2)) == list(range(3, COUNT))
    run(str(frames), corrected=fixed, before=before, reverse=False, boxes=[after], **options)
    assert list(rows(after, 2)) == [7, 8]
    assert list(rows(after, 1)) == list(range(COUNT))


def test_without_the_run_before_every_box_holds_and_objects_may_be_left_out(
    frames: Path,
    before: Path,
    tmp_path: Path,
    options: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "given.csv"
    table.write_text("frame,id,x,y,w,h\n2,9,24,40,24,24\n6,9,32,40,24,24\n")
    after = tmp_path / "a.jsonl"
    run(str(frames), corrected=table, boxes=[after], **options)
    assert "target 1: tracked from 2 boxes\n" in capsys.readouterr().out
    assert [frame for frame, one in rows(after, 1).items() if one.score == 1.0] == [2, 6]
    text = before.with_suffix(".xml").read_text()
    (tmp_path / "one.xml").write_text(re.sub(r"(?s)<track id=\"0\".*?</track>", "", text))
    run(str(frames), corrected=tmp_path / "one.xml", before=before, boxes=[after], **options)
    told = capsys.readouterr().out
    assert "target 2: as it was\ntarget 1: not in the corrected file, and left out\n" in told
    assert Journal(after).ids() == [2]


def test_a_signal_leaves_the_results_so_far_of_all_objects(
    frames: Path,
    before: Path,
    tmp_path: Path,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mend(before, 0, 8, MOVED).rename(before.with_suffix(".xml"))
    fixed = mend(before, 1, 4, 'xtl="63" ytl="12" xbr="83" ybr="32"')
    steps, plain = iter(range(1, 99)), Tracker.step

    def stopped(self: Tracker, *rest: Any) -> Any:
        if next(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *rest)

    monkeypatch.setattr(Tracker, "step", stopped)
    after = tmp_path / "a.jsonl"
    with pytest.raises(typer.Exit) as ended:
        run(str(frames), corrected=fixed, before=before, boxes=[after], quiet=True, **options)
    assert ended.value.exit_code == 128 + signal.SIGTERM
    found = [rows(after, number) for number in (1, 2)]
    assert found[0].keys() == set(range(4))
    assert found[1] == {}  # it had not begun


def test_a_signal_stops_whichever_object_is_tracked(
    frames: Path,
    before: Path,
    tmp_path: Path,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mend(before, 0, 8, MOVED).rename(before.with_suffix(".xml"))
    fixed = mend(before, 1, 8, 'xtl="63" ytl="12" xbr="83" ybr="32"')
    steps, plain = list[int](), Tracker.step

    def stopped(self: Tracker, *rest: Any) -> Any:
        steps.append(len(steps))
        if len(steps) == 16:  # the first is there by both ways, of 7 each, and the second begins
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *rest)

    monkeypatch.setattr(Tracker, "step", stopped)
    given: dict[str, Any] = {"boxes": [tmp_path / "a.jsonl"], "quiet": True, **options}
    with pytest.raises(typer.Exit):
        run(str(frames), corrected=fixed, before=before, **given)
    assert len(steps) == 16


@pytest.mark.parametrize(
    ("change", "given", "kind", "sentence"),
    [
        ('frame="5"', {"box": ["1,2,3,4"]}, ConfigError, "--corrected names its frames itself"),
        ('frame="5"', {"prompt": ["0:1,2,3,4"]}, ConfigError, "one of --prompt and --corrected"),
        ('frame="5"', {"corrected": None}, ConfigError, "say what to follow"),
        (
            'frame="5"',
            {"corrected": None, "box": ["1,2,3,4"]},
            ConfigError,
            "goes with --corrected",
        ),
        ('frame="5"', {"corrected": Path("none.xml")}, DataError, "none.xml cannot be read"),
        ('frame="5"', {"before": Path("none.jsonl")}, DataError, "none.jsonl cannot be read"),
        ('frame="77"', {}, SourceError, "has 9 pictures, and a box is given on frame 77"),
        ('xtl="900" xbr="950"', {}, BoxError, "frame 5: box .* outside the picture"),
        ('xtl="nan"', {}, DataError, "fixed.xml is not read as CVAT"),
        ('frame="5"', {"boxes": [Path("run.jsonl")]}, OutputError, "run.jsonl is the input itself"),
        ('frame="5"', {"boxes": [Path("fixed.xml")]}, OutputError, "fixed.xml is the input itself"),
        ('frame="5"', {"label": ["a", "b", "c"]}, ConfigError, "3 times and objects are 2"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_tracked(
    frames: Path,
    before: Path,
    tmp_path: Path,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    given: dict[str, Any],
    kind: type[Exception],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Tracker, "start", None)
    mend(before, 0, 5, change)
    held = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    usual: dict[str, Any] = {"corrected": Path("fixed.xml"), "before": Path("run.jsonl")}
    with pytest.raises(kind, match=sentence):
        run(str(frames), **(usual | {"boxes": [Path("a.jsonl")]} | given), quiet=True, **options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == held


def test_what_is_only_copied_ends_where_the_run_before_did(
    frames: Path,
    before: Path,
    tmp_path: Path,
    options: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    part, fixed = tmp_path / "part.jsonl", tmp_path / "part.xml"
    run(str(frames), box=["20,40,24,24"], max_frames=4, boxes=[part, fixed], quiet=True, **options)
    after = tmp_path / "a.jsonl"
    run(str(frames), corrected=fixed, before=part, boxes=[after, tmp_path / "a.xml"], **options)
    assert "target 1: as it was\n" in capsys.readouterr().out
    assert after.read_text().splitlines()[1:] == part.read_text().splitlines()[1:]
    assert (tmp_path / "a.xml").read_text() == fixed.read_text()
    assert Journal(after).header.labels == ()  # that of the XML says nothing
    head, *lines = fixed.read_text().splitlines()
    moved = [re.sub('xtl=".*?"', 'xtl="23.5"', line) if '"2"' in line else line for line in lines]
    fixed.write_text("\n".join([head, *moved]))
    run(str(frames), corrected=fixed, before=part, boxes=[after], **options)
    assert "target 1: 1 box corrected, tracked anew\n" in capsys.readouterr().out
    assert list(rows(after, 1)) == [0, 1, 2, 3]
    assert rows(after, 1)[2].box[0] == 23.5
    assert Journal(after).length() is None


def test_the_journal_of_another_video_is_refused(
    before: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "other").mkdir()
    cv2.imwrite(str(tmp_path / "other" / "0.png"), moving_square()(0)[:50])
    fixed = mend(before, 0, 5, MOVED)
    with pytest.raises(ConfigError, match=r"is of a video of .*; give the journal of this video"):
        run(str(tmp_path / "other"), corrected=fixed, before=before, **options)
