"""Our networks against what the published code answers for weights that anyone can rebuild."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from mixformerv2.models import MixFormerV2, Output
from mixformerv2.models.count import parameters
from mixformerv2.weights import from_official

from . import weights

# Float32 sums of 3072 products in another order differ by about 1e-6; 1e-4 is the contract.
ATOL = 1e-4
FADED = {0: 0.37, 3: 0.37, 6: 0.37, 9: 0.37}
CASES = ["mixformerv2_s", "mixformerv2_b", "mixformerv2_12l", "pruning_gamma037"]


@pytest.fixture(scope="module", autouse=True)
def _free_memory() -> Iterator[None]:
    """The networks of this module weigh a gigabyte."""
    yield
    network.cache_clear()
    published.cache_clear()


@cache
def network(name: str) -> MixFormerV2:
    """Converted once a run: B and the 12-layer models take seconds to draw."""
    gain = FADED if name == "pruning_gamma037" else None
    return from_official(published(name), layer_gain=gain)


@cache
def published(name: str) -> dict[str, Tensor]:
    """Drawn once a run; the fading model has the names, so the weights, of the 12-layer one."""
    if name == "pruning_gamma037":
        assert weights.shapes(name) == weights.shapes("mixformerv2_12l")
        name = "mixformerv2_12l"
    return weights.state_dict(name)


@contextmanager
def recorded_layers(model: MixFormerV2) -> Iterator[dict[str, list[Tensor]]]:
    """Collect each layer's template and search tokens as the layers themselves return them."""
    seen: dict[str, list[Tensor]] = {"templates": [], "search": []}
    originals = [(layer, layer.templates, layer.search) for layer in model.backbone.layers]

    def record(kind, call):  # type: ignore[no-untyped-def]
        def run(*args):  # type: ignore[no-untyped-def]
            out = call(*args)
            seen[kind].append(out[0] if kind == "templates" else out)
            return out

        return run

    for layer, templates, search in originals:
        layer.templates, layer.search = record("templates", templates), record("search", search)
    try:
        yield seen
    finally:
        for layer, _, _ in originals:
            del layer.templates, layer.search


def assert_parity(name: str, out: Output) -> None:
    """Boxes, probabilities and scores to the tolerance of the contract."""
    want = weights.reference(name)
    for index, side in enumerate("ltrb"):
        np.testing.assert_allclose(out.probs[:, index], want[f"prob_{side}"], rtol=0, atol=ATOL)
    cx, cy, w, h = want["pred_boxes"][:, 0].T
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    np.testing.assert_allclose(out.boxes, corners, rtol=0, atol=ATOL)
    if "pred_scores" in want:
        assert out.score is not None
        np.testing.assert_allclose(out.score, want["pred_scores"], rtol=0, atol=ATOL)
    else:
        assert out.score is None


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_one_pass_agrees_layer_by_layer(name: str) -> None:
    model, images = network(name), weights.inputs(name)
    with recorded_layers(model) as seen:
        out = model(*images)
    assert_parity(name, out)
    means = [
        torch.cat(pair, dim=1).mean(dim=1)
        for pair in zip(seen["templates"], seen["search"], strict=True)
    ]
    want = weights.reference(name)
    np.testing.assert_allclose(torch.stack(means), want["layer_means"], rtol=0, atol=ATOL)
    ours = seen["search"][-1][:, -4:][:, [0, 2, 1, 3]]  # left, top, right, bottom as published
    np.testing.assert_allclose(ours, want["reg_tokens"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_cached_agrees(name: str) -> None:
    model, (template, online, search) = network(name), weights.inputs(name)
    memory = model.encode_templates(template, online)
    assert_parity(name, model.step(search, memory))


@torch.inference_mode()
def test_cached_one_sample_at_a_time_agrees() -> None:
    """Every other test runs the batch of two whole."""
    model, (template, online, search) = network("mixformerv2_s"), weights.inputs("mixformerv2_s")
    outs = [
        model.step(
            search[i : i + 1], model.encode_templates(template[i : i + 1], online[i : i + 1])
        )
        for i in range(2)
    ]
    score = torch.cat([out.score for out in outs if out.score is not None])
    probs, boxes = (torch.cat([getattr(out, key) for out in outs]) for key in ("probs", "boxes"))
    assert_parity("mixformerv2_s", Output(probs, boxes, score))


@pytest.mark.parametrize(
    ("name", "depth", "ratio", "bins", "template", "search", "score", "count"),
    [
        ("mixformerv2_s", 4, 1.0, 96, 112, 224, True, 16_228_897),
        ("mixformerv2_b", 8, 4.0, 96, 128, 288, True, 58_855_201),
        ("mixformerv2_12l", 12, 4.0, 72, 128, 288, False, 86_596_824),
    ],
)
def test_architecture_is_worked_out_from_the_tensors(
    name: str,
    depth: int,
    ratio: float,
    bins: int,
    template: int,
    search: int,
    score: bool,
    count: int,
) -> None:
    config = network(name).config
    assert (config.depth, config.mlp_ratio, config.bins) == (depth, ratio, bins)
    assert (config.template_size, config.search_size) == (template, search)
    assert (config.width, config.heads, config.score_head) == (768, 12, score)
    assert parameters(config) == count == sum(map(math.prod, weights.shapes(name).values()))
