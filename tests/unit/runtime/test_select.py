"""Which engine is taken, and what is refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mixformerv2.errors import ConfigError, EngineError, WeightsError
from mixformerv2.runtime import load_engine
from mixformerv2.runtime import openvino as openvino_engine


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copy"))


def without(*modules: str) -> Callable[[str], Any]:
    return lambda name: None if name in modules else find_spec(name)


def test_auto_takes_openvino_and_says_why(small_bundle: Path) -> None:
    info = load_engine(small_bundle)[0].info
    assert info.name == "openvino"
    assert info.reason.startswith("OpenVINO is installed")


@pytest.mark.parametrize(
    ("own", "speeds", "expected"),
    [
        ("f32", {}, "fp32"),
        ("bf16", {"fp32": 2.0, "bf16": 1.0}, "bf16"),
        ("bf16", {"fp32": 1.0, "bf16": 2.0}, "fp32"),
        ("bf16", {"fp32": 1.0, "bf16": 1.0}, "fp32"),
    ],
)
def test_auto_takes_the_faster_precision(
    monkeypatch: pytest.MonkeyPatch, own: str, speeds: dict[str, float], expected: str
) -> None:
    class Core:
        def get_property(self, device: str, name: str) -> Any:
            return type("Type", (), {"to_string": lambda self: own})()

    monkeypatch.setattr(openvino_engine, "_core", Core)
    monkeypatch.setattr(openvino_engine, "_product_time", lambda core, name: speeds[name])
    precision, why = openvino_engine.faster_precision.__wrapped__()
    assert precision == expected
    assert "OpenVINO is installed" in why


def test_the_product_is_timed_in_both_precisions() -> None:
    core = openvino_engine._core()
    assert all(openvino_engine._product_time(core, name) > 0 for name in ("fp32", "bf16"))


def test_auto_without_openvino(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixformerv2.runtime.choice.find_spec", without("openvino"))
    info = load_engine(small_bundle)[0].info
    assert (info.name, info.precision) == ("onnx", "fp32")
    assert info.reason.startswith("OpenVINO is not installed; no int8: the bundle has no int8")


def test_auto_when_openvino_fails(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise EngineError("no such instruction")

    monkeypatch.setattr(openvino_engine, "OpenVinoEngine", fails)
    info = load_engine(small_bundle)[0].info
    assert info.name == "onnx"
    assert "no such instruction" in info.reason
    assert "onnx takes over" in caplog.text


def test_auto_for_a_bundle_without_graphs(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from mixformerv2.models import load
    from mixformerv2.weights import save_bundle

    save_bundle(load(bundle), bundle)
    info = load_engine(bundle)[0].info
    assert (info.name, info.reason) == ("torch", "the bundle has no graphs")
    assert info.device == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr("mixformerv2.runtime.choice.find_spec", without("torch"))
    with pytest.raises(WeightsError, match="mixformerv2 export"):
        load_engine(bundle)


def test_an_engine_by_name_keeps_its_reason(small_bundle: Path) -> None:
    assert load_engine(small_bundle, "onnx")[0].info.reason == "asked for"


@pytest.mark.parametrize("engine", ["", "tensorrt", "ONNX", "onnx-int4", "openvino-"])
def test_unknown_engines(small_bundle: Path, engine: str) -> None:
    with pytest.raises(ConfigError, match="openvino-fp32"):
        load_engine(small_bundle, engine)


@pytest.mark.parametrize("module", ["torch", "safetensors"])
def test_pytorch_is_missing(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.delitem(sys.modules, "mixformerv2.runtime.torch", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        EngineError, match=r"PyTorch cannot be .*pip install 'mixformerv2\[torch\]'"
    ):
        load_engine(small_bundle, "torch")


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "two", 1025])
def test_threads_are_whole_numbers(small_bundle: Path, threads: Any) -> None:
    with pytest.raises(ConfigError, match="threads"):
        load_engine(small_bundle, "onnx", threads)


def test_a_graph_is_missing(bundle: Path) -> None:
    (bundle / "search.onnx").unlink()
    with pytest.raises(WeightsError, match=r"no search\.onnx; run `mixformerv2 export"):
        load_engine(bundle, "onnx")


def test_a_graph_was_changed(bundle: Path) -> None:
    with (bundle / "template.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(WeightsError, match="sha256 differs"):
        load_engine(bundle, "onnx")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that root cannot read")
def test_a_graph_that_cannot_be_read(bundle: Path) -> None:
    (bundle / "search.onnx").unlink()
    (bundle / "search.onnx").symlink_to("/proc/self/mem")
    with pytest.raises(WeightsError, match=r"cannot read .*search\.onnx: "):
        load_engine(bundle, "onnx")


def test_a_graph_of_other_weights(bundle: Path) -> None:
    from dataclasses import replace

    from mixformerv2.weights.bundle import read_config, write_config

    write_config(bundle, replace(read_config(bundle), weights_sha256="00" * 32))
    with pytest.raises(WeightsError, match="other weights"):
        load_engine(bundle, "onnx")
