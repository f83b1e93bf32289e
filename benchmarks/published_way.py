"""The yardstick: MixFormerV2 run the way the published code runs it.

A plain PyTorch script of our own that takes published weights under their own names. It is never
optimised, so that `make bench` always divides by the same thing: float32 in eager mode, every
token of both templates, the search region and the four predictions through every layer on every
frame, attention written out as softmax(Q K^T) V, and crops normalised in NumPy and PyTorch. A test
holds it to the golden numbers of the published code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

XYWH = tuple[float, float, float, float]
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Attention(nn.Module):
    """Template tokens look at templates, the others look at everything (eq. 1 of the paper)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, templates: int) -> Tensor:
        """`x` is [B, N, C]; its first `templates` tokens belong to the templates."""
        batch, count, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = torch.cat(
            [
                self.attend(q[:, :, :templates], k[:, :, :templates], v[:, :, :templates]),
                self.attend(q[:, :, templates:], k, v),
            ],
            dim=2,
        )
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))

    @staticmethod
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        return scores.softmax(dim=-1) @ v


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor, templates: int) -> Tensor:
        x = x + self.attn(self.norm1(x), templates)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=16, stride=16)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).flatten(2).transpose(1, 2)


class Backbone(nn.Module):
    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        width = shapes["backbone.patch_embed.proj.weight"][0]
        hidden = shapes["backbone.blocks.0.mlp.fc1.weight"][0]
        depth = sum(name.endswith("attn.qkv.weight") for name in shapes)
        self.patch_embed = PatchEmbed(width)
        self.pos_embed_t = nn.Parameter(torch.empty(shapes["backbone.pos_embed_t"]))
        self.pos_embed_s = nn.Parameter(torch.empty(shapes["backbone.pos_embed_s"]))
        self.reg_tokens = nn.Parameter(torch.empty(1, 4, width))
        self.pos_embed_reg = nn.Parameter(torch.empty(1, 4, width))
        self.blocks = nn.ModuleList(Block(width, hidden) for _ in range(depth))

    def forward(self, template: Tensor, online: Tensor, search: Tensor) -> Tensor:
        """All tokens through all layers; returns the prediction tokens [B, 4, C]."""
        first = self.patch_embed(template) + self.pos_embed_t
        latest = self.patch_embed(online) + self.pos_embed_t
        region = self.patch_embed(search) + self.pos_embed_s
        predictions = (self.reg_tokens + self.pos_embed_reg).expand(len(search), -1, -1)
        templates = first.shape[1] + latest.shape[1]
        x = torch.cat([first, latest, region, predictions], dim=1)  # [B, N, C]
        for block in self.blocks:
            x = block(x, templates)
        return x[:, -4:]


class BoxHead(nn.Module):
    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU()),
                nn.Sequential(nn.Linear(width, bins), nn.LayerNorm(bins)),
            ]
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Probabilities [B, 4, bins]; sides left, right, top, bottom as published."""
        probs: Tensor = self.layers[1](self.layers[0](tokens)).softmax(dim=-1)
        return probs


class ScoreHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Sequential(nn.Linear(width, width), nn.ReLU()), nn.Linear(width, 1)]
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Logit [B]: the four tokens' logits averaged."""
        logits: Tensor = self.layers[1](self.layers[0](tokens))
        return logits.mean(dim=(1, 2))


