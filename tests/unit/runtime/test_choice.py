"""What `auto` takes, by what is installed, what the processor can do and what was checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mixformerv2.runtime import choice as choice_module
from mixformerv2.runtime import openvino as openvino_engine
from mixformerv2.runtime.choice import choose, int8_instructions
from mixformerv2.weights.bundle import INT8_NAMES, BundleConfig, GraphInfo, read_config


@pytest.fixture
def config(small_bundle: Path) -> BundleConfig:
    """A bundle that is said to have int8 graphs."""
    config = read_config(small_bundle)
    info = GraphInfo("0" * 64, config.weights_sha256, "int8", 0.003, 0.001)
    return replace(config, graphs={**config.graphs, **dict.fromkeys(INT8_NAMES, info)})


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with int8 instructions, on which fp32 is as fast as anything."""
    monkeypatch.setattr(choice_module, "int8_instructions", lambda: "avx512_vnni")
    monkeypatch.setattr(openvino_engine, "faster_precision", lambda: ("fp32", "it is here"))


def without(*modules: str) -> Callable[[str], Any]:
    return lambda name: None if name in modules else find_spec(name)


def test_int8_where_it_was_checked(config: BundleConfig) -> None:
    choice = choose(config)
    assert choice.engine == "openvino-int8"
    assert "avx512_vnni" in choice.reason
    assert "0.3% of the crop" in choice.reason
    assert "0.0010 lower" in choice.reason


def test_int8_without_openvino(config: BundleConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice_module, "find_spec", without("openvino"))
    choice = choose(config)
    assert choice.engine == "onnx-int8"
    assert choice.reason.startswith("OpenVINO is not installed")
    assert choice.fallback is not None
    assert choice.fallback.engine == "onnx"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"parity": 0.02}, "2.0% of the crop beside"),
        ({"parity": float("nan")}, "beside those of fp32"),
        ({"auc_loss": 0.02}, "loses 0.0200 of AUC"),
    ],
)
def test_int8_that_is_not_good_enough(
    config: BundleConfig, change: dict[str, float], why: str
) -> None:
    worse = {
        name: replace(info, **change) if name in INT8_NAMES else info  # type: ignore[arg-type]
        for name, info in config.graphs.items()
    }
    choice = choose(replace(config, graphs=worse))
    assert choice.engine == "openvino-fp32"
    assert why in choice.reason


def test_int8_on_a_processor_without(config: BundleConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice_module, "int8_instructions", lambda: None)
    choice = choose(config)
    assert choice.engine == "openvino-fp32"
    assert "no instructions" in choice.reason


def test_a_bundle_without_int8(small_bundle: Path) -> None:
    assert choose(read_config(small_bundle)).reason == (
        "it is here; no int8: the bundle has no int8 graphs"
    )


@pytest.mark.parametrize(
    ("parity", "engine", "why"),
    [
        (0.004, "openvino-bf16", "twice as fast; no int8"),
        (None, "openvino-fp32", "no bf16: it was not measured at export"),
        (0.02, "openvino-fp32", "no bf16: its boxes are 2.0% of the crop beside"),
        (float("nan"), "openvino-fp32", "no bf16: its boxes are nan"),
    ],
)
def test_bf16_where_it_is_faster_and_was_checked(
    small_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    parity: float | None,
    engine: str,
    why: str,
) -> None:
    monkeypatch.setattr(openvino_engine, "faster_precision", lambda: ("bf16", "twice as fast"))
    config = read_config(small_bundle)
    graphs = {name: replace(info, bf16_parity=parity) for name, info in config.graphs.items()}
    choice = choose(replace(config, graphs=graphs))
    assert choice.engine == engine
    assert why in choice.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nflags\t\t: fpu avx512_vnni avx_vnni\n", "avx512_vnni"),
        ("flags : fpu avx2 avx_vnni_int16 avx_vnni\n", "avx_vnni"),
        ("Features : fp asimd asimddp\n", "asimddp"),
        ("flags : fpu avx2\n", None),
        ("nothing\n", None),
    ],
)
def test_instructions_as_linux_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str | None
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    (tmp_path / "cpuinfo").write_text(text)
    assert int8_instructions(str(tmp_path / "cpuinfo")) == expected


def test_other_systems_do_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert int8_instructions(str(tmp_path / "none")) is None
