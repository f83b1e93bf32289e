"""Names and shapes of the published checkpoints' tensors, and ours for them.

MixFormerV2: `backbone.blocks.0.attn.qkv.weight`, `box_head.layers.1.0.bias`, `score_head.*`.
MixViT: the same backbone, `box_head.conv1_tl.0.weight` (`tl` top left, `br` bottom right), and
`score_branch.*` where the score prediction module was trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..models.config import ModelConfig

__all__ = ["POSITIONS", "SCORE_HEAD", "SCORE_MODULE", "our_name", "published_shapes"]

Shape = tuple[int, ...]

POSITIONS = ("backbone.pos_embed_t", "backbone.pos_embed_s")
"""Fixed position embeddings, which are compared and not copied."""

SCORE_HEAD = "score_head.layers."
"""What the names of MixFormerV2's score head start with."""

SCORE_MODULE = "score_branch."
"""What the names of MixViT's score prediction module start with."""


def published_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Published names and shapes of all tensors of a network."""
    return dict([*_backbone(config), *(_mixvit(config) if config.corner_head else _tokens(config))])


def _linear(name: str, into: int, out: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _backbone(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    c, patch = config.width, config.patch_size
    for name, grid in zip(POSITIONS, (config.template_grid, config.search_grid), strict=True):
        yield name, (1, grid**2, c)
    yield "backbone.patch_embed.proj.weight", (c, 3, patch, patch)
    yield "backbone.patch_embed.proj.bias", (c,)
    for layer in range(config.depth):
        block = f"backbone.blocks.{layer}"
        yield from _norm(f"{block}.norm1", c)
        yield from _linear(f"{block}.attn.qkv", c, 3 * c)
        yield from _linear(f"{block}.attn.proj", c, c)
        yield from _norm(f"{block}.norm2", c)
        yield from _linear(f"{block}.mlp.fc1", c, config.hidden)
        yield from _linear(f"{block}.mlp.fc2", config.hidden, c)


def _tokens(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    """MixFormerV2: prediction tokens and the heads on them."""
    c, bins = config.width, config.bins
    yield "backbone.reg_tokens", (1, 4, c)
    yield "backbone.pos_embed_reg", (1, 4, c)
    yield from _linear("box_head.layers.0.0", c, c)
    yield from _norm("box_head.layers.0.1", c)
    yield from _linear("box_head.layers.1.0", c, bins)
    yield from _norm("box_head.layers.1.1", bins)
    if config.score_head:
        yield from _linear("score_head.layers.0.0", c, c)
        yield from _linear("score_head.layers.1", c, 1)


def _mixvit(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    """MixViT: corner head and score prediction module."""
    c, k = config.width, config.head_channels
    for corner in ("tl", "br"):
        for step, (into, out) in enumerate(
            ((c, k), (k, k // 2), (k // 2, k // 4), (k // 4, k // 8))
        ):
            yield from _convolution(f"box_head.conv{step + 1}_{corner}", into, out)
        yield f"box_head.conv5_{corner}.weight", (1, k // 8, 1, 1)
        yield f"box_head.conv5_{corner}.bias", (1,)
        if config.box_head == "corner_pyramid":
            yield from _convolution(f"box_head.adjust1_{corner}", c, k // 2)
            yield from _convolution(f"box_head.adjust2_{corner}", c, k // 4)
            for branch, steps in ((3, (k // 2, k // 4, k // 8, 1)), (4, (k // 4, k // 8, 1))):
                for i in range(len(steps) - 1):
                    name = f"box_head.adjust{branch}_{corner}.{i}"
                    yield from _convolution(name, steps[i], steps[i + 1])
    if config.score_head:
        yield f"{SCORE_MODULE}score_token", (1, 1, c)
        yield from _norm(f"{SCORE_MODULE}norm1", c)
        for i in range(2):
            for part in ("proj_q", "proj_k", "proj_v", "proj"):
                yield from _linear(f"{SCORE_MODULE}{part}.{i}", c, c)
            yield from _norm(f"{SCORE_MODULE}norm2.{i}", c)
        for i in range(3):
            yield from _linear(f"{SCORE_MODULE}score_head.layers.{i}", c, 1 if i == 2 else c)


def _convolution(name: str, into: int, out: int) -> Iterator[tuple[str, Shape]]:
    """A 3x3 convolution and its batch norm."""
    yield f"{name}.0.weight", (out, into, 3, 3)
    yield f"{name}.0.bias", (out,)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.1.{part}", (out,)


_RENAMES = tuple(
    (re.compile(published), ours)
    for published, ours in (
        (r"backbone\.patch_embed\.", "backbone.stem."),
        (r"backbone\.reg_tokens", "backbone.prediction_tokens"),
        (r"backbone\.pos_embed_reg", "backbone.pos_prediction"),
        (r"backbone\.blocks\.", "backbone.layers."),
        (r"box_head\.layers\.0\.0\.", "box_head.mlps.0.fc1."),
        (r"box_head\.layers\.0\.1\.", "box_head.mlps.0.norm1."),
        (r"box_head\.layers\.1\.0\.", "box_head.mlps.0.fc2."),
        (r"box_head\.layers\.1\.1\.", "box_head.mlps.0.norm2."),
        (r"score_head\.layers\.0\.0\.", "score_head.fc1."),
        (r"score_head\.layers\.1\.", "score_head.fc2."),
        (r"score_branch\.score_token", "score_head.token"),
        (r"score_branch\.norm1\.", "score_head.norm."),
        (r"score_branch\.norm2\.", "score_head.norms."),
        (r"score_branch\.proj_([qkv])\.", r"score_head.\1."),
        (r"score_branch\.proj\.", "score_head.proj."),
        (r"score_branch\.score_head\.layers\.", "score_head.mlp."),
    )
)
_CORNER = re.compile(r"box_head\.(conv|adjust)(\d)_(tl|br)\.(.+)")


def our_name(name: str) -> str:
    """Our name of a published tensor."""
    if found := _CORNER.match(name):
        return _corner_name(found[1], int(found[2]), found[3], found[4])
    for published, ours in _RENAMES:
        if published.match(name):
            return published.sub(ours, name, count=1)
    raise AssertionError(f"no rename for {name}")


def _corner_name(kind: str, number: int, corner: str, rest: str) -> str:
    branch = f"box_head.branches.{('tl', 'br').index(corner)}"
    if kind == "conv":
        part = "last" if number == 5 else f"convs.{number - 1}"
    else:
        part = f"join.{number - 1}" if number <= 2 else f"skip.{number - 3}"
    return f"{branch}.{part}.{rest}"