class PublishedNet(nn.Module):
    """S, B or the 12-layer model, built for a dict of published weights and loaded with it."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        self.backbone = Backbone(shapes)
        bins, width = shapes["box_head.layers.1.0.weight"]
        self.box_head = BoxHead(width, bins)
        if "score_head.layers.1.weight" in shapes:
            self.score_head: ScoreHead | None = ScoreHead(width)
        else:
            self.score_head = None
        self.load_state_dict(dict(state))
        self.eval()
        side = math.isqrt(shapes["backbone.pos_embed_t"][1]) * 16
        self.template_size = side
        self.search_size = math.isqrt(shapes["backbone.pos_embed_s"][1]) * 16

    def forward(
        self, template: Tensor, online: Tensor, search: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Boxes [B, 4] as cx, cy, w, h in 0..1, probabilities [B, 4, bins], score logit [B]."""
        tokens = self.backbone(template, online, search)
        probs = self.box_head(tokens)
        bins = torch.arange(probs.shape[-1], dtype=probs.dtype) / probs.shape[-1]
        left, right, top, bottom = (probs * bins).sum(dim=-1).unbind(dim=1)
        boxes = torch.stack(
            [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=1
        )
        return boxes, probs, None if self.score_head is None else self.score_head(tokens)


def crop_around(
    frame: NDArray[np.uint8], box: XYWH, factor: float, size: int
) -> tuple[NDArray[np.uint8], float]:
    """Square crop around a box, black outside the picture, and pixels of the crop per pixel.

    Right and bottom padding is one pixel more than needed, as published.
    """
    x, y, w, h = box
    side = math.ceil(math.sqrt(w * h) * factor)
    x1, y1 = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    height, width = frame.shape[:2]
    left, top = max(0, -x1), max(0, -y1)
    right, bottom = max(0, x1 + side - width + 1), max(0, y1 + side - height + 1)
    inside = frame[y1 + top : y1 + side - bottom, x1 + left : x1 + side - right]
    padded = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.resize(padded, (size, size)), np.uint8), size / side


def to_tensor(crop: NDArray[np.uint8]) -> Tensor:
    """RGB crop [S, S, 3] to the normalised network input [1, 3, S, S]."""
    picture = (crop.astype(np.float32) / 255.0 - MEAN) / STD
    return torch.from_numpy(picture.transpose(2, 0, 1).copy()).unsqueeze(0)


class PublishedTracker:
    """The published loop: one online template, its best candidate taken at each interval."""

    def __init__(
        self,
        net: PublishedNet,
        *,
        template_factor: float = 2.0,
        search_factor: float = 4.5,
        interval: int = 200,
        threshold: float = 0.5,
        margin: float = 10.0,
    ) -> None:
        self.net = net
        self.template_factor, self.search_factor = template_factor, search_factor
        self.interval, self.threshold, self.margin = interval, threshold, margin
        self.score = 1.0

    def init(self, frame: NDArray[np.uint8], box: XYWH) -> None:
        """Start on an RGB frame."""
        crop, _ = crop_around(frame, box, self.template_factor, self.net.template_size)
        self.first = self.online = self.candidate = to_tensor(crop)
        self.best = -1.0
        self.box, self.frame = box, 0

    @torch.no_grad()
    def update(self, frame: NDArray[np.uint8]) -> XYWH:
        """Box (x, y, w, h) in the next RGB frame; `score` holds its confidence, 0 to 1."""
        self.frame += 1
        crop, scale = crop_around(frame, self.box, self.search_factor, self.net.search_size)
        boxes, _, logit = self.net(self.first, self.online, to_tensor(crop))
        self.box = self._to_frame(boxes[0].tolist(), scale, frame.shape)
        if logit is not None:
            self.score = float(logit.sigmoid())
        if self.score > self.threshold and self.score > self.best:
            candidate, _ = crop_around(
                frame, self.box, self.template_factor, self.net.template_size
            )
            self.candidate, self.best = to_tensor(candidate), self.score
        if self.frame % self.interval == 0:
            self.online, self.candidate, self.best = self.candidate, self.first, -1.0
        return self.box

    def _to_frame(self, box: list[float], scale: float, shape: tuple[int, ...]) -> XYWH:
        """Map cx, cy, w, h of the crop around the unrounded centre, and clip with the margin."""
        size = self.net.search_size
        cx, cy, w, h = (value * size / scale for value in box)
        x, y, width, height = self.box
        half = 0.5 * size / scale
        x1 = cx + x + width / 2 - half - w / 2
        y1 = cy + y + height / 2 - half - h / 2
        left, right = self._clip(x1, x1 + w, shape[1])
        top, bottom = self._clip(y1, y1 + h, shape[0])
        return (left, top, max(self.margin, right - left), max(self.margin, bottom - top))

    def _clip(self, low: float, high: float, length: int) -> tuple[float, float]:
        low = min(max(0.0, low), length - self.margin)
        return low, min(max(self.margin, high), float(length))
