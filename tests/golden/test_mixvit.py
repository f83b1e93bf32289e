"""MixViT against what the published code answers for weights that anyone can rebuild."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mixformerv2.models import Output
from mixformerv2.models.corners import corner_maps
from mixformerv2.models.count import parameters
from mixformerv2.weights.official import build_official, inspect_official

from . import weights

ATOL = 1e-4  # the contract; float32 sums in another order differ by 1e-7 here
LEFT_OVER = ("backbone.cls_token", "backbone.pos_embed", "backbone.norm.weight", "head.bias")


def assert_parity(name: str, out: Output) -> None:
    """Both maps and the boxes, to the tolerance of the contract."""
    want = weights.reference(name)
    assert out.corners is not None
    maps = corner_maps(out.corners)
    side = maps.shape[-1]
    for index, corner in enumerate(("tl", "br")):
        expected = want[f"prob_{corner}"].reshape(2, side, side)
        np.testing.assert_allclose(maps[:, index].numpy(), expected, rtol=0, atol=ATOL)
        # Rows of the map are y: their sums are left and right, in the published order of maps.
        np.testing.assert_allclose(out.probs[:, 2 * index], expected.sum(1), rtol=0, atol=ATOL)
        np.testing.assert_allclose(out.probs[:, 2 * index + 1], expected.sum(2), rtol=0, atol=ATOL)
    cx, cy, w, h = want["pred_boxes"][:, 0].T
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    np.testing.assert_allclose(out.boxes.numpy(), corners, rtol=0, atol=ATOL)


@torch.inference_mode()
def check(name: str, head: str, side: int) -> None:
    """One model, in one pass and cached; the extras of a real checkpoint are reported."""
    extras = {key: torch.zeros(3) for key in LEFT_OVER}
    official = inspect_official({"net": weights.state_dict(name) | extras})
    assert official.ignored == LEFT_OVER
    config = official.config
    assert (config.box_head, config.bins, config.score_head) == (head, side, False)
    assert (config.template_size, config.search_size) == weights.sizes(name)
    # Batch norms' means and variances are among the published tensors, but nobody learns them.
    learnt = {k: v for k, v in weights.shapes(name).items() if "running" not in k}
    assert parameters(config) == sum(map(math.prod, learnt.values()))
    model = build_official(official)
    template, online, search = weights.inputs(name)
    assert_parity(name, model.step(search, model.encode_templates(template, online)))
    if config.depth == 12:  # the large one takes as long as all others
        assert_parity(name, model(template, online, search))


@pytest.mark.parametrize(
    ("name", "head", "side"),
    [("mixvit_b_corner_224", "corner", 14), ("mixvit_b_pyramid", "corner_pyramid", 72)],
)
def test_base_agrees(name: str, head: str, side: int) -> None:
    check(name, head, side)


def test_large_agrees(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "DATA", shared / "golden")
    check("mixvit_l_pyramid", "corner_pyramid", 72)
