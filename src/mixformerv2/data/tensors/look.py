"""Light, colour, blur, noise and JPEG of `data.augment` for whole batches on a device.

Pictures are float32 `[B, 3, S, S]`, BGR, 0..255. What happens in some samples only is done to those
alone; which, is known on the CPU, so that the device never has to be waited for.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .tables import Chance, Looks

__all__ = ["develop", "on", "shaded", "smeared"]

LUMA = (0.114, 0.587, 0.299)  # BGR
TAPS = 10


def on(device: torch.device, values: NDArray[np.generic]) -> Tensor:
    """An array on the device; numbers with a fraction as float32."""
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)


def develop(images: Tensor, looks: Looks, noise: torch.Generator) -> Tensor:
    """The views as the cameras see them."""
    device = images.device
    images = _softened(images, looks)
    keep = on(device, np.where(looks.grey, 0.0, looks.saturation)).view(-1, 1, 1, 1)
    luma = torch.tensor(LUMA, device=device).view(1, 3, 1, 1)
    images = images * keep + (1.0 - keep) * (images * luma).sum(1, keepdim=True)
    tint = np.where(looks.grey[:, None], 1.0, looks.tint)
    gain = on(device, looks.gain[:, None] * tint)[..., None, None]
    rest = on(device, 0.5 * (1.0 - looks.gain[:, None]) * tint + looks.offset[:, None])
    gamma = on(device, looks.gamma).view(-1, 1, 1, 1)
    curve = (images.clamp(0, 255) / 255.0).pow(gamma)
    images = (curve * gain + rest[..., None, None]).clamp(0, 1) * 255.0
    images = _noisy(images, looks.noise, noise)
    return _compressed(images, looks.quality)


def _softened(images: Tensor, looks: Looks) -> Tensor:
    """Defocus, and detail lost by a smaller picture, as one Gaussian each."""
    side = images.shape[-1]
    # To shrink by d and back by bilinear steps spreads a point with a variance of 1/4 (1/d^2 - 1).
    lost = np.where(looks.detail < 0.98, 0.25 * (looks.detail**-2.0 - 1.0), 0.0)
    focus = looks.softness * side / 128
    sigma = np.sqrt(lost + np.where(focus > 0.3, focus, 0.0) ** 2)
    rows = np.flatnonzero(sigma > 0.2)
    if not len(rows):
        return images
    reach = min(math.ceil(2.5 * float(sigma.max())), side // 2 - 1)
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (at / sigma[rows, None]) ** 2)
    weights = on(images.device, kernel / kernel.sum(1, keepdims=True))
    index = on(images.device, rows)
    some = images[index]
    flat = F.pad(some.reshape(1, -1, side, side), (reach,) * 4, mode="reflect")
    weights = weights.repeat_interleave(some.shape[1], 0)
    flat = F.conv2d(flat, weights[:, None, None], groups=len(weights))
    flat = F.conv2d(flat, weights[:, None, :, None], groups=len(weights))
    return images.index_copy(0, index, flat.view_as(some))


def smeared(images: Tensor, length: Tensor, angle: NDArray[np.float64]) -> Tensor:
    """Motion blur of pictures `[B, C, S, S]`, by `length` `[B]` pixels along `angle` in radians."""
    side = images.shape[-1]
    way = on(images.device, np.stack([np.cos(angle), np.sin(angle)], 1)) * length[:, None]
    line = (torch.arange(side, device=images.device, dtype=torch.float32) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([x, y], -1)[None]
    step = (way * 2 / side)[:, None, None]
    total = torch.zeros_like(images)
    for tap in range(TAPS):
        share = (tap + 0.5) / TAPS - 0.5
        total += F.grid_sample(
            images, grid + share * step, padding_mode="reflection", align_corners=False
        )
    return total / TAPS


def shaded(images: Tensor, chance: Chance) -> Tensor:
    """A soft shadow or light over a part of each view."""
    device, side = images.device, images.shape[-1]
    angle = on(device, chance.uniform(0, 2 * math.pi)).view(-1, 1, 1)
    edge = on(device, chance.uniform(-0.3, 0.3)).view(-1, 1, 1)
    soft = on(device, chance.uniform(0.03, 0.6)).view(-1, 1, 1)
    dark, light = chance.uniform(0.35, 0.85), chance.uniform(1.1, 1.6)
    low = on(device, np.where(chance.coin(0.7), dark, light)).view(-1, 1, 1)
    ramp = torch.linspace(-0.5, 0.5, side, device=device)
    across = angle.cos() * ramp[None, None] + angle.sin() * ramp[None, :, None]
    lit = ((across - edge) / soft + 0.5).clamp(0, 1)
    return (images * (low + (1 - low) * lit)[:, None]).clamp(0, 255)


def _noisy(images: Tensor, sigma: NDArray[np.float64], noise: torch.Generator) -> Tensor:
    rows = np.flatnonzero(sigma > 0)
    if not len(rows):
        return images
    index = on(images.device, rows)
    grain = torch.randn((len(rows), *images.shape[1:]), generator=noise, device=images.device) * on(
        images.device, sigma[rows]
    ).view(-1, 1, 1, 1)
    return images.index_copy(0, index, (images[index] + grain).clamp(0, 255))


# Annex K of the JPEG standard: how coarsely light and colour are kept at quality 50.
_LIGHT = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_COLOUR = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)  # fmt: skip
# Rows Y, Cb, Cr of B, G, R.
_TO_YCC = ((0.114, 0.587, 0.299), (0.5, -0.331264, -0.168736), (-0.081312, -0.418688, 0.5))


def _compressed(images: Tensor, quality: NDArray[np.float64]) -> Tensor:
    """What JPEG of this quality (4:2:0) leaves of the pictures; 0 leaves all."""
    rows = np.flatnonzero(quality > 0)
    side = images.shape[-1]
    if not len(rows) or side % 16:
        return images
    device = images.device
    index = on(device, rows)
    kept = quality[rows]
    scale = on(device, np.where(kept < 50, 50.0 / kept, 2.0 - kept / 50.0))
    mix = torch.tensor(_TO_YCC)
    unmix = torch.linalg.inv(mix).to(device)  # on the host: there it makes nobody wait
    mix = mix.to(device)
    ycc = torch.einsum("yc,bchw->byhw", mix, images[index]) - torch.tensor(
        [128.0, 0.0, 0.0], device=device
    ).view(1, 3, 1, 1)
    light = _quantised(ycc[:, :1], _LIGHT, scale)
    colour = _quantised(F.avg_pool2d(ycc[:, 1:], 2), _COLOUR, scale)
    colour = F.interpolate(colour, (side, side), mode="bilinear", align_corners=False)
    back = torch.einsum("cy,byhw->bchw", unmix, torch.cat([light + 128.0, colour], 1))
    return images.index_copy(0, index, back.clamp(0, 255))


def _quantised(planes: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """Cosine transform of blocks of 8 by 8, rounded by the table, and back."""
    device, side = planes.device, planes.shape[-1]
    steps = (torch.tensor(table, device=device) * scale.view(-1, 1, 1)).round().clamp(1, 255)
    k = torch.arange(8, device=device, dtype=torch.float32)
    wave = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * 0.5
    wave[0] *= math.sqrt(0.5)
    count = side // 8
    blocks = planes.reshape(*planes.shape[:2], count, 8, count, 8)
    found = torch.einsum("ui,bcminj,vj->bcmnuv", wave, blocks, wave)
    steps = steps[:, None, None, None]
    found = (found / steps).round() * steps
    blocks = torch.einsum("ui,bcmnuv,vj->bcminj", wave, found, wave)
    return blocks.flatten(4, 5).flatten(2, 3)
