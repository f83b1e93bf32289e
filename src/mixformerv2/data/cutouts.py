"""Cut-outs: drawn from the bank or made up, rendered into a crop, pasted over another picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from .bank import Bank, Cutout
from .warp import Points, Pose, bend_field, bounds, mask_outline, moved, place, render

__all__ = ["draw_cutout", "draw_layer", "free_shape", "paste"]

Image = NDArray[np.uint8]


def paste(canvas: Image, layer: Image) -> None:
    """Blend a BGRA layer over the canvas, in place."""
    x, y, w, h = cv2.boundingRect(layer[..., 3])
    if w == 0 or h == 0:
        return
    part = canvas[y : y + h, x : x + w]
    top = layer[y : y + h, x : x + w]
    alpha = top[..., 3:].astype(np.uint16)
    mixed = top[..., :3] * alpha + part * (255 - alpha) + np.uint16(127)
    np.floor_divide(mixed, 255, out=mixed)
    part[...] = mixed.astype(np.uint8)


def draw_cutout(bank: Bank, rng: np.random.Generator) -> Cutout:
    """A segment of a picture, or a free form filled with a patch of one."""
    if rng.random() < 0.3:
        return _free_form(bank, rng)
    # Regions of bsds500 and frames of one video are many: draw the source first.
    by_source = bank.segments_of
    names = list(by_source)
    weights = np.sqrt([len(by_source[name]) for name in names])
    numbers = by_source[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
    return bank.cutout(numbers[int(rng.integers(len(numbers)))])


def _free_form(bank: Bank, rng: np.random.Generator) -> Cutout:
    picture = bank.picture(int(rng.integers(len(bank.paths))))
    side = int(rng.integers(40, 140))
    height, width = picture.shape[:2]
    side = min(side, height, width)
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    patch = picture[y : y + side, x : x + side]
    alpha = free_shape(rng, side)
    h, w = alpha.shape
    outline = mask_outline(alpha, largest=True)
    assert outline is not None  # fillPoly draws the outline itself
    soft = cv2.GaussianBlur(alpha * 255, (3, 3), 0)
    return Cutout(np.dstack([patch[:h, :w], soft]), outline, "free_form")


def free_shape(rng: np.random.Generator, side: int) -> Image:
    """A made-up shape as a mask of 0 and 1, `side` pixels on its longer side."""
    angle = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    kind = rng.random()
    if kind < 0.4:  # a superquadric, from diamond over ellipse to box
        power = float(rng.uniform(0.3, 1.4))
        u = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
        v = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    elif kind < 0.75:  # a smooth blob
        radius = np.ones_like(angle)
        for k in range(2, 6):
            radius += rng.normal(0, 0.35 / k) * np.cos(k * angle + rng.uniform(0, 6.28))
        radius = np.maximum(radius, 0.25)
        u, v = radius * np.cos(angle), radius * np.sin(angle)
    else:  # a polygon
        corners = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 9))))
        radius = rng.uniform(0.5, 1.0, len(corners))
        u, v = radius * np.cos(corners), radius * np.sin(corners)
    shape = np.stack([u, v], 1)
    shape -= shape.min(0)
    shape /= np.maximum(shape.max(0), 1e-3)
    stretch = math.exp(float(rng.normal(0, 0.35)))
    w = side if stretch > 1 else max(12, round(side * stretch))
    h = side if stretch < 1 else max(12, round(side / stretch))
    points = np.round(3 + shape * [w - 7, h - 7]).astype(np.int32)
    alpha = np.zeros((h, w), np.uint8)
    cv2.fillPoly(alpha, [points], 1)
    return alpha


def draw_layer(
    cutout: Cutout,
    rng: np.random.Generator,
    pose: Pose,
    size: float,
    centre: tuple[float, float],
    side: int,
) -> tuple[Image, Points]:
    """Draw a cut-out into an empty crop: BGRA `[side, side, 4]` and where its outline landed."""
    matrix = place(cutout.outline, pose, size, centre)
    field = bend_field(rng, pose.bend, size, centre, side)
    bgra = _shrunk(cutout.bgra, cutout.outline, size)
    drawn = matrix if bgra is cutout.bgra else matrix @ np.diag([2.0, 2.0, 1.0])
    return render(bgra, drawn, side, field), moved(cutout.outline, matrix, field)


def _shrunk(bgra: Image, outline: Points, size: float) -> Image:
    """Half the picture where bilinear sampling would skip pixels."""
    x1, y1, x2, y2 = bounds(outline)
    if math.sqrt((x2 - x1) * (y2 - y1)) < 2.4 * size:
        return bgra
    height, width = bgra.shape[0] // 2 * 2, bgra.shape[1] // 2 * 2
    half = cv2.resize(
        bgra[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA
    )
    return np.asarray(half, np.uint8)
