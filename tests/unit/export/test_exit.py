"""Search graphs in which a frame may end after an early layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mixformerv2.errors import ConfigError
from mixformerv2.export import export_bundle, export_int8
from mixformerv2.export.graphs import Preprocess
from mixformerv2.models import ModelConfig, load
from mixformerv2.models.assemble import assemble
from mixformerv2.models.network import Network
from mixformerv2.runtime import load_engine
from mixformerv2.weights import save_bundle
from mixformerv2.weights.bundle import read_config

DRAW = np.random.default_rng(7)
TEMPLATES = DRAW.integers(0, 256, (4, 2, 32, 32, 3)).astype(np.uint8)
SEARCH = DRAW.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
LIGHT = np.linspace(0.1, 1.0, 4).reshape(4, 1, 1, 1)
SEARCH = (SEARCH * LIGHT).astype(np.uint8)


Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def looked_up(network: Network) -> Found:
    """Early logits, early boxes and last boxes of the four crops, by the layers themselves."""
    prepare = Preprocess()
    with torch.no_grad():
        templates = [prepare(torch.from_numpy(TEMPLATES[:, i])) for i in (0, 1)]
        pairs = [(one[0], one[1]) for one in network.encode_templates(*templates)]
        tokens = network.backbone.look(prepare(torch.from_numpy(SEARCH)), pairs)
        early, late = (network.read(x[:, -network.config.prediction_tokens :]) for x in tokens)
    return early.score.numpy(), early.boxes.numpy(), late.boxes.numpy()


@pytest.fixture(scope="module")
def bundle(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle with scores that differ; those of random weights hardly do."""
    network = load(small_bundle)
    logits = looked_up(network)[0]
    last = [part for part in network.score_head.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight /= float(logits.std())
        last.bias.copy_((last.bias - float(logits.mean())) / float(logits.std()))
    folder = tmp_path_factory.mktemp("scores") / "small"
    save_bundle(network, folder, name="small", precision="float32")
    export_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def answers(bundle: Path) -> Found:
    """What the four crops are answered, early and late."""
    logits, early, late = looked_up(load(bundle))
    assert np.abs(early - late).max(1).min() > 1e-3
    return 1 / (1 + np.exp(-logits)), early, late


@pytest.mark.parametrize("many", [0, 2, 4])
def test_each_target_ends_where_it_is_sure(bundle, tmp_path, answers, many):
    scores, early, late = answers
    edge = np.sort(scores)[::-1]
    assert np.abs(np.diff(edge)).min() > 1e-2
    sure = float({0: edge[0] + 1e-3, 2: (edge[1] + edge[2]) / 2, 4: edge[3] - 1e-3}[many])
    out = tmp_path / "exits"
    export_bundle(bundle, out, early=(1, sure))
    want = np.where((scores >= sure)[:, None], early, late)
    assert (scores >= sure).sum() == many
    for name in ("torch", "onnx", "openvino-fp32"):
        engine = load_engine(out, name)[0]
        memory = engine.encode_templates(TEMPLATES)
        np.testing.assert_allclose(engine.step(SEARCH, memory).boxes, want, atol=2e-5)
        for one in range(4):  # alone as in company
            alone = engine.encode_templates(TEMPLATES[one : one + 1])
            got = engine.step(SEARCH[one : one + 1], alone)
            np.testing.assert_allclose(got.boxes[0], want[one], atol=2e-5)


def test_what_comes_after_the_exit_is_in_the_branch_alone(bundle, tmp_path):
    out = tmp_path / "exits"
    export_bundle(bundle, out, early=(1, 0.5))
    graph = onnx.load(out / "search.onnx").graph
    plain = onnx.load(bundle / "search.onnx").graph
    (chooser,) = (node for node in graph.node if node.op_type == "If")
    branches = {one.name: one.g for one in chooser.attribute}
    assert [node.op_type for node in branches["then_branch"].node] == ["Identity"] * 3

    def softmaxes(nodes):
        return sum(node.op_type == "Softmax" for node in nodes)

    assert softmaxes(branches["else_branch"].node) == softmaxes(plain.node) - 1
    assert softmaxes(graph.node) >= 1
    assert [one.name for one in graph.output] == ["boxes", "scores", "probs"]
    config = read_config(out)
    assert (config.arch["exit_after"], config.arch["exit_score"]) == (1, 0.5)
    export_bundle(out, tmp_path / "plain", early=(0, 0.0))
    again = onnx.load(tmp_path / "plain" / "search.onnx").graph
    assert all(node.op_type != "If" for node in again.node)


def test_its_int8_graphs_end_early_too(bundle, tmp_path):
    out = tmp_path / "exits"
    export_bundle(bundle, out, early=(1, 1e-6))
    export_int8(out, count=8, limit=1.0)
    assert any(node.op_type == "If" for node in onnx.load(out / "search.int8.onnx").graph.node)
    full = load_engine(out, "onnx")[0]
    want = full.step(SEARCH, full.encode_templates(TEMPLATES))
    for name in ("onnx-int8", "openvino-int8"):
        engine = load_engine(out, name)[0]
        got = engine.step(SEARCH, engine.encode_templates(TEMPLATES))
        assert np.median(np.abs(got.boxes - want.boxes)) < 0.05


@pytest.mark.parametrize(
    ("after", "score", "says"),
    [
        (2, 0.9, "from 1 to 1"),
        (0, 0.9, "from 1 to 1, or 0 with exit_score 0"),
        (1, 1.5, "above 0 and at most 1"),
        (1, 0.0, "above 0 and at most 1"),
    ],
)
def test_where_no_frame_can_end(bundle, after, score, says):
    with pytest.raises(ConfigError, match=says):
        export_bundle(bundle, bundle, early=(after, score))


def test_an_exit_needs_a_score(bundle):
    config = load(bundle).config
    with pytest.raises(ConfigError, match="a score head"):
        replace(config, score_head=False, exit_after=1, exit_score=0.5)
    exits = replace(config, exit_after=1, exit_score=0.5)
    assert ModelConfig.from_dict(exits.to_dict()) == exits
    assert "exit_after" not in config.to_dict()
    assert assemble(exits, load(bundle).state_dict()).config.exit_after == 1
