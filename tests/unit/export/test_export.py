"""Export: what is in the files, that they are checked, and that failures leave nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from typer.testing import CliRunner

from mixformerv2.errors import EngineError, OutputError, WeightsError
from mixformerv2.export import export_bundle, export_int8
from mixformerv2.export import parity as parity_module
from mixformerv2.export.graphs import Preprocess, SearchGraph, TemplateGraph
from mixformerv2.export.parity import Parity, check_parity
from mixformerv2.models import load
from mixformerv2.runtime import openvino
from mixformerv2.runtime.base import Memory, StepOutput
from mixformerv2.runtime.openvino import OpenVinoEngine
from mixformerv2.weights.bundle import file_sha256, read_config
from tests.doubles import make_bundle

GRAPHS = ("template.onnx", "search.onnx")


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    """A copy to export again."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copy"))


def test_the_config_tells_of_the_graphs(small_bundle: Path) -> None:
    config = read_config(small_bundle)
    assert set(config.graphs) == set(GRAPHS)
    for name, info in config.graphs.items():
        assert info.sha256 == file_sha256(small_bundle / name)
        assert info.weights_sha256 == config.weights_sha256
        assert info.precision == "fp32"
        assert 0 <= info.parity <= 1e-4


class Half(OpenVinoEngine):
    """An engine whose bf16 is a fiftieth of the crop beside its fp32, on any processor."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given[:4], "fp32", *given[5:])
        self.off = 0.02 if given[4] == "bf16" else 0.0

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        out = super().step(search, memory)
        return replace(out, boxes=out.boxes + np.float32(self.off))


@pytest.mark.parametrize(("own", "expected"), [("bf16", 0.02), ("fp32", None)])
def test_bf16_is_measured_where_the_processor_has_it(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, own: str, expected: float | None
) -> None:
    monkeypatch.setattr(openvino, "own_precision", lambda: own)
    monkeypatch.setattr(openvino, "OpenVinoEngine", Half)
    export_bundle(bundle)
    for info in read_config(bundle).graphs.values():
        assert info.bf16_parity == (expected and pytest.approx(expected, abs=1e-6))  # float32
    monkeypatch.setattr(openvino, "own_precision", lambda: "bf16")
    monkeypatch.setattr(Half, "step", refuse)
    export_bundle(bundle)  # an engine that refuses leaves it unmeasured, and the export alone
    assert {info.bf16_parity for info in read_config(bundle).graphs.values()} == {None}


def refuse(*_: object) -> None:
    raise EngineError("no such instruction")


def test_axes_and_types(small_bundle: Path) -> None:
    template = onnx.load(small_bundle / "template.onnx").graph
    search = onnx.load(small_bundle / "search.onnx").graph

    def described(values: list[onnx.ValueInfoProto]) -> dict[str, tuple[int, list[int | str]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    byte, real = TensorProto.UINT8, TensorProto.FLOAT
    memory = (real, [2, 2, "batch", "tokens", 1, 64])
    assert described(template.input) == {"templates": (byte, ["batch", "templates", 32, 32, 3])}
    assert described(template.output) == {"memory": memory}
    crop = (byte, ["batch", "side", "side", 3])
    assert described(search.input) == {"search": crop, "memory": memory}
    assert described(search.output) == {
        "boxes": (real, ["batch", 4]),
        "scores": (real, ["batch"]),
        "probs": (real, ["batch", 4, 32]),
    }


def test_metadata(small_bundle: Path) -> None:
    model = onnx.load(small_bundle / "search.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    config = read_config(small_bundle)
    assert said["weights_sha256"] == config.weights_sha256
    assert said["licence"] == "not stated"
    assert (said["model"], said["graph"]) == ("small", "search")
    assert (said["search_size"], said["search_factor"], said["bins"]) == ("64", "4.5", "32")


def test_large_tensors_are_half_floats_where_that_loses_nothing(small_bundle: Path) -> None:
    graph = onnx.load(small_bundle / "search.onnx").graph
    halves = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT16]
    full = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT]
    assert sum(np.prod(t.dims) for t in halves) > sum(np.prod(t.dims) for t in full)
    casts = {node.input[0] for node in graph.node if node.op_type == "Cast"}
    assert casts >= {t.name for t in halves}


def test_into_another_folder(small_bundle: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small_bundle, tmp_path / "source"))
    (source / "LICENSE").write_text("research only")
    (source / "README.md").write_text("a card")
    (source / "training.safetensors").write_text("large")
    out = tmp_path / "deep" / "out"
    found = export_bundle(source, out)
    assert [(one.batch, one.templates) for one in found] == [(1, 2), (3, 2), (2, 1), (1, 3)]
    assert all(one.worst <= 1e-5 for one in found)
    assert sorted(path.name for path in out.iterdir()) == [
        "LICENSE",
        "README.md",
        "config.json",
        "model.safetensors",
        "search.onnx",
        "template.onnx",
    ]
    assert read_config(out).weights_sha256 == read_config(source).weights_sha256


def test_other_weights_are_replaced_only_where_that_is_asked_for(
    bundle: Path, small_bundle: Path, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path / "other", seed=7)
    (other / "training.safetensors").write_text("of the other weights")
    (other / "search.int8.onnx").write_text("of the other weights")
    (other / "MODEL_CARD.md").write_text("of the other weights")
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    for export in (export_bundle, export_int8):
        with pytest.raises(OutputError, match=r"other weights already; give .*--overwrite"):
            export(bundle, other)
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before
    export_bundle(bundle, other, overwrite=True)
    assert read_config(other).weights_sha256 == read_config(bundle).weights_sha256
    assert {path.name for path in other.iterdir()} == {path.name for path in bundle.iterdir()}
    export_bundle(bundle, other)  # the same weights again need no word
    (other / "config.json").write_text("{")
    with pytest.raises(OutputError, match="--overwrite"):
        export_bundle(bundle, other)


def test_a_difference_stops_the_export(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    monkeypatch.setattr(parity_module, "TOLERANCE", -1.0)
    with pytest.raises(EngineError, match="nothing was written"):
        export_bundle(bundle)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_an_interrupted_export_leaves_no_folder(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mixformerv2.export.onnx.check_parity", interrupt)
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(KeyboardInterrupt):
            export_bundle(small_bundle, tmp_path / name)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "mine").is_dir()  # it was there before: not ours to remove


@pytest.mark.parametrize("part", ["memory", "boxes", "scores", "probs"])
@pytest.mark.parametrize("case", range(4))
def test_nan_in_any_output_is_a_difference(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch, part: str, case: int
) -> None:
    sound = [Parity(1, 2, 1e-6, 1e-6, 1e-6, 1e-6)] * 4
    sound[case] = replace(sound[case], **{part: float("nan")})
    answers = iter(sound)
    monkeypatch.setattr(parity_module, "_compare", lambda *_: next(answers))
    model = load(small_bundle)
    graphs = TemplateGraph(model, Preprocess()), SearchGraph(model, Preprocess())
    with pytest.raises(EngineError, match="nan"):
        check_parity(*(small_bundle / name for name in GRAPHS), graphs)


def test_an_output_folder_that_is_a_file(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        export_bundle(small_bundle, tmp_path / "file")


def test_no_such_bundle(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no bundle is called"):
        export_bundle("no-such-model", tmp_path)


def test_the_command_prints_parity(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mixformerv2.cli.main import build

    measured = [Parity(3, 2, 1.5e-6, 2.5e-7, 0.0, 5e-7)]
    monkeypatch.setattr("mixformerv2.export.export_bundle", lambda *_, **how: measured)
    result = CliRunner().invoke(build("export"), ["export", "t", str(small_bundle)])
    assert result.exit_code == 0, result.output
    for word in ("largest difference from PyTorch", "1.5e-06", "2.5e-07", "search.onnx", "MB"):
        assert word in result.output
