"""What the makers of composites and of real views hand over, and how samples are finished."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..synthetic import SyntheticConfig
from .look import develop, on, shaded, smeared
from .tables import Chance, Looks

__all__ = ["Drafts", "finish", "visible_share"]


@dataclass(frozen=True, slots=True)
class Drafts:
    """Samples before light and noise; boxes and windows in pixels of the search crops."""

    template: Tensor  # [B, 3, T, T], 0..255
    online: Tensor
    search: Tensor  # [B, 3, S, S]
    box: Tensor  # [B, 4], not clipped
    window: Tensor  # [B, 4], the part of the crop that shows the frame
    present: Tensor  # [B]


def visible_share(box: Tensor, window: Tensor) -> Tensor:
    """Share of boxes `[B, 4]` that lies inside the windows."""
    inside = torch.minimum(box[:, 2:], window[:, 2:]) - torch.maximum(box[:, :2], window[:, :2])
    area = (box[:, 2:] - box[:, :2]).prod(1).clamp(min=1e-6)
    return inside.clamp(min=0).prod(1) / area


def finish(
    drafts: Drafts, config: SyntheticConfig, chance: Chance, noise: torch.Generator
) -> dict[str, Tensor]:
    """Light, blur and noise, then the tensors that training takes."""
    device, side = drafts.search.device, config.search_size
    looks = Looks.draw(chance, config.grey)
    strength = chance.uniform(0.0, 1.2) * chance.hardness
    template = develop(drafts.template, looks.vary(chance, 0.5 * strength), noise)
    online = develop(drafts.online, looks.vary(chance, 0.7 * strength), noise)
    search, augment = drafts.search, chance.augment
    if augment.cut_out:
        search = _cut_out(search, drafts, chance, noise)
    rows = np.flatnonzero(chance.hard(0.12 * augment.shade))
    if len(rows):
        index = on(device, rows)
        search = search.index_copy(0, index, shaded(search[index], chance.of(rows)))
    rows = np.flatnonzero(chance.hard(0.12 * augment.blur))
    if len(rows):
        some, index = chance.of(rows), on(device, rows)
        length = on(device, some.uniform(3.0, max(4.0, side / 14)))
        search = search.index_copy(
            0, index, smeared(search[index], length, some.uniform(0.0, math.pi))
        )
    search = develop(search, looks.vary(chance, strength), noise)
    online = torch.where(on(device, chance.coin(0.1)).view(-1, 1, 1, 1), template, online)
    low, high = drafts.window[:, :2], drafts.window[:, 2:]
    high = torch.maximum(low, high)
    corners = [
        torch.minimum(torch.maximum(corner, low), high)
        for corner in (drafts.box[:, :2], drafts.box[:, 2:])
    ]
    seen = visible_share(drafts.box, drafts.window) >= config.min_visible
    return {
        "template": _bytes(template),
        "online": _bytes(online),
        "search": _bytes(search),
        "box": (torch.cat(corners, 1) / side).clamp(0, 1),
        "present": drafts.present & seen,
        "weight": torch.ones(len(search), device=device),
    }


def _cut_out(search: Tensor, drafts: Drafts, chance: Chance, noise: torch.Generator) -> Tensor:
    """Rectangles of noise over a quarter or so of some targets, as `augment.cut_out`."""
    device, count = search.device, len(chance)
    chosen = on(device, chance.hard(0.3 * chance.augment.cut_out)) & drafts.present
    edges = drafts.window[:, :2], drafts.window[:, 2:]
    low, high = drafts.box[:, :2].clamp(*edges), drafts.box[:, 2:].clamp(*edges)
    span = (high - low).clamp(min=0)
    part = span * on(device, chance.rng.uniform(0.3, 0.65, (count, 2)))
    corner = (low + (span - part) * on(device, chance.rng.random((count, 2)))).round()
    ends = (corner + part).round()
    line = torch.arange(search.shape[-1], device=device)
    across = (line >= corner[:, :1]) & (line < ends[:, :1])
    down = (line >= corner[:, 1:]) & (line < ends[:, 1:])
    hidden = down[:, None, :, None] & across[:, None, None, :] & chosen.view(-1, 1, 1, 1)
    grain = torch.rand(search.shape, generator=noise, device=device) * 255.0
    return torch.where(hidden, grain, search)


def _bytes(images: Tensor) -> Tensor:
    return (images + 0.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
