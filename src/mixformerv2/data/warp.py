"""Geometry of made-up views: where a target lands in a crop, and the picture that shows it there.

A `Pose` holds how a target is turned, stretched and bent; `place` makes the 3x3 map from the
pixels of its picture to those of a crop, of exactly the size wanted; `render` draws it; and
`moved` says where outline points land, so that boxes are exact and never read off pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .augment import PLAIN, AugmentConfig

__all__ = [
    "Field", "Matrix", "Points", "Pose", "bend_field", "bounds", "box_outline", "mask_outline",
    "moved", "place", "render",
]  # fmt: skip

Matrix = NDArray[np.float64]  # [3, 3]
Points = NDArray[np.float32]  # [N, 2] x, y
Field = NDArray[np.float32]  # [H, W, 2] displacement in pixels
Image = NDArray[np.uint8]
BEND_GRID = 5


@dataclass(frozen=True, slots=True)
class Pose:
    """How a target is seen: angles in radians, the rest relative to its size."""

    angle: float = 0.0
    aspect: float = 0.0  # log of width over height, on top of the target's own
    shear: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)  # perspective
    flip: bool = False
    bend: float = 0.0  # amplitude of the smooth deformation

    @classmethod
    def draw(
        cls, rng: np.random.Generator, strength: float, tilt: float = 0.25,
        augment: AugmentConfig = PLAIN,
    ) -> Pose:  # fmt: skip
        """A random pose; strength 0 is upright, 1 is wild; `tilt` bounds the perspective."""
        flip = bool(rng.random() < 0.5 * augment.flip)
        return cls(flip=flip).vary(rng, strength, tilt, augment)

    def vary(
        self, rng: np.random.Generator, strength: float, tilt: float = 0.25,
        augment: AugmentConfig = PLAIN,
    ) -> Pose:  # fmt: skip
        """The same target a while later: all but the flip may have changed."""
        a, b, c, d, e = rng.standard_normal(5) * strength
        wide = (3.0 if rng.random() < 0.12 else 1.0) * augment.rotation
        b, c, d, e = (augment.shape * float(value) for value in (b, c, d, e))
        return Pose(
            angle=self.angle + wide * 0.22 * float(a),
            aspect=_within(self.aspect + 0.2 * b, 0.8),
            shear=_within(self.shear + 0.12 * c, 0.4),
            tilt=(
                _within(self.tilt[0] + 0.7 * tilt * d, tilt),
                _within(self.tilt[1] + 0.7 * tilt * e, tilt),
            ),
            flip=self.flip,
            bend=augment.bend * float(rng.uniform(0.0, 0.10)) * strength
            if rng.random() < 0.6
            else 0.0,
        )

    def upright(self) -> Pose:
        """The same without the turn."""
        return replace(self, angle=0.0, shear=0.0)

    def matrix(self) -> Matrix:
        """The map for points centred at the origin with `sqrt(w h)` of one."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        stretch = math.exp(0.5 * self.aspect)
        mirror = -1.0 if self.flip else 1.0
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        shape = np.array(
            [[mirror * stretch, self.shear, 0.0], [0.0, 1.0 / stretch, 0.0], [*self.tilt, 1.0]]
        )
        return np.asarray(turn @ shape, np.float64)


