"""The middle of the search crop alone, while the target rests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mixformerv2.box import Box
from mixformerv2.errors import ConfigError, EngineError
from mixformerv2.models import load
from mixformerv2.runtime import load_engine
from mixformerv2.tracking import MultiTracker, Tracker, TrackerSettings, TrackState
from mixformerv2.tracking.crop import Crop
from mixformerv2.tracking.motion import Motion, middle_shown
from tests.doubles import ScriptedEngine, config, moving_square

FRAME = moving_square()(0)
BOX = (20, 40, 24, 24)
REST = (0.375, 0.375, 0.625, 0.625)
"""Corners of a target that stands exactly still."""


def tracker(
    scores: list[float] | None = None, **settings: Any
) -> tuple[Tracker, ScriptedEngine, list[int]]:
    # The first score goes to the crop that it is tried with.
    engine = ScriptedEngine([1.0, *(scores or [])], corners=REST)
    one = Tracker.with_engine(engine, config(search_middle=32, **settings))
    one.init(FRAME, BOX)
    engine.searched.clear()
    sizes = []
    for _ in range(8):
        one.update(FRAME)
        sizes.append(engine.searched[-1].shape[1])
    return one, engine, sizes


def test_a_target_at_rest_is_shown_less_of() -> None:
    one, engine, sizes = tracker()
    assert sizes == [64] * 3 + [32] * 5
    assert one.state is not None
    whole = Crop.around(Box(*BOX), 4.0, 64).take(FRAME)
    np.testing.assert_array_equal(engine.searched[-1][0], whole[16:48, 16:48])


def test_an_answer_is_in_parts_of_the_whole_crop() -> None:
    one, _, _ = tracker()
    assert one.update(FRAME).box == pytest.approx(BOX)


def test_doubt_brings_the_whole_crop_back() -> None:
    _, _, sizes = tracker([1, 1, 1, 1, 0.1, 1, 1, 1], lost_until=0.2, uncertain_until=0.5)
    assert sizes == [64, 64, 64, 32, 32, 64, 64, 64]


def test_motion_brings_the_whole_crop_back() -> None:
    chosen = TrackerSettings(32, 64, search_middle=32, middle_below=0.1)
    motion = Motion(calm=3)
    slow, fast, larger = Box(21, 40, 24, 24), Box(23, 40, 24, 24), Box(20, 40, 24, 27)
    for box, calm in ((slow, 3), (fast, 0), (larger, 0)):
        assert motion.after(Box(*BOX), box, "tracked", 0.1, chosen).calm == calm


def test_a_target_that_fills_the_middle_is_shown_whole() -> None:
    chosen = TrackerSettings(32, 64, search_factor=4.0, search_middle=32)
    assert middle_shown(Box(0, 0, 20, 20), Motion(calm=3), chosen) == 32
    assert middle_shown(Box(0, 0, 40, 10), Motion(calm=3), chosen) == 0
    assert middle_shown(Box(0, 0, 20, 20), Motion(calm=2), chosen) == 0


def test_off_by_default_nothing_is_counted() -> None:
    one = Tracker.with_engine(ScriptedEngine(corners=REST), config())
    one.init(FRAME, BOX)
    for _ in range(5):
        one.update(FRAME)
    assert one.state is not None
    assert one.state.motion == Motion()


def test_the_middle_is_the_network_without_the_outer_tokens(small_bundle: Path) -> None:
    """Held to attention in which the outer tokens are masked out."""
    network = load(small_bundle)
    draw = torch.Generator().manual_seed(2)
    templates = [torch.randn(2, 3, 32, 32, generator=draw) for _ in range(2)]
    search = torch.randn(2, 3, 64, 64, generator=draw)
    memory = network.encode_templates(*templates)
    inner = search[:, :, 16:48, 16:48]
    backbone = network.backbone
    with torch.no_grad():
        got = network.step(inner, memory)
        # The stem of the inner crop, so that borders of convolutions do not count.
        tokens = F.pad(backbone.stem(inner).view(2, 2, 2, -1), (0, 0, 1, 1, 1, 1))
        x = torch.cat(
            [
                tokens.flatten(1, 2) + backbone.pos_search,
                (backbone.prediction_tokens + backbone.pos_prediction).expand(2, -1, -1),
            ],
            dim=1,
        )
        shown = F.pad(torch.ones(2, 2, dtype=torch.bool), (1, 1, 1, 1)).flatten()
        shown = torch.cat([torch.ones(8, dtype=torch.bool), shown, torch.ones(4, dtype=torch.bool)])
        for layer, (k_t, v_t) in zip(backbone.layers, memory, strict=True):
            q, k, v = layer.attn.split(layer.norm1(x))
            k, v = torch.cat([k_t, k], 2), torch.cat([v_t, v], 2)
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=shown[None])
            x = x + layer.attn.join(seen)
            x = x + layer.mlp(layer.norm2(x))
        expected = network.read(x[:, -4:])
    torch.testing.assert_close(got.boxes, expected.boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.score, expected.score, atol=1e-4, rtol=0)


@pytest.mark.parametrize("engine", ["onnx", "openvino-fp32"])
def test_engines_take_the_middle_as_pytorch_does(small_bundle: Path, engine: str) -> None:
    draw = np.random.default_rng(4)
    templates = draw.integers(0, 256, (3, 2, 32, 32, 3)).astype(np.uint8)
    search = draw.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    one, reference = (load_engine(small_bundle, name)[0] for name in (engine, "torch"))
    for batch in (1, 3):
        out = one.step(search[:batch], one.encode_templates(templates[:batch]))
        want = reference.step(search[:batch], reference.encode_templates(templates[:batch]))
        np.testing.assert_allclose(out.boxes, want.boxes, atol=1e-5)
        np.testing.assert_allclose(out.scores, want.scores, atol=1e-5)


@pytest.mark.parametrize("engine", ["openvino-fp32", "onnx-int8", "openvino-int8"])
def test_middles_of_many_are_answered_as_each_alone(engine: str) -> None:
    """The shipped model, whose int8 boxes moved in OpenVINO's compilation for any shape."""
    one, of_bundle = load_engine("t", engine, 1)
    t, count = of_bundle.tracker.template_size, 7
    middle = of_bundle.tracker.search_size - 32
    draw = np.random.default_rng(4)
    looks = draw.integers(0, 256, (count, 2, t, t, 3)).astype(np.uint8)
    search = draw.integers(0, 256, (count, middle, middle, 3)).astype(np.uint8)
    alone = [one.encode_templates(look[None]) for look in looks]
    out = one.step(search, one.join(alone))
    each = [one.step(crop[None], memory) for crop, memory in zip(search, alone, strict=True)]
    np.testing.assert_allclose(out.boxes * middle, [a.boxes[0] * middle for a in each], atol=1e-3)
    np.testing.assert_allclose(out.scores, [a.scores[0] for a in each], atol=1e-5)


