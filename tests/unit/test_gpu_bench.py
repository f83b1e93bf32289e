"""`benchmarks/gpu.py` at small size on the processor: what a GPU will be measured with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
    assert cases == [(*engine, batch) for engine in engines for batch in (1, 2)]
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
    assert [line.partition(":")[0] for line in said.err.splitlines()] == engines
    assert said.err.count("pip install onnxruntime-gpu") == len(engines)
    assert "| t |" not in said.out