def _within(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def box_outline(x: float, y: float, w: float, h: float) -> Points:
    """Outline of an object known by its box: a rounded shape that touches all four sides.

    The corners of a box are seldom part of the object; turning them would make boxes too large.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    u = np.sign(cos) * np.abs(cos) ** 0.6
    v = np.sign(sin) * np.abs(sin) ** 0.6
    return np.stack([x + w * (0.5 + 0.5 * u), y + h * (0.5 + 0.5 * v)], 1).astype(np.float32)


def mask_outline(mask: Image, *, largest: bool) -> Points | None:
    """Outline points of a 0/1 mask, in pixel edges: of its largest part, or of all parts.

    The tight box of the points is the box of the mask: pixel i covers i to i + 1.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    if largest:
        contours = [max(contours, key=cv2.contourArea)]
    points = np.concatenate([c.reshape(-1, 2) for c in contours]).astype(np.float32) + 0.5
    low, high = points.min(0), points.max(0)
    centre = 0.5 * (low + high)
    hull = cv2.convexHull(points).reshape(-1, 2)
    some = points[:: max(1, len(points) // 48)]
    outline = np.concatenate([hull, some]).astype(np.float32)
    # Contours run through pixel centres; half a pixel outwards on each side is the edge.
    span = np.maximum(high - low, 1.0)
    return np.asarray((outline - centre) * ((span + 1.0) / span) + centre, np.float32)


def bounds(points: Points) -> NDArray[np.float64]:
    """Tight box x1, y1, x2, y2 of points."""
    return np.concatenate([points.min(0), points.max(0)]).astype(np.float64)


def _apply(matrix: Matrix, points: Points) -> Points:
    raised = points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return (raised[:, :2] / raised[:, 2:]).astype(np.float32)


def place(outline: Points, pose: Pose, size: float, centre: tuple[float, float]) -> Matrix:
    """Map from the outline's picture to a crop in which the box has the size and centre given.

    Args:
        outline: The target in its picture.
        pose: How it is turned and stretched.
        size: `sqrt(width * height)` of the box wanted, in pixels of the crop.
        centre: The centre of the box wanted, in pixels of the crop.
    """
    x1, y1, x2, y2 = bounds(outline)
    unit = 1.0 / math.sqrt(max(x2 - x1, 1.0) * max(y2 - y1, 1.0))
    centred = np.array(
        [[unit, 0.0, -0.5 * unit * (x1 + x2)], [0.0, unit, -0.5 * unit * (y1 + y2)], [0, 0, 1.0]]
    )
    turned = pose.matrix() @ centred
    bx1, by1, bx2, by2 = bounds(_apply(turned, outline))
    scale = size / math.sqrt(max(bx2 - bx1, 1e-3) * max(by2 - by1, 1e-3))
    move = np.array(
        [
            [scale, 0.0, centre[0] - 0.5 * scale * (bx1 + bx2)],
            [0.0, scale, centre[1] - 0.5 * scale * (by1 + by2)],
            [0.0, 0.0, 1.0],
        ]
    )
    return np.asarray(move @ turned, np.float64)


def bend_field(
    rng: np.random.Generator, amplitude: float, size: float, centre: tuple[float, float], side: int
) -> Field | None:
    """A smooth random displacement of a crop, about `amplitude * size` pixels near the target."""
    if amplitude * size < 0.3:
        return None
    grid = rng.standard_normal((BEND_GRID, BEND_GRID, 2)).astype(np.float32)
    grid *= amplitude * size
    # Drawn at a quarter of the resolution: the field is smooth, and cubic warps are slow.
    small = max(side // 4, 8)
    zoom = small / side
    step = 2.0 * zoom * size / (BEND_GRID - 1)
    to_crop = np.array(
        [[step, 0.0, zoom * (centre[0] - size)], [0.0, step, zoom * (centre[1] - size)]]
    )
    field: NDArray[Any] = cv2.warpAffine(
        grid, to_crop, (small, small), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    # Damp the corners of the cells: neighbours that pull apart by more than the step would fold.
    field = cv2.GaussianBlur(field, (0, 0), max(0.3 * step, 0.5))
    return np.asarray(cv2.resize(field, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=8)
def _grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    return x, y


def moved(points: Points, matrix: Matrix, field: Field | None) -> Points:
    """Where points of the picture land in the crop that `render` draws."""
    landed = _apply(matrix, points)
    if field is None:
        return landed
    start = landed
    limit = np.array([field.shape[1] - 1, field.shape[0] - 1], np.float32)
    for _ in range(3):  # render looks up p + d(p), so p = start - d(p): a fixed point
        at = np.clip(landed, 0, limit).astype(np.intp)
        landed = start - field[at[:, 1], at[:, 0]]
    return landed


def render(
    picture: Image,
    matrix: Matrix,
    side: int,
    field: Field | None = None,
    border: int = cv2.BORDER_CONSTANT,
) -> Image:
    """Draw the picture into a square crop, black (or by another border) where the picture ends.

    Coordinates are pixel edges (pixel i covers i to i + 1), OpenCV's are pixel centres.
    """
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    back = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    centred = back @ matrix @ half
    if field is None:
        return cast(
            Image,
            cv2.warpPerspective(
                picture, centred, (side, side), flags=cv2.INTER_LINEAR, borderMode=border
            ),
        )
    x, y = _grid(side)
    x, y = x + field[..., 0], y + field[..., 1]
    inverse = np.linalg.inv(centred).astype(np.float32)
    # A pixel on the horizon comes from infinitely far: the border, as remap has it.
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / (inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2])
        map_x = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) * scale
        map_y = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) * scale
    return cast(Image, cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=border))
