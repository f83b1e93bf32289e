"""`mixformerv2 bench`: what it prints is what it timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixformerv2.cli.main import main


def test_times_each_engine_in_turns(
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = ["bench", str(small_bundle), "--rounds", "1", "--size", "320x240", "--threads", "1"]
    file = tmp_path / "speed.json"
    assert main([*words, "--engine", "onnx", "--engine", "torch", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert (figures["size"], figures["threads"], figures["rounds"]) == ("320x240", 1, 1)
    assert [run["engine"] for run in figures["runs"]] == ["onnx", "torch"]
    for run in figures["runs"]:
        assert 0 < run["outside_network_ms"] < run["milliseconds"]
        assert f"{run['milliseconds']:.1f}" in said
    assert figures["runs"][0]["times_faster_than_first"] == 1.0


@pytest.mark.parametrize("size", ["720p", "10x10", "x", "99999x720"])
def test_sizes_that_cannot_be_are_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--size", size]) == 2
    assert "--size is" in capsys.readouterr().err
