"""`track`: which files a run writes, and what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.box import Box
from mixformerv2.cli import track
from mixformerv2.cli.ending import finish, report
from mixformerv2.cli.follow import Outputs, Summary, prove_outputs
from mixformerv2.cli.main import main
from mixformerv2.cli.outputs import plan_outputs, refuse_overwriting
from mixformerv2.errors import ConfigError, MixFormerError, OutputError, SourceError
from mixformerv2.runtime.base import EngineInfo
from mixformerv2.video.formats.journal import RunHeader, dump_header


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    return tmp_path


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


@pytest.mark.parametrize(
    ("video", "boxes", "form", "expected"),
    [
        (None, [], None, ("clip_tracked.jsonl", "clip_tracked.mp4", [])),
        ("a.mp4", [], None, ("a.jsonl", "a.mp4", [])),
        ("dir", [], None, ("dir/clip_tracked.jsonl", "dir/clip_tracked.mp4", [])),
        (None, ["b.jsonl"], None, ("b.jsonl", None, [])),
        (None, ["b.csv"], None, ("b.jsonl", None, [("b.csv", "csv")])),
        ("dir/a.mp4", ["b.csv"], None, ("b.jsonl", "dir/a.mp4", [("b.csv", "csv")])),
        (
            None,
            ["b.labelstudio.json"],
            None,
            ("b.jsonl", None, [("b.labelstudio.json", "labelstudio")]),
        ),
        (None, ["b.v1.data"], "mot", ("b.v1.jsonl", None, [("b.v1.data", "mot")])),
        (
            None,
            [],
            "cvat",
            ("clip_tracked.jsonl", "clip_tracked.mp4", [("clip_tracked.xml", "cvat")]),
        ),
        (None, ["b.csv", "dir/c.jsonl"], None, ("dir/c.jsonl", None, [("b.csv", "csv")])),
        (None, ["/dev/null"], "csv", ("clip_tracked.jsonl", None, [("/dev/null", "csv")])),
        (None, ["-"], "csv", ("clip_tracked.jsonl", None, [("-", "csv")])),
        (None, ["/dev/fd/1"], "csv", ("clip_tracked.jsonl", None, [("/dev/fd/1", "csv")])),
        ("a.mp4", ["/dev/stdout"], "csv", ("a.jsonl", "a.mp4", [("/dev/stdout", "csv")])),
        (None, ["-"], "jsonl", ("-", None, [])),
        (None, ["-", "b.csv"], "jsonl", ("b.csv", None, [("-", "jsonl")])),
    ],
)
def test_which_files_are_written(
    video: str | None,
    boxes: list[str],
    form: str | None,
    expected: tuple[str, str | None, list[tuple[str, str]]],
) -> None:
    outputs = plan_outputs("clip.mp4", Path(video) if video else None, paths(*boxes), form)
    journal, film, exports = expected
    assert outputs == Outputs(
        Path(journal), Path(film) if film else None, tuple((Path(p), f) for p, f in exports)
    )


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("clip.mp4", "clip"),
        ("my holiday.2024.mkv", "my holiday.2024"),
        ("camera 0", "camera 0"),
        ("rtsp://cam.local:554/live/stream1", "stream1"),
        ("http://host/a%20b.mp4", "a_20b"),
        ("http://host/", "host"),
        ("...", "video"),
        ("名" * 83 + ".mp4", "名" * 73),  # a name has 255 bytes at most
    ],
)
def test_names_are_made_from_the_source(name: str, stem: str) -> None:
    assert plan_outputs(name, None, [], None).journal == Path(f"{stem}_tracked.jsonl")


@pytest.mark.parametrize(
    ("video", "boxes", "form", "kind", "sentence"),
    [
        ("a.avi", [], None, ConfigError, "are written as .mp4, .m4v or .mov; rename it"),
        ("new", [], None, ConfigError, "; name one, or make that folder first"),
        ("no/a.mp4", [], None, OutputError, "there is no folder no"),
        (None, ["no/a.csv"], None, OutputError, "there is no folder no"),
        (None, ["dir"], "csv", OutputError, "dir is a folder"),
        (None, ["a.foo"], None, ConfigError, "stands for no format"),
        (None, ["a.csv"], "zip", ConfigError, "no format 'zip'"),
        (None, ["a.csv", "./a.csv"], None, ConfigError, "same name"),
        (None, ["a.jsonl", "b.jsonl"], None, None, ""),
    ],
)
def test_what_cannot_be_written(
    video: str | None,
    boxes: list[str],
    form: str | None,
    kind: type[MixFormerError] | None,
    sentence: str,
) -> None:
    def plan() -> Outputs:
        return plan_outputs("clip.mp4", Path(video) if video else None, paths(*boxes), form)

    if kind is None:
        assert plan().exports == ((Path("b.jsonl"), "jsonl"),)
    else:
        with pytest.raises(kind, match=sentence):
            plan()


@pytest.mark.parametrize("boxes", [["clip_tracked.csv"], []])
def test_a_journal_that_nobody_named_replaces_a_journal_alone(boxes: list[str]) -> None:
    journal = Path("clip_tracked.jsonl")
    journal.write_text('{"note": 1}')
    with pytest.raises(OutputError, match=r"clip_tracked.jsonl would be replaced .* and is none"):
        plan_outputs("clip.mp4", None, paths(*boxes), None)
    assert plan_outputs("clip.mp4", None, [journal], None).replaced == ()  # named
    for text in ("", dump_header(RunHeader("clip.mp4", 64, 48))):
        journal.write_text(text)
        assert plan_outputs("clip.mp4", None, paths(*boxes), None).replaced == (journal,)


@pytest.mark.parametrize("video", [None, Path("a" * 300 + ".mp4")])
def test_a_name_that_is_too_long_is_said(here: Path, video: Path | None) -> None:
    boxes = [] if video else [Path("a" * 300 + ".csv")]
    outputs = plan_outputs("clip.mp4", video, boxes, None)
    refuse_overwriting("clip.mp4", [], outputs)
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        prove_outputs(outputs, (64, 48))


def test_the_input_is_not_overwritten(here: Path) -> None:
    Path("clip.mp4").touch()
    Path("boxes.txt").touch()
    Path("link.mp4").symlink_to("clip.mp4")
    for outputs in (Outputs(Path("a.jsonl"), Path("link.mp4")), Outputs(Path("boxes.txt"))):
        with pytest.raises(OutputError, match="is the input itself"):
            refuse_overwriting("clip.mp4", ["1,2,3,4", "boxes.txt"], outputs)
    refuse_overwriting("clip.mp4", ["1,2,3,4"], Outputs(Path("a.jsonl"), Path("b.mp4")))


@pytest.mark.parametrize(("words", "without"), [([], False), (["--without-lost"], True)])
def test_lost_rows_are_left_out_when_asked(
    monkeypatch: pytest.MonkeyPatch, words: list[str], without: bool
) -> None:
    planned: list[Outputs] = []

    def follow(
        source: object, boxes: object, outputs: Outputs, *rest: object, **more: object
    ) -> Summary:
        planned.append(outputs)
        return Summary(EngineInfo("onnx", "fp32", 2))

    monkeypatch.setattr(track, "follow_with_progress", follow)
    cv2.imwrite("1.png", np.zeros((8, 8, 3), np.uint8))
    assert main(["track", "1.png", "--box", "1,1,4,4", "--boxes", "a.csv", *words]) == 0
    assert [outputs.without_lost for outputs in planned] == [without]


@pytest.mark.parametrize("words", [["track", "1.png", "--select"], ["demo", "--video", "1.png"]])
def test_the_page_for_the_box_can_have_a_port(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    asked: list[int] = []

    def select_boxes(image: object, *, title: str, port: int) -> list[Box]:
        asked.append(port)
        raise SourceError("far enough")

    monkeypatch.setattr("mixformerv2.serve.select.select_boxes", select_boxes)
    cv2.imwrite("1.png", np.zeros((8, 8, 3), np.uint8))
    assert main([*words, "--port", "8400"]) == main(words) == SourceError.exit_code
    assert asked == [8400, 0]


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--model", "nosuch"], 6), (["--out", "/proc/v.mp4"], 5), (["--label", " "], 2)],
)
def test_nobody_draws_a_box_in_vain(
    words: list[str], code: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def select_boxes(*_: object, **__: object) -> list[Box]:
        raise AssertionError("asked for a box")

    monkeypatch.setattr("mixformerv2.serve.select.select_boxes", select_boxes)
    cv2.imwrite("1.png", np.zeros((8, 8, 3), np.uint8))
    assert main(["track", "1.png", "--select", *words]) == code


@pytest.mark.parametrize("where", [["--box", "1,1,4,4"], ["--prompt", "0:1,1,4,4"]])
def test_more_labels_than_objects_are_refused(
    where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite("1.png", np.zeros((8, 8, 3), np.uint8))
    assert main(["track", "1.png", *where, "--label", "cat", "--label", "dog"]) == 2
    assert "--label is there 2 times and objects are 1" in capsys.readouterr().err


def test_a_port_without_a_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "1.png", "--box", "1,1,4,4", "--port", "8400"]) == 2
    assert "add --select" in capsys.readouterr().err


def test_the_report() -> None:
    engine = EngineInfo("onnx", "fp32", 2)
    summary = Summary(engine, frames=101, broken=1, dropped=2, seconds=2.0, tracking=0.5)
    summary.states = {1: Counter(tracked=90, lost=11), 2: Counter(tracked=101)}
    summary.signal = 2
    outputs = Outputs(Path("a.jsonl"), Path("a.mp4"), ((Path("a.csv"), "csv"),))
    assert report("clip.mp4", "t", summary, outputs) == [
        "clip.mp4: 101 frames in 2.0 s, 50 a second (tracker alone 198); model t, onnx fp32; "
        "stopped by SIGINT",
        "target 1: tracked in 90, lost in 11",
        "target 2: tracked in 101",
        "1 frame could not be decoded",
        "2 frames came too fast and were left out",
        "video: a.mp4",
        "csv: a.csv",
        "journal: a.jsonl",
    ]
    summary.drawn = False
    outputs = Outputs(Path("a.jsonl"), Path("a.mp4"), replaced=(Path("a.jsonl"),))
    assert report("clip.mp4", "t", summary, outputs)[-2:] == [
        "no video: the run was stopped before it was drawn",
        "journal: a.jsonl, in place of that of an earlier run",
    ]


@pytest.mark.parametrize(
    "outputs", [Outputs(Path("-")), Outputs(Path("a"), None, ((Path("-"), "csv"),))]
)
def test_the_report_keeps_out_of_results_on_stdout(
    outputs: Outputs, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = Summary(EngineInfo("onnx", "fp32", 2))
    finish("clip.mp4", "clip.mp4", "t", summary, outputs, sound=True, quiet=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "clip.mp4: 0 frames" in printed.err