@pytest.mark.parametrize("engine", ["onnx", "openvino-fp32", "torch"])
@pytest.mark.parametrize("size", [48, 96])
def test_what_is_no_middle_is_refused(small_bundle: Path, engine: str, size: int) -> None:
    one = load_engine(small_bundle, engine)[0]
    memory = one.encode_templates(np.zeros((1, 2, 32, 32, 3), np.uint8))
    with pytest.raises((EngineError, RuntimeError)):
        one.step(np.zeros((1, size, size, 3), np.uint8), memory)


def test_a_middle_of_fewer_tokens_than_the_network_keeps_is_refused() -> None:
    arch = {"patch_size": 16, "keep_tokens": 5, "keep_after": 1}
    bundle = replace(config(search_middle=32), arch=arch)
    with pytest.raises(ConfigError, match=r"shows the network 4 tokens, .* keep 5 of them"):
        Tracker.with_engine(ScriptedEngine(), bundle)
    Tracker.with_engine(ScriptedEngine(), replace(bundle, arch={**arch, "keep_tokens": 4}))


def test_a_size_that_does_not_fit_is_refused_at_once(small_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="search_middle=48 does not fit"):
        Tracker(small_bundle, engine="onnx", settings={"search_middle": 48})
    # A graph would take it for the whole crop, with everything half a token beside its place.
    with pytest.raises(ConfigError, match="search_middle=50 does not fit"):
        Tracker(small_bundle, engine="onnx", settings={"search_middle": 50})
    for size in (64, 16, 33):
        with pytest.raises(ConfigError, match="even number"):
            TrackerSettings(32, 64, search_middle=size)


@pytest.mark.parametrize("engine", ["onnx", "openvino-fp32", "torch"])
def test_a_corner_head_has_no_middle_in_any_engine(mixvit_bundle: Path, engine: str) -> None:
    """OpenVINO takes such a crop without a word and answers no box."""
    with pytest.raises(ConfigError, match="search_middle=32 does not fit"):
        Tracker(mixvit_bundle, engine=engine, settings={"search_middle": 32})


def test_the_whole_network_takes_the_middle_too(small_bundle: Path) -> None:
    network = load(small_bundle)
    draw = torch.Generator().manual_seed(2)
    template, online = (torch.randn(1, 3, 32, 32, generator=draw) for _ in range(2))
    search = torch.randn(1, 3, 32, 32, generator=draw)
    with torch.no_grad():
        whole = network(template, online, search)
        step = network.step(search, network.encode_templates(template, online))
        features = network.features((template, online), search)
    torch.testing.assert_close(whole.boxes, step.boxes)
    torch.testing.assert_close(whole.score, step.score)
    assert [one.shape[1] for one in features.search] == [4, 4]


def test_a_saved_state_stays_calm(small_bundle: Path) -> None:
    engine = ScriptedEngine(corners=REST)
    one = Tracker.with_engine(engine, config(search_middle=32))
    one.init(FRAME, BOX)
    for _ in range(4):
        one.update(FRAME)
        assert one.state is not None
        assert TrackState.from_bytes(one.save_state()).motion == one.state.motion


def test_targets_rest_each_by_itself() -> None:
    engine = ScriptedEngine(corners=REST)
    multi = MultiTracker.around(Tracker.with_engine(engine, config(search_middle=32)))
    multi.add(FRAME, BOX)
    for _ in range(3):
        multi.update(FRAME)
    multi.add(FRAME, (60, 50, 20, 20))
    engine.searched.clear()
    results = multi.update(FRAME)
    assert [one.shape[:2] for one in engine.searched] == [(1, 32), (1, 64)]
    assert results[0].box == pytest.approx(BOX)
    assert results[1].box == pytest.approx((60, 50, 20, 20))
