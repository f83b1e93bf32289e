"""`benchmarks/gpu.py` at small size on the processor: what a GPU will be measured with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import gpu
from benchmarks.gpu import ENGINES, main

from mixformerv2.models.config import ModelConfig
from mixformerv2.models.count import multiply_adds
from mixformerv2.weights.bundle import find_bundle, read_config


def test_a_rehearsal_measures_what_a_gpu_would_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # put back at the end
    out = tmp_path / "gpu.json"
    main(["--device", "cpu", "--quick", "--out", str(out)])
    found = json.loads(out.read_text())
    assert (found["device"], found["product"]) == ("CPU", 256)
    cases = [(row["engine"], row["precision"], row["batch"]) for row in found["rows"]]
    engines = (("torch", "fp32"), ("torch-bf16", "bf16"), ("torch-crops", "fp32"))
    assert cases == [(*engine, batch) for batch in (1, 2) for engine in engines]
    assert found["left_out"] == []
    cost = 2 * multiply_adds(ModelConfig.from_dict(read_config(find_bundle("t")).arch))
    for row in found["rows"]:
        assert row["giga_operations"] == pytest.approx(cost * row["batch"] / 1e9)
        speed = 1000 * row["batch"] / row["p50_ms"]
        assert row["frames_a_second"] == pytest.approx(speed, abs=0.051)  # one decimal is kept
        top = found["peak_tera_operations"][row["precision"]]
        share = row["giga_operations"] / row["p50_ms"] / top
        assert row["share_of_peak"] == pytest.approx(share, abs=1e-4)
    assert "share of the peak" in capsys.readouterr().out


def test_engines_that_are_not_here_are_said_once_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("benchmarks.gpu.peak", lambda *_: 1e12)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    engines = [name for name in ENGINES if name.startswith("onnx")]
    assert engines == ["onnx-cuda", "onnx-tensorrt"]
    main(["--device", "cpu", "--models", "t", "--batches", "1", "2", "--engines", *engines])
    said = capsys.readouterr()
    names = [line.partition(":")[0] for line in said.err.splitlines()]
    assert names == [f"t {engine} 1" for engine in engines]
    assert said.err.count("pip install onnxruntime-gpu") == len(engines)
    assert "| t |" not in said.out


def fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """No network runs: only what is asked for, and in which order."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(gpu, "peak", lambda *_: 1e12)
    monkeypatch.setattr(gpu, "bundle", lambda name, *_: name)
    asked = []

    def measure(model: str, engine: str, batch: int, rounds: int) -> dict[str, Any]:
        asked.append((model, engine, batch))
        if (engine, batch) == ("torch-bf16", 2):
            raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB")
        row = {"engine": engine, "batch": batch, "precision": "fp32", "giga_operations": 1.0}
        return row | {"p50_ms": 1.0, "p95_ms": 2.0, "frames_a_second": 1000.0 * batch}

    monkeypatch.setattr(gpu, "measure", measure)
    return asked


WORDS = ["--device", "cpu", "--models", "s", "b", "--batches", "1", "2", "4"]


def test_a_row_that_fails_costs_no_other_and_the_smallest_batch_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = fake(monkeypatch), tmp_path / "gpu.json"
    main([*WORDS, "--engines", "torch-bf16", "torch", "--out", str(out)])
    both = [(model, engine) for model in "sb" for engine in ("torch-bf16", "torch")]
    assert asked[:8] == [(*case, batch) for batch in (1, 2) for case in both]
    assert asked[8:] == [("s", "torch", 4), ("b", "torch", 4)]
    found = json.loads(out.read_text())
    assert [row["batch"] for row in found["rows"]] == [1] * 4 + [2] * 2 + [4] * 2
    why = "RuntimeError: CUDA out of memory. Tried to allocate 20 GiB"
    case = {"engine": "torch-bf16", "batch": 2, "why": why}
    assert found["left_out"] == [{"model": model, **case} for model in "sb"]


def test_a_run_that_is_ended_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = fake(monkeypatch), tmp_path / "gpu.json"
    written: list[int] = []

    def machine() -> dict[str, Any]:
        return {}

    def goes_on(number: int) -> float:
        if out.is_file():
            written.append(len(json.loads(out.read_text())["rows"]))
        return float(number)

    clock = map(goes_on, range(0, 10**6, 30))
    monkeypatch.setattr("mixformerv2.evaluation.speed.machine", machine)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(clock))
    main([*WORDS, "--engines", "torch", "--minutes", "1.5", "--out", str(out)])
    assert asked == [("s", "torch", 1), ("b", "torch", 1), ("s", "torch", 2)]
    assert written == [1, 2, 3]
    found = json.loads(out.read_text())
    assert len(found["rows"]) == 3
    assert found["left_out"] == [{"why": "--minutes 1.5 are over: 3 rows were not tried"}]
