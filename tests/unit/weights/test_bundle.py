"""Bundles: settings there and back, weights rounded once, nonsense refused."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mixformerv2.errors import OutputError, WeightsError
from mixformerv2.models import ModelConfig, load
from mixformerv2.models.mixformerv2 import MixFormerV2
from mixformerv2.tracking import TrackerSettings
from mixformerv2.weights import save_bundle
from mixformerv2.weights.bundle import (
    GraphInfo,
    file_sha256,
    find_bundle,
    list_bundles,
    load_training_state,
    read_config,
    write_config,
)
from mixformerv2.weights.pieces import join, split

ARCH = ModelConfig(width=64, depth=1, template_size=32, search_size=64, bins=16, stem="conv")


@pytest.fixture(scope="module")
def model() -> MixFormerV2:
    torch.manual_seed(1)
    return MixFormerV2(ARCH).eval()


@pytest.fixture
def folder(model: MixFormerV2, tmp_path: Path) -> Path:
    save_bundle(model, tmp_path / "one", licence={"weights": "MIT", "file": "LICENSE"})
    return tmp_path / "one"


def test_settings_there_and_back(model: MixFormerV2, tmp_path: Path) -> None:
    settings = TrackerSettings(32, 64, search_factor=4.25, update_interval=7, lost_below=0.125)
    saved = save_bundle(
        model, tmp_path, name="é", tracker=settings, provenance={"steps": 3, "from": ["a", "b"]}
    )
    config = read_config(tmp_path)
    assert config == saved
    assert config.tracker == settings
    assert config.name == "é"
    assert config.provenance == {"steps": 3, "from": ["a", "b"]}
    assert ModelConfig.from_dict(config.arch) == ARCH
    assert config.weights_sha256 == file_sha256(tmp_path / "model.safetensors")

    graphs = {"search.onnx": GraphInfo("a" * 64, "b" * 64, "fp32", 1e-6)}
    write_config(tmp_path, replace(config, graphs=graphs))
    assert read_config(tmp_path).graphs == graphs


@pytest.mark.parametrize(("search", "factor"), [(288, 5.0), (224, 4.5)])
def test_published_search_factors(tmp_path: Path, search: int, factor: float) -> None:
    arch = replace(ARCH, search_size=search)
    saved = save_bundle(MixFormerV2(arch), tmp_path)
    assert (saved.tracker.search_size, saved.tracker.search_factor) == (search, factor)


def test_weights_are_rounded_once(model: MixFormerV2, folder: Path, tmp_path: Path) -> None:
    loaded = load(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().to(tensor.dtype))
    save_bundle(loaded, tmp_path / "two")
    assert read_config(tmp_path / "two").weights_sha256 == read_config(folder).weights_sha256


def test_weights_as_they_are(model: MixFormerV2, tmp_path: Path) -> None:
    save_bundle(model, tmp_path, precision="float32")
    for name, tensor in model.state_dict().items():
        assert torch.equal(load(tmp_path).state_dict()[name], tensor)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
def test_weights_that_half_floats_cannot_hold(tmp_path: Path, value: float) -> None:
    model = MixFormerV2(ARCH)
    with torch.no_grad():
        model.box_head.mlps[0].fc1.bias[3] = value
    with pytest.raises(WeightsError, match=r"box_head\.mlps\.0\.fc1\.bias"):
        save_bundle(model, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_old_graphs_do_not_outlive_their_weights(model: MixFormerV2, folder: Path) -> None:
    for name in ("template.onnx", "search.onnx", "search.int8.onnx", "own.onnx"):
        (folder / name).write_bytes(b"")
    save_bundle(model, folder)
    assert sorted(p.name for p in folder.glob("*.onnx")) == ["own.onnx"]


def test_training_state(model: MixFormerV2, folder: Path) -> None:
    plain = load_training_state(folder)
    assert plain["net.box_head.mlps.0.fc1.bias"].dtype == torch.float32
    save_bundle(model, folder, training={"dense.inside.bias": torch.ones(1)})
    state = load_training_state(folder)
    assert state.keys() == {*plain, "dense.inside.bias"}
    assert state["dense.inside.bias"] == torch.ones(1)


def test_old_helpers_of_training_do_not_outlive_their_weights(
    model: MixFormerV2, folder: Path
) -> None:
    """A run from the bundle would begin with something else than its weights."""
    helper = {"dense.sides.weight": torch.ones(4, 2)}
    save_bundle(model, folder, training=helper)
    assert "dense.sides.weight" in load_training_state(folder)
    save_bundle(model, folder)
    assert "dense.sides.weight" not in load_training_state(folder)


def test_crops_of_another_size_than_the_networks_are_refused(
    model: MixFormerV2, tmp_path: Path
) -> None:
    sizes = model.config.template_size, model.config.search_size
    with pytest.raises(ValueError, match=f"search_size {sizes[1]}, the rest .* says 160"):
        save_bundle(model, tmp_path / "it", tracker=TrackerSettings(sizes[0], 160))
    assert not (tmp_path / "it").exists()


def test_training_state_holds_nothing_twice(model: MixFormerV2, folder: Path) -> None:
    weights = {f"net.{name}": tensor for name, tensor in model.state_dict().items()}
    name = next(iter(weights))
    other = weights[name] + 1
    save_bundle(model, folder, training=weights | {name: other, "dense.bias": torch.ones(1)})
    assert load_file(folder / "training.safetensors").keys() == {name, "dense.bias"}
    torch.testing.assert_close(load_training_state(folder)[name], other, atol=1e-2, rtol=1e-3)


def test_finding(folder: Path, tmp_path: Path) -> None:
    assert find_bundle(folder) == folder
    assert find_bundle(str(folder)) == folder
    for name in list_bundles():
        assert read_config(find_bundle(name)).name == name
    with pytest.raises(WeightsError, match="no bundle is called 'nothing'"):
        find_bundle("nothing")
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        find_bundle(tmp_path)
    (tmp_path / "small.pth.tar").write_bytes(b"")
    with pytest.raises(WeightsError, match="`mixformerv2 convert"):
        find_bundle(tmp_path / "small.pth.tar")


def test_a_name_longer_than_any_file_has() -> None:
    with pytest.raises(WeightsError, match="cannot read '" + "a" * 150):
        find_bundle("a" * 300)


def test_a_folder_that_cannot_be_written(model: MixFormerV2, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        save_bundle(model, tmp_path / "file")


def test_foreign_weights(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    save_bundle(MixFormerV2(ARCH), tmp_path / "two")
    (folder / "model.safetensors").write_bytes((tmp_path / "two/model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match="sha256 differs"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64])
def test_damaged_weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load(folder)


def test_weights_of_another_architecture(folder: Path) -> None:
    config = read_config(folder)
    write_config(folder, replace(config, arch={**config.arch, "depth": 2}))
    with pytest.raises(WeightsError, match="does not fit"):
        load(folder)
    write_config(folder, replace(config, arch={**config.arch, "colour": "blue"}))
    with pytest.raises(WeightsError, match="colour"):
        load(folder)


def rewrite(folder: Path, path: str, value: Any) -> None:
    values = json.loads((folder / "config.json").read_text())
    node = values
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    if value == "absent":
        del node[last]
    else:
        node[last] = value
    (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("format", 2, "format is 2"),
        ("format", "absent", "format is None"),
        ("name", 5, "name"),
        ("arch", [], "arch"),
        ("bins", "64", "bins"),
        ("bins", True, "bins"),
        ("bins", 48, "the network has bins 16, the rest of the bundle says 48"),
        ("arch.template_size", 262144, "template_size"),
        ("arch.search_size", 128, "search_size"),
        ("arch.patch_size", "16", "patch_size must be a whole number of pixels, got '16'"),
        ("arch.patch_size", 0, "patch_size"),
        ("arch.patch_size", None, "patch_size"),
        ("has_score", False, "the network has score_head True"),
        ("has_score", 1, "has_score"),
        ("tracker", "absent", "tracker"),
        ("tracker.search_size", 1e9, "search_size"),
        ("tracker.search_factor", math.inf, "not JSON"),
        ("tracker.search_factor", 10**400, r"tracker\.search_factor is larger than any number"),
        ("tracker.lost_below", 2, "thresholds"),
        ("tracker.speed", 2, "speed"),
        ("input.mean", [0, 0], "mean"),
        ("input.std", [1, 0, 1], "std"),
        ("input.channels", "rgb", "channels"),
        ("input", 3, "input"),
        ("licence", "MIT", "licence"),
        ("graphs", [], "graphs"),
        ("graphs", {"../../etc/passwd": {}}, "passwd"),
        ("graphs", {"/tmp/a.onnx": {}}, "graphs"),
        ("graphs", {"a.onnx": {"sha256": 1}}, "sha256"),
        ("graphs", {"a.onnx": 5}, "graphs"),
        ("weights_sha256", None, "weights_sha256"),
    ],
)
def test_configs_that_cannot_be(folder: Path, path: str, value: Any, word: str) -> None:
    rewrite(folder, path, value)
    with pytest.raises(WeightsError, match=word):
        read_config(folder)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"{}" + b" " * (1 << 20)]
)
def test_files_that_are_no_config(folder: Path, text: bytes) -> None:
    (folder / "config.json").write_bytes(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        read_config(folder)


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*config\.json"):
        read_config(tmp_path)


def test_pieces_of_older_weights_do_not_outlive_them(model: MixFormerV2, folder: Path) -> None:
    save_bundle(model, folder, training={"dense.inside.bias": torch.ones(1)})
    split(folder, limit=20_000)
    (folder / "search.onnx.1of2").write_bytes(b"")
    with torch.no_grad():
        other = copy.deepcopy(model)
        other.box_head.mlps[0].fc1.bias += 1
    save_bundle(other, folder)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert join(folder) == []
    load(folder)


def test_a_bundle_in_pieces_says_how_it_is_put_together(model: MixFormerV2, folder: Path) -> None:
    save_bundle(model, folder, training={"dense.inside.bias": torch.ones(9000)})
    assert split(folder, limit=10_000)
    for read in (load, load_training_state):
        with pytest.raises(WeightsError, match=r"lies in pieces; .*weights\.pieces join .*one`"):
            read(folder)
    whole = b"".join(p.read_bytes() for p in sorted(folder.glob("model.safetensors.*")))
    (folder / "model.safetensors").write_bytes(whole)
    load(folder)
    with pytest.raises(WeightsError, match=r"training\.safetensors lies in pieces"):
        load_training_state(folder)  # its dense head would be missed without a word
