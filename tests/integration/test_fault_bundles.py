"""Bundles and settings by someone who means harm, and engines that are half installed."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file

from mixformerv2.errors import ConfigError, EngineError, MixFormerError, WeightsError
from mixformerv2.runtime.onnx import OnnxEngine
from mixformerv2.runtime.openvino import OpenVinoEngine
from mixformerv2.settings import build, parse_overrides, read_yaml
from mixformerv2.tracking import Tracker, TrackerSettings
from mixformerv2.weights.bundle import BundleConfig, file_sha256, load_model, read_config

FRAME = np.zeros((100, 100, 3), np.uint8)
ENGINES = ("onnx", "openvino")


@pytest.fixture
def hostile(small_bundle: Path, tmp_path: Path) -> Path:
    """A copy of a good bundle, to be made bad."""
    return Path(shutil.copytree(small_bundle, tmp_path / "inner" / "hostile"))


def replace_graph(folder: Path, model: onnx.ModelProto) -> None:
    """Put another graph in, with the checksum that belongs to it."""
    (folder / "search.onnx").write_bytes(model.SerializeToString())
    values = json.loads((folder / "config.json").read_text())
    values["graphs"]["search.onnx"]["sha256"] = file_sha256(folder / "search.onnx")
    (folder / "config.json").write_text(json.dumps(values))


def follow(folder: Path, engine: str) -> None:
    tracker = Tracker(folder, engine, 1)
    tracker.init(FRAME, (10, 10, 20, 20))
    tracker.update(FRAME)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("absolute", [False, True])
def test_weights_outside_of_the_bundle_are_not_read(
    hostile: Path, tmp_path: Path, engine: str, absolute: bool
) -> None:
    model = onnx.load(hostile / "search.onnx")
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    secret = hostile.parent / "secret.bin"
    secret.write_bytes(largest.raw_data)
    place = str(secret) if absolute else "../secret.bin"
    length = str(len(largest.raw_data))
    largest.ClearField("raw_data")
    largest.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", length)):
        largest.external_data.add(key=key, value=value)
    replace_graph(hostile, model)
    with pytest.raises(EngineError, match=r"secret|Absolute path not allowed"):
        follow(hostile, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_with_inputs_of_another_type(hostile: Path, engine: str) -> None:
    given, answer = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None])
        for name in ("search", "boxes")
    )
    node = helper.make_node("Identity", ["search"], ["boxes"])
    graph = helper.make_graph([node], "other", [given], [answer])
    opset = helper.make_opsetid("", 17)
    replace_graph(hostile, helper.make_model(graph, opset_imports=[opset], ir_version=8))
    with pytest.raises(EngineError, match=r"refuses these crops|takes other inputs than search"):
        follow(hostile, engine)


def constants(**shapes: tuple[int, ...]) -> onnx.ModelProto:
    """A search graph that puts out a half of everything, in these shapes."""
    template, search = (
        helper.make_tensor_value_info(name, kind, [None] * rank)
        for name, kind, rank in (("memory", TensorProto.FLOAT, 6), ("search", TensorProto.UINT8, 4))
    )
    values = {
        name: onnx.numpy_helper.from_array(np.full(shape, 0.5, np.float32))
        for name, shape in shapes.items()
    }
    nodes = [helper.make_node("Constant", [], [name], value=v) for name, v in values.items()]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(nodes, "other", [search, template], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({"boxes": (1, 4)}, "has 1 outputs and not boxes, scores, probs"),
        ({"scores": (1,), "boxes": (1, 4), "probs": (1, 4, 32)}, r"boxes of shape \(1,\)"),
        ({"boxes": (2, 4), "scores": (2,), "probs": (2, 4, 32)}, "answered 1 crops"),
    ],
)
def test_a_graph_with_other_outputs(
    hostile: Path, engine: str, shapes: dict[str, tuple[int, ...]], sentence: str
) -> None:
    replace_graph(hostile, constants(**shapes))
    with pytest.raises(EngineError, match=sentence):
        follow(hostile, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_graphs_in_each_others_place(hostile: Path, engine: str) -> None:
    replace_graph(hostile, onnx.load(hostile / "template.onnx"))
    with pytest.raises(EngineError, match=r"takes other inputs than search, memory|refuses"):
        follow(hostile, engine)


def test_a_graph_that_asks_for_more_memory_than_there_is(hostile: Path) -> None:
    model = onnx.load(hostile / "search.onnx")
    shape = onnx.numpy_helper.from_array(np.array([1 << 24, 1 << 24], np.int64), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
    model.graph.output.append(
        helper.make_tensor_value_info("huge", TensorProto.FLOAT, [None, None])
    )
    replace_graph(hostile, model)
    with pytest.raises(EngineError, match="refuses"):
        follow(hostile, "onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tracker.min_size", 1e9),
        ("tracker.template_size", 10**9),
        ("tracker.search_factor", 1e300),
        ("tracker.update_interval", -1),
        ("arch.width", 10**9),
        ("arch.depth", 10**9),
        ("arch.bins", 10**9),
        ("arch.mlp_ratio", 1e30),
    ],
)
def test_sizes_that_no_machine_has(hostile: Path, key: str, value: float) -> None:
    part, name = key.split(".")
    values = json.loads((hostile / "config.json").read_text())
    values[part][name] = value
    (hostile / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_model(hostile)


def test_settings_that_unfold_to_more_than_memory_holds(tmp_path: Path) -> None:
    lines = ["a: &a [1,2,3,4,5,6,7,8,9]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    bomb = read_yaml(tmp_path / "bomb.yaml")["i"]
    with pytest.raises(ConfigError, match="search_factor must be of type float") as caught:
        build(TrackerSettings, {"search_factor": bomb})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["2026-13-45", "1" * 5000, "!!timestamp x", "[" * 3000])
def test_values_at_which_the_reader_of_yaml_stumbles(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.yaml").write_text(f"name: {text}")
    with pytest.raises(ConfigError, match=r"odd\.yaml is not YAML"):
        read_yaml(tmp_path / "odd.yaml")
    with pytest.raises(ConfigError, match="the value of name is not readable"):
        parse_overrides([f"name={text}"])


@pytest.mark.parametrize(
    ("engine", "module"), [(OnnxEngine, "onnxruntime"), (OpenVinoEngine, "openvino")]
)
@pytest.mark.parametrize(
    "error", ["OSError('libtbb.so.12: file too short')", "AttributeError('_C')"]
)
def test_an_engine_that_is_half_installed(
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: type[OnnxEngine] | type[OpenVinoEngine],
    module: str,
    error: str,
) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(EngineError, match="cannot be imported"):
        engine(small_bundle / "template.onnx", small_bundle / "search.onnx")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_config_is_read_or_a_sentence(
    small_bundle: Path, tmp_path: Path, data: st.DataObject
) -> None:
    values = json.loads((small_bundle / "config.json").read_text())
    for path in data.draw(st.lists(st.sampled_from(places(values)[1:]), max_size=3)):
        node: Any = values
        with suppress(KeyError, TypeError, IndexError):  # an earlier change took it away
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = data.draw(JSON)
    (tmp_path / "config.json").write_text(json.dumps(values))
    try:
        config = read_config(tmp_path)
    except WeightsError as error:
        message = str(error)
        assert "config.json" in message
        return
    assert isinstance(config, BundleConfig)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_settings_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    with suppress(MixFormerError):
        assert isinstance(read_yaml(path), dict)
    path.rename(tmp_path / "config.json")
    with pytest.raises(WeightsError):
        read_config(tmp_path)


@pytest.mark.parametrize("kind", ["int64", "bool", "int8", "complex64"])
@pytest.mark.parametrize("name", ["box_head.mlps.0.fc1.bias", "backbone.stem.convs.1.running_mean"])
def test_weights_that_are_no_real_numbers(hostile: Path, kind: str, name: str) -> None:
    change_kinds(hostile, kind, name)
    with pytest.raises(WeightsError, match=rf"{name} holds torch\.{kind} where torch\.float32"):
        load_model(hostile)


@pytest.mark.parametrize("kind", ["float64", "bfloat16"])
def test_weights_in_other_precisions_are_read_as_float32(
    hostile: Path, small_bundle: Path, kind: str
) -> None:
    change_kinds(hostile, kind)
    near = {"atol": 0.0, "rtol": 0.0 if kind == "float64" else 2**-8}  # bf16 has 8 bits
    found, wanted = load_model(hostile).state_dict(), load_model(small_bundle).state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, **near)  # and of the same kind


def change_kinds(folder: Path, kind: str, *names: str) -> None:
    """Turn all real numbers, or tensors of these names, into another kind, with the checksum."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in names or [name for name in tensors if tensors[name].is_floating_point()]:
        tensors[name] = tensors[name].to(getattr(torch, kind))
    save_file(tensors, path)
    describe_weights(folder)


def describe_weights(folder: Path) -> None:
    """Put the checksum of the weights as they are now into the config."""
    values = json.loads((folder / "config.json").read_text())
    values["weights_sha256"] = file_sha256(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(values))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8))),
    most=st.sampled_from([100, 10_000, 1 << 20]),
    end=st.none() | st.integers(0, 1 << 20),
)
def test_any_weights_are_read_or_a_sentence(
    hostile: Path, small_bundle: Path, edits: list[tuple[int, bytes]], most: int, end: int | None
) -> None:
    """Damage with the checksum that belongs to it; much of it in the header, which comes first."""
    data = bytearray((small_bundle / "model.safetensors").read_bytes())
    for place, content in edits:
        place %= min(most, len(data))
        data[place : place + len(content)] = content
    (hostile / "model.safetensors").write_bytes(data[:end])
    describe_weights(hostile)
    with suppress(WeightsError):
        load_model(hostile)
