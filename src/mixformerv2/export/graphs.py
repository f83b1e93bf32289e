"""The two functions that every engine runs, as PyTorch modules: crops of bytes in, numbers out.

The PyTorch engine runs them as they are; `export.onnx` writes them down as ONNX. Preprocessing is
part of them, so that nobody has to get channel order and normalisation right a second time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.network import Network
from ..weights.bundle import IMAGENET_MEAN, IMAGENET_STD, Triple

__all__ = ["Preprocess", "SearchGraph", "TemplateGraph"]


class Preprocess(nn.Module):
    """BGR crops of 8 bits `[B, S, S, 3]` to normalised RGB `[B, 3, S, S]`."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD) -> None:
        super().__init__()
        m, s = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (mean, std))
        # (x / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", (1 / (255 * s)).float(), persistent=False)
        self.register_buffer("shift", (-m / s).float(), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """`[B, S, S, 3]` uint8 to `[B, 3, S, S]` float32."""
        # Turned while still bytes, a quarter of the memory of floats.
        rgb = crops.permute(0, 3, 1, 2)[:, [2, 1, 0]]
        return rgb.float() * self.scale + self.shift


class TemplateGraph(nn.Module):
    """Templates to the memory that `SearchGraph` takes; runs when a template changes."""

    def __init__(self, model: Network, prepare: Preprocess) -> None:
        super().__init__()
        self.model = model
        self.prepare = prepare

    def forward(self, templates: Tensor) -> Tensor:
        """`[B, N, T, T, 3]` uint8 BGR to keys and values `[M, 2, B, h, N * nt, 64]`.

        M is the number of layers, and one more where a MixViT has a score module.
        """
        backbone = self.model.backbone
        tokens = backbone.stem(self.prepare(templates.flatten(0, 1)))
        tokens = tokens + backbone.pos_template  # [B * N, nt, C]
        return self.model.remember(tokens.reshape(templates.shape[0], -1, tokens.shape[-1]))


class SearchGraph(nn.Module):
    """Search crops and memory to boxes, scores and distributions; runs for each frame."""

    def __init__(self, model: Network, prepare: Preprocess) -> None:
        super().__init__()
        self.model = model
        self.prepare = prepare

    def forward(self, search: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the target.

        Args:
            search: `[B, S, S, 3]` uint8 BGR.
            memory: Of `TemplateGraph`, for the same B.

        Returns `[B, 4]` x1, y1, x2, y2 in 0..1 of the crop; `[B]` scores 0..1, ones without a
        score head; `[B, 4, bins]` distributions of left, top, right, bottom.
        """
        out = self.model.step(self.prepare(search), memory)
        if out.score is None:
            # Made of the boxes, so that it has their batch.
            scores = torch.zeros_like(out.boxes[:, 0]) + 1.0
        else:
            scores = out.score.sigmoid()
        return out.boxes, scores, out.probs
