"""`benchmarks/gpu.py` at small size on the processor: what a GPU will be measured with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.gpu import main

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
        assert row["frames_a_second"] == pytest.approx(speed, rel=0.01)
        top = found["peak_tera_operations"][row["precision"]]
        share = row["giga_operations"] / row["p50_ms"] / top
        assert row["share_of_peak"] == pytest.approx(share, abs=1e-4)
    assert "share of the peak" in capsys.readouterr().out
