"""`Crop.take` on the device of a tensor: the same pixels as OpenCV's `resize` makes on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from ..tracking.crop import Crop

__all__ = ["take_crops"]

_ONE = 2048
"""A weight of 1: OpenCV weighs bytes in whole numbers of eleven bits."""


def take_crops(frame: Tensor, crops: Sequence[Crop], channels: str = "bgr") -> Tensor:
    """Cut squares out of a frame and resize them, in whole numbers, all in one go.

    Args:
        frame: `[H, W, 3]` uint8, on any device.
        crops: All of one size.
        channels: Order of the frame's colours.

    Returns `[B, size, size, 3]` uint8, BGR, on the same device. As in `Crop.take`, what lies
    outside is black, and so is the frame's last column and row.
    """
    height, width = frame.shape[:2]
    xs = [_line(crop.left, crop.side, crop.size, width) for crop in crops]
    ys = [_line(crop.top, crop.side, crop.size, height) for crop in crops]
    # [B, 2, size] each: places in the frame and weights, those outside with weight 0.
    x, wx = (torch.from_numpy(np.stack(part)).to(frame.device) for part in zip(*xs, strict=True))
    y, wy = (torch.from_numpy(np.stack(part)).to(frame.device) for part in zip(*ys, strict=True))

    def row(which: int) -> Tensor:
        lines = y[:, which, :, None]
        left = frame[lines, x[:, 0, None]].int() * wx[:, 0, None, :, None]
        return left + frame[lines, x[:, 1, None]].int() * wx[:, 1, None, :, None]

    top, bottom = ((row(which) >> 4) * wy[:, which, :, None, None] >> 16 for which in (0, 1))
    out = ((top + bottom + 2) >> 2).to(torch.uint8)
    return out.flip(-1) if channels == "rgb" else out


def _line(
    start: int, side: int, size: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Along one axis: the two places that each pixel is made of, and their weights."""
    at = ((np.arange(size) + 0.5) * (side / size) - 0.5).astype(np.float32)
    low = np.floor(at).astype(np.int64)
    share = at - low.astype(np.float32)
    share[(low < 0) | (low >= side - 1)] = 0.0
    low = low.clip(0, side - 1)
    places = np.stack([low, np.minimum(low + 1, side - 1)]) + start
    weights = np.rint(np.stack([1 - share, share]) * _ONE).astype(np.int32)
    weights[(places < 0) | (places >= length - 1)] = 0
    return places.clip(0, length - 1), weights
