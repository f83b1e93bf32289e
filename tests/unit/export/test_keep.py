"""Search graphs in which only the tokens that matter go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mixformerv2.errors import ConfigError
from mixformerv2.export import export_bundle, export_int8
from mixformerv2.models import ModelConfig, load
from mixformerv2.models.assemble import assemble
from mixformerv2.models.backbone import most_asked
from mixformerv2.models.count import multiply_adds
from mixformerv2.models.network import Network
from mixformerv2.runtime import load_engine
from mixformerv2.weights.bundle import read_config

DRAW = np.random.default_rng(6)
TEMPLATES = DRAW.integers(0, 256, (3, 2, 32, 32, 3)).astype(np.uint8)
SEARCH = DRAW.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


def keeping(network: Network, tokens: int, after: int = 1) -> Network:
    config = replace(network.config, keep_tokens=tokens, keep_after=after)
    return assemble(config, network.state_dict())


def test_those_that_are_asked_most_go_on() -> None:
    x = torch.arange(2 * 6 * 3.0).view(2, 6, 3)  # four search tokens, two that ask
    shares = torch.zeros(2, 1, 2, 8)  # and two templates before them
    shares[0, 0, :, 2:6] = torch.tensor([0.1, 0.4, 0.2, 0.3])
    shares[1, 0, :, 2:6] = torch.tensor([0.4, 0.1, 0.3, 0.2])
    kept = most_asked(x, shares, 2)
    torch.testing.assert_close(kept[0], x[0, [1, 3, 4, 5]])
    torch.testing.assert_close(kept[1], x[1, [0, 2, 4, 5]])


def test_all_kept_is_the_plain_network(small_bundle: Path) -> None:
    plain = load(small_bundle)
    draw = torch.Generator().manual_seed(2)
    templates = [torch.randn(2, 3, 32, 32, generator=draw) for _ in range(2)]
    search = torch.randn(2, 3, 64, 64, generator=draw)
    with torch.no_grad():
        expected, got = plain(*templates, search), keeping(plain, 16)(*templates, search)
        fewer = keeping(plain, 4)(*templates, search)
    torch.testing.assert_close(got.boxes, expected.boxes, atol=1e-6, rtol=0)
    torch.testing.assert_close(got.score, expected.score, atol=1e-5, rtol=0)
    assert (fewer.probs - expected.probs).abs().max() > 1e-6


def test_a_bundle_that_keeps_some(small_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "keeping"
    assert all(one.worst <= 1e-5 for one in export_bundle(small_bundle, out, (5, 1)))
    config = read_config(out)
    assert (config.arch["keep_tokens"], config.arch["keep_after"]) == (5, 1)
    assert config.weights_sha256 == read_config(small_bundle).weights_sha256
    reference = load_engine(out, "torch")[0]
    want = reference.step(SEARCH, reference.encode_templates(TEMPLATES))
    for name in ("onnx", "openvino-fp32"):
        engine = load_engine(out, name)[0]
        for batch in (1, 3):
            got = engine.step(SEARCH[:batch], engine.encode_templates(TEMPLATES[:batch]))
            np.testing.assert_allclose(got.boxes, want.boxes[:batch], atol=1e-5)


def test_what_is_told_of_the_whole_network_stays_with_it(
    small_bundle: Path, tmp_path: Path
) -> None:
    """Its card would claim an AUC that a network with less work does not have."""
    plain, out = tmp_path / "plain", tmp_path / "out"
    shutil.copytree(small_bundle, plain)
    papers = ("MODEL_CARD.md", "figures.json", "failures.png", "calibration.png")
    for name in ("LICENSE", *papers):
        (plain / name).write_text("0.708")
    export_bundle(plain, out)
    assert all((out / name).is_file() for name in papers)
    export_bundle(plain, out, keep=(0, 0))  # as it is
    assert all((out / name).is_file() for name in papers)
    export_bundle(plain, out, keep=(5, 1), early=(1, 0.9))
    assert (out / "LICENSE").is_file()
    assert not any((out / name).exists() for name in papers)
    less = {"keep_tokens": 5, "keep_after": 1, "exit_score": 0.9, "exit_after": 1}
    assert read_config(out).provenance["exported_with"] == less
    export_bundle(out, tmp_path / "back", keep=(0, 0), early=(0, 0.0))
    assert read_config(tmp_path / "back").provenance == read_config(plain).provenance


def test_its_int8_graphs_keep_as_many(small_bundle: Path, tmp_path: Path) -> None:
    plain, out = tmp_path / "plain", tmp_path / "keeping"
    shutil.copytree(small_bundle, plain)
    (plain / "search.int8.onnx").write_bytes(b"of the plain network")
    export_bundle(plain, out, (5, 1))
    assert not (out / "search.int8.onnx").exists()
    assert set(read_config(out).graphs) == {"template.onnx", "search.onnx"}
    export_int8(out, count=8, limit=1.0)
    engine, full = (load_engine(out, name)[0] for name in ("onnx-int8", "onnx"))
    got = engine.step(SEARCH, engine.encode_templates(TEMPLATES))
    want = full.step(SEARCH, full.encode_templates(TEMPLATES))
    assert np.median(np.abs(got.boxes - want.boxes)) < 0.05


@pytest.mark.parametrize(
    ("tokens", "after", "says"),
    [(17, 1, "16 search tokens"), (4, 2, "from 1 to 1"), (0, 1, "keep_tokens must be")],
)
def test_what_cannot_be_kept(small_bundle: Path, tokens: int, after: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        export_bundle(small_bundle, small_bundle, (tokens, after))
    assert "search.onnx" in read_config(small_bundle).graphs


def test_fewer_tokens_are_fewer_operations() -> None:
    config = ModelConfig(width=192, depth=6, mlp_ratio=3.0, template_size=80, search_size=160)
    few = replace(config, keep_tokens=49, keep_after=2)
    assert multiply_adds(few) < 0.8 * multiply_adds(config)
    assert multiply_adds(few, cached=False) == multiply_adds(config, cached=False)
    assert ModelConfig.from_dict(few.to_dict()) == few
    assert "keep_tokens" not in config.to_dict()
