"""`formats`: from a journal to every other format."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mixformerv2.cli.main import main
from mixformerv2.tracking.result import TrackResult
from mixformerv2.video.formats import FORMATS
from mixformerv2.video.formats.journal import JournalWriter, RunHeader


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    with JournalWriter(tmp_path / "run.jsonl", RunHeader("clip.mp4", 64, 48, 25.0)) as writer:
        for frame in range(3):
            writer.write(1, TrackResult((1, 2, 3, 4), 0.5, "tracked", frame, frame / 25))
    return tmp_path / "run.jsonl"


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "jsonl"])
def test_each_format_beside_the_journal(
    journal: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["formats", str(journal), "--to", name]) == 0
    target = journal.with_name("run" + FORMATS[name].suffixes[0])
    assert target.stat().st_size > 0
    assert capsys.readouterr() == (f"{name}: {target}\n", "")


def test_by_the_suffix_of_the_output(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = journal.with_name("boxes.xml")
    assert main(["formats", str(journal), "--out", str(out), "--quiet"]) == 0
    assert out.read_text().startswith("<?xml")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("out", ["-", "/dev/stdout", "/dev/fd/1"])
def test_to_stdout_come_results_and_nothing_else(
    journal: Path, out: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["formats", str(journal), "--to", "csv", "--out", out]) == 0
    printed = capfd.readouterr()
    assert [line[:2] for line in printed.out.splitlines()] == ["fr", "0,", "1,", "2,"]
    assert printed.err == f"csv: {out}\n"
    assert list(journal.parent.iterdir()) == [journal]


def test_after_a_crash(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.truncate(journal, journal.stat().st_size - 20)
    assert main(["formats", str(journal), "--to", "csv"]) == 0
    assert len(journal.with_suffix(".csv").read_text().splitlines()) == 1 + 2
    assert "its last line is cut off" in capsys.readouterr().err


def test_without_lost_rows(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with JournalWriter(journal, RunHeader("clip.mp4", 64, 48, 25.0)) as writer:
        for frame, state in enumerate(("tracked", "lost", "uncertain")):
            writer.write(1, TrackResult((1, 2, 3, 4), 0.5, state, frame, frame / 25))
    assert main(["formats", str(journal), "--to", "mot", "--without-lost"]) == 0
    assert [line[0] for line in journal.with_suffix(".mot").read_text().splitlines()] == ["1", "3"]


def test_what_the_object_is(journal: Path) -> None:
    assert main(["formats", str(journal), "--to", "cvat", "--label", "cup"]) == 0
    assert '<track id="0" label="cup"' in journal.with_suffix(".xml").read_text()


@pytest.mark.parametrize("pixels", ["-1", "nan", "inf", "few"])
def test_what_is_no_number_of_pixels(journal: Path, pixels: str) -> None:
    assert main(["formats", str(journal), "--to", "cvat", "--thin", pixels]) == 2


def test_few_keys(journal: Path) -> None:
    for words, count in (([], 3), (["--thin", "0.5"], 2)):
        assert main(["formats", str(journal), "--to", "cvat", *words]) == 0
        assert journal.with_suffix(".xml").read_text().count('outside="0"') == count


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run.jsonl"], 2, "say which format"),
        (["run.jsonl", "--to", "cvat", "--label", "a", "--label", "b"], 2, "objects are 1"),
        (["run.jsonl", "--to", "zip"], 2, "no format 'zip'"),
        (["run.jsonl", "--out", "a.foo"], 2, "stands for no format"),
        (["run.jsonl", "--to", "jsonl"], 5, "is the journal itself"),
        (["run.jsonl", "--out", "no/a.csv"], 5, "cannot be written"),
        (["missing.jsonl", "--to", "csv"], 9, "cannot be read"),
        (["other.csv", "--to", "csv"], 9, "is no journal"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    journal: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(journal.parent)
    Path("other.csv").write_text("frame,x,y,w,h\n")
    assert main(["formats", *words]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert sentence in printed.err
