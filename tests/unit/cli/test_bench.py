"""`mixformerv2 bench`: what it prints is what it timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixformerv2.cli import bench
from mixformerv2.cli.main import main
from mixformerv2.errors import ConfigError
from mixformerv2.evaluation.speed import Pace, _gpus
from mixformerv2.models import load
from mixformerv2.weights import save_bundle


def test_times_each_engine_in_turns(
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # as in a pipe: no figure is cut
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
        assert f"{run['p5']:.1f} to {run['p95']:.1f}" in said
        parts = run["parts_ms"]
        assert list(parts) == ["update", "preprocessing", "network", "rest"]
        assert all(0 < one["p5"] <= one["median"] <= one["p95"] for one in parts.values())
        assert f" {parts['preprocessing']['median']:.2f}  {parts['rest']['median']:.2f} " in said
        assert run["device"] == "cpu"
    assert figures["machine"]["packages"]["torch"]
    assert isinstance(figures["machine"]["gpus"], list)
    assert figures["runs"][0]["times_faster_than_first"] == 1.0
    assert max(map(len, said.splitlines())) <= 80


def test_all_that_is_installed_and_that_the_bundle_has(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = ["onnx", "openvino-fp32", "openvino"]
    assert bench._installed(str(small_bundle)) == [*full, "torch"]
    assert bench._installed("t") == [*full, "onnx-int8", "openvino-int8", "torch"]
    save_bundle(load(small_bundle), tmp_path / "bare")
    assert bench._installed(str(tmp_path / "bare")) == ["torch"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bench._installed("t") == ["onnx", "onnx-int8"]
    with pytest.raises(ConfigError, match=r"bare has no graphs, and PyTorch, .*not installed"):
        bench._installed(str(tmp_path / "bare"))


@pytest.mark.parametrize(
    ("engine", "precision", "device", "said"),
    [
        ("torch", "fp32", "cpu", "torch fp32"),
        ("torch", "fp32", "cuda", "torch fp32 cuda"),
        ("torch-bf16", "bf16", "cuda", "torch-bf16 cuda"),
        ("onnx-cuda", "fp32", "cuda", "onnx-cuda fp32"),
    ],
)
def test_a_row_tells_where_it_ran(engine: str, precision: str, device: str, said: str) -> None:
    assert bench._said({"engine": engine, "precision": precision, "device": device}) == said


def test_gpus_are_named_as_their_driver_does(tmp_path: Path) -> None:
    assert _gpus(str(tmp_path)) == []
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n")
    assert _gpus(str(tmp_path)) == ["NVIDIA H200"]


@pytest.mark.parametrize("size", ["720p", "10x10", "x", "99999x720"])
def test_sizes_that_cannot_be_are_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--size", size]) == 2
    assert "--size is" in capsys.readouterr().err


def test_two_engines_in_turns_with_a_plot(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(small_bundle), "--rounds", "2", "--size", "320x240", "--threads", "1"]
    plot, file = tmp_path / "speed.png", tmp_path / "speed.json"
    more = ["--engine", "torch", "--against", "onnx", "--figure", str(plot), "--json", str(file)]
    assert main([*words, *more]) == 0
    said = capsys.readouterr().out
    assert "torch is" in said
    assert "times as fast as onnx" in said
    assert "decoding a frame" in said
    assert plot.read_bytes().startswith(b"\x89PNG")
    figures = json.loads(file.read_text())
    assert figures["machine"]["packages"]["onnxruntime"]
    decoding = figures["decoding_ms"]
    assert 0 < decoding["p5"] <= decoding["median"] <= decoding["p95"]
    assert f"demo clip: {decoding['median']:.2f} ms ({decoding['p5']:.2f} to " in said
    for run in figures["runs"]:
        assert run["p5"] <= run["milliseconds"] <= run["p95"]


def test_batches_time_the_network_alone(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(small_bundle), "--rounds", "1", "--cpu-time", "--engine", "onnx"]
    file = tmp_path / "speed.json"
    assert main([*words, "--batch", "4,1", "--json", str(file)]) == 0
    runs = json.loads(file.read_text())["runs"]
    assert [run["batch"] for run in runs] == [1, 4]
    assert all(run["outside_network_ms"] == 0 and run["threads"] == 1 for run in runs)
    said = capsys.readouterr().out
    for run in runs:
        assert f"{run['updates_per_second']:.0f}  {run['batch']:>5}  " in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--batch", "0"], "--batch is whole numbers"),
        (["--batch", "1,x"], "--batch is whole numbers"),
        (["--against", "auto"], "two different engines"),
        (["--engine", "onnx", "--engine", "torch", "--against", "openvino"], "two different"),
        (["--markdown", "tables.md"], "--markdown: written with --paper alone"),
        (["--paper", "t", "--engine", "onnx", "--batch", "2"], "MODEL, --engine, --batch: not"),
        (["--cpu-time", "--threads", "2"], "--threads 2: not with --cpu-time"),
        (["--figure", "speed.bmp"], "a figure is a file called"),
    ],
)
def test_what_cannot_be_raced_is_refused(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--figure"])
def test_a_file_that_cannot_be_written_is_said_before_the_race(
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("mixformerv2.evaluation.speed.race", None)
    assert main(["bench", "t", option, str(tmp_path / "missing" / "speed.png")]) == 5
    assert "its folder does not exist" in capsys.readouterr().err


def test_each_batch_is_raced_against_its_own_size(capsys: pytest.CaptureFixture[str]) -> None:
    times = {("onnx", 1): 4.0, ("onnx", 8): 2.0, ("openvino", 1): 8.0, ("openvino", 8): 6.0}
    bench._print_against(
        {bench.Name("t", *name): Pace((ms, ms), (0.0, 0.0)) for name, ms in times.items()}
    )
    one, eight = capsys.readouterr().out.splitlines()
    assert one.startswith("t: onnx is 2.00 times as fast as openvino ")
    assert eight.startswith("t, batches of 8: onnx is 3.00 times as fast as openvino ")


def test_models_of_one_name_are_told_apart() -> None:
    labels = bench._labels(["t", "one/bundle", "two/bundle", "runs/best"])
    assert list(labels.values()) == ["t", "one/bundle", "two/bundle", "best"]
    assert bench._labels(["."]) == {".": Path.cwd().name}
