"""A MixViT bundle tracks like any other model, on every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mixformerv2 as mf
from mixformerv2.evaluation.speed import Clip
from mixformerv2.export import export_bundle
from mixformerv2.models import MixViT, ModelConfig
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking import TrackerSettings
from mixformerv2.weights import save_bundle

HEADS = ["corner", "corner_pyramid"]


@pytest.fixture(scope="module", params=HEADS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = ModelConfig(
        width=128,
        depth=2,
        template_size=32,
        search_size=64,
        stem="conv",
        box_head=request.param,
        head_channels=32,
    )
    folder = tmp_path_factory.mktemp("mixvit") / request.param
    settings = TrackerSettings(32, 64, update_interval=2, update_threshold=0.0)
    save_bundle(MixViT(config).eval(), folder, tracker=settings)
    export_bundle(folder)
    return folder


@pytest.mark.parametrize("engine", ["torch", "onnx", "openvino-fp32"])
def test_engines_agree_and_templates_are_kept(bundle: Path, engine: str) -> None:
    clip = Clip.moving(320, 240, count=6)
    reference = follow(bundle, "torch", clip)
    found = follow(bundle, engine, clip)
    np.testing.assert_allclose(
        [one.box for one in found], [one.box for one in reference], rtol=0, atol=1e-2
    )  # pixels
    scores = [one.score for one in found]
    np.testing.assert_allclose(scores, [one.score for one in reference], rtol=0, atol=1e-4)
    assert any(score not in (0.0, 1.0) for score in scores)


def follow(bundle: Path, engine: str, clip: Clip) -> list[mf.TrackResult]:
    tracker = mf.Tracker(str(bundle), engine=engine, threads=1)
    tracker.init(clip.frames[0], clip.boxes[0])
    return [tracker.update(frame) for frame in clip.frames[1:]]


def test_memory_has_the_score_module_as_one_more_layer(bundle: Path) -> None:
    engine, config = load_engine(str(bundle), "onnx", 1)
    templates = np.zeros((1, 3, 32, 32, 3), np.uint8)
    memory = engine.encode_templates(templates)
    assert memory.shape == (3, 2, 1, 2, 12, 64)
    out = engine.step(np.zeros((1, 64, 64, 3), np.uint8), memory)
    assert out.probs.shape == (1, 4, config.bins)
    np.testing.assert_allclose(out.probs.sum(-1), 1, atol=1e-5)
