"""Stand-ins: an engine that answers from a list, and a network small enough to export in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixformerv2.runtime.base import EngineInfo, StepOutput
from mixformerv2.tracking import TrackerSettings
from mixformerv2.weights.bundle import BundleConfig

MIDDLE = (0.4, 0.4, 0.6, 0.6)
"""Corners in the search crop of a target that stands still."""


class ScriptedEngine:
    """Answers the given scores one after the other, always with the same corners.

    Its memory is the templates themselves, so that a test can see what the network would.
    """

    def __init__(
        self,
        scores: Iterable[float] = (),
        corners: tuple[float, float, float, float] = MIDDLE,
    ) -> None:
        self.info = EngineInfo("scripted", "fp32", 1)
        self.scores = iter(scores)
        self.corners = corners
        self.encoded: list[NDArray[np.uint8]] = []
        self.searched: list[NDArray[np.uint8]] = []
        self.memories: list[Any] = []

    def encode_templates(self, templates: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.encoded.append(templates)
        return templates

    def join(self, memories: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        return np.concatenate(memories)

    def step(self, search: NDArray[np.uint8], memory: Any) -> StepOutput:
        self.searched.append(search)
        self.memories.append(memory)
        batch = len(search)
        scores = [next(self.scores, 1.0) for _ in range(batch)]
        return StepOutput(
            np.tile(np.float32(self.corners), (batch, 1)),
            np.float32(scores),
            np.full((batch, 4, 8), 1 / 8, np.float32),
        )


def config(**changes: Any) -> BundleConfig:
    """A bundle's config for 32- and 64-pixel crops; settings by name, `has_score` among them."""
    has_score = changes.pop("has_score", True)
    sha256 = changes.pop("weights_sha256", "ab" * 32)
    settings = TrackerSettings(32, 64, **{"search_factor": 4.0, "min_size": 1.0, **changes})
    return BundleConfig("scripted", {}, settings, 8, has_score, sha256)


def make_bundle(folder: Path, *, score_head: bool = True, seed: int = 3) -> Path:
    """A tiny network whose boxes depend on what it sees, saved and exported."""
    import torch

    from mixformerv2.export import export_bundle
    from mixformerv2.models import ModelConfig
    from mixformerv2.models.mixformerv2 import MixFormerV2
    from mixformerv2.weights import save_bundle

    torch.manual_seed(seed)
    model = MixFormerV2(
        ModelConfig(
            width=64,
            depth=2,
            mlp_ratio=1.0,
            template_size=32,
            search_size=64,
            bins=32,
            stem="conv",
            box_head="four_tokens_own",
            score_head=score_head,
        )
    )
    with torch.no_grad():
        for parameter in model.backbone.stem.parameters():
            parameter.mul_(3)
        # Sharp distributions around the sides of a box in the middle.
        places = torch.arange(32) / 32
        for mlp, side in zip(model.box_head.mlps, (0.35, 0.35, 0.65, 0.65), strict=True):
            mlp.norm2.weight.fill_(2.0)  # type: ignore[operator, union-attr]
            mlp.norm2.bias.copy_(-60 * (places - side) ** 2)  # type: ignore[operator, union-attr]
        if model.score_head is not None:
            model.score_head.fc2.weight.mul_(50)
    save_bundle(model.eval(), folder, name="small")
    export_bundle(folder)
    return folder


def moving_square(
    size: tuple[int, int] = (120, 160), side: int = 24
) -> Callable[[int], NDArray[np.uint8]]:
    """Frames of a bright square that goes two pixels to the right each time."""
    draw = np.random.default_rng(5)
    ground = draw.integers(0, 90, (*size, 3)).astype(np.uint8)
    face = draw.integers(120, 255, (side, side, 3)).astype(np.uint8)

    def frame(number: int) -> NDArray[np.uint8]:
        out = ground.copy()
        left = 20 + 2 * number
        out[40 : 40 + side, left : left + side] = face[:, : max(0, out.shape[1] - left)]
        return out

    return frame


def make_mixvit_bundle(folder: Path) -> Path:
    """A tiny MixViT with a score module, saved and exported."""
    import torch

    from mixformerv2.export import export_bundle
    from mixformerv2.models import ModelConfig, build
    from mixformerv2.weights import save_bundle

    torch.manual_seed(3)
    sizes = {"width": 64, "depth": 2, "template_size": 32, "search_size": 64}
    model = build(ModelConfig(**sizes, box_head="corner", head_channels=16, mlp_ratio=1.0))
    save_bundle(model.eval(), folder, name="mixvit")
    export_bundle(folder)
    return folder
