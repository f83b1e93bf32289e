"""Progress and warnings on the terminal."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from mixformerv2.cli.terminal import progress, say, sentences, waiting
from mixformerv2.tracking.result import TargetState, TrackResult


def result(state: TargetState = "tracked", score: float = 0.934) -> TrackResult:
    return TrackResult((1, 2, 3, 4), score, state, 0, 0.0)


@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.parametrize("quiet", [False, True])
def test_warnings_are_single_lines(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    before = warnings.showwarning
    with sentences(quiet=quiet):
        logging.getLogger("mixformerv2.video.source").warning("clip: frame %d is broken", 3)
        logging.getLogger("mixformerv2.video.source").info("not of interest")
        warnings.warn("the box stands out of the picture", UserWarning, stacklevel=1)
        warnings.warn("a library is getting old", DeprecationWarning, stacklevel=1)
    assert warnings.showwarning is before
    lines = ["warning: clip: frame 3 is broken", "warning: the box stands out of the picture"]
    assert capsys.readouterr().err.splitlines() == ([] if quiet else lines)


def test_there_is_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("clip.mp4", 3, quiet=False) as watch:
        watch({1: result()})
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("count", [3, None])
def test_the_bar_shows_frames_and_state(
    count: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with progress("[clip].mp4", count, quiet=False) as watch:
        watch({1: result()})
        watch({1: result("lost", 0.01)})
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "[clip].mp4" in printed.err
    assert f"2/{count or '?'}" in printed.err
    assert "lost 0.01" in printed.err


def test_the_bar_counts_states_of_several_objects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    with progress("clip.mp4", 3, quiet=False) as watch:
        watch({1: result(), 2: result("lost"), 3: result()})
    assert "2 tracked 1 lost" in capsys.readouterr().err


def test_saying_something_to_nobody_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        say("it worked")
        monkeypatch.undo()
        # What is left in the buffer would fail again when the file is closed.
        with pytest.raises(OSError, match="No space left"):
            full.close()


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_step_that_takes_its_time_is_named_where_somebody_looks(
    looked_at: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: looked_at)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with waiting("int8") as tell:
        tell("[search] alone, 2 of 7")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("int8: [search] alone, 2 of 7" in printed.err) == looked_at
    assert ("0:00:0" in printed.err) == looked_at
