"""Composites: a cut-out of one picture moves over another, with look-alikes and occluders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .augment import blur, recolour
from .bank import Bank, Cutout
from .draft import Draft, Layout, draw_layout, visible_share
from .warp import (
    Matrix,
    Points,
    Pose,
    bend_field,
    bounds,
    mask_outline,
    moved,
    place,
    render,
)  # fmt: skip

__all__ = ["add_look_alikes", "add_occluder", "composite", "draw_cutout", "paste"]

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
    outline = mask_outline(alpha, largest=True)
    assert outline is not None  # fillPoly draws the outline itself
    soft = cv2.GaussianBlur(alpha * 255, (3, 3), 0)
    return Cutout(np.dstack([patch[:h, :w], soft]), outline, "free_form")


@dataclass(frozen=True, slots=True)
class Actor:
    """A cut-out in its picture, as it is in one video."""

    bgra: Image
    outline: Points

    def layer(
        self, rng: np.random.Generator, pose: Pose, size: float, centre: tuple[float, float],
        side: int,
    ) -> tuple[Image, Points]:  # fmt: skip
        """Draw it into a crop: BGRA `[side, side, 4]` and where its outline landed."""
        matrix = place(self.outline, pose, size, centre)
        field = bend_field(rng, pose.bend, size, centre, side)
        bgra = _shrunk(self.bgra, self.outline, size)
        if bgra is not self.bgra:
            half = np.diag([2.0, 2.0, 1.0])
            return render(bgra, matrix @ half, side, field), moved(self.outline, matrix, field)
        return render(bgra, matrix, side, field), moved(self.outline, matrix, field)


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


@dataclass(frozen=True, slots=True)
class Stage:
    """The picture behind: which, how many of its pixels a target is wide, and its border."""

    picture: Image
    unit: float
    angle: float
    reflect: bool
    flip: bool

    @classmethod
    def draw(cls, bank: Bank, rng: np.random.Generator) -> Stage:
        reflect = bool(rng.random() < 0.6)
        return cls(
            picture=bank.picture(int(rng.integers(len(bank.paths)))),
            unit=math.exp(float(rng.uniform(math.log(12), math.log(60)))),
            angle=float(rng.normal(0, 0.15)) if reflect else 0.0,
            reflect=reflect,
            flip=bool(rng.random() < 0.5),
        )

    def spot(self, rng: np.random.Generator) -> tuple[float, float]:
        """A place for the target's centre, inside the picture."""
        height, width = self.picture.shape[:2]
        edge = 0.5 if rng.random() < 0.15 else 1.0
        margin = min(edge * 0.5 * self.unit, 0.4 * height, 0.4 * width)
        return (
            float(rng.uniform(margin, width - margin)),
            float(rng.uniform(margin, height - margin)),
        )

    def near(
        self, rng: np.random.Generator, spot: tuple[float, float], steps: float
    ) -> tuple[float, float]:
        """A place up to about `steps` target sizes away, inside the picture."""
        height, width = self.picture.shape[:2]
        dx, dy = rng.normal(0, steps * self.unit, 2)
        return (
            float(np.clip(spot[0] + dx, 0.05 * width, 0.95 * width)),
            float(np.clip(spot[1] + dy, 0.05 * height, 0.95 * height)),
        )

    def show(
        self, rng: np.random.Generator, spot: tuple[float, float], size: float,
        centre: tuple[float, float], side: int,
    ) -> tuple[Image, tuple[float, float, float, float]]:  # fmt: skip
        """Draw it with `spot` at `centre`, and the part of the crop that the frame covers."""
        scale = size / self.unit
        cos, sin = scale * math.cos(self.angle), scale * math.sin(self.angle)
        mirror = -1.0 if self.flip else 1.0
        turn = np.array([[mirror * cos, -sin], [mirror * sin, cos]])
        matrix: Matrix = np.eye(3)
        matrix[:2, :2] = turn
        matrix[:2, 2] = np.asarray(centre) - turn @ np.asarray(spot)
        border = cv2.BORDER_REFLECT_101 if self.reflect else cv2.BORDER_CONSTANT
        image = render(self.picture, matrix, side, border=border)
        if self.reflect:
            return image, (0.0, 0.0, float(side), float(side))
        height, width = self.picture.shape[:2]
        x1, x2 = sorted((matrix[0, 2], matrix[0, 2] + mirror * cos * width))
        y1, y2 = matrix[1, 2], matrix[1, 2] + cos * height
        return image, (max(x1, 0.0), max(y1, 0.0), min(x2, side), min(y2, side))


def _black_outside(image: Image, window: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = (round(v) for v in window)
    image[: max(y1, 0)] = 0
    image[max(y2, 0) :] = 0
    image[:, : max(x1, 0)] = 0
    image[:, max(x2, 0) :] = 0


def _blurred(rng: np.random.Generator, layer: Image, size: float) -> Image:
    """Motion blur of the target alone: it moves, the camera does not."""
    opaque = layer[..., 3:].astype(np.uint16)
    layer[..., :3] = (layer[..., :3] * opaque // 255).astype(np.uint8)
    smeared = blur(rng, layer, max(4, round(0.4 * size)))
    alpha = np.maximum(smeared[..., 3:], 1).astype(np.uint16)
    smeared[..., :3] = np.minimum(smeared[..., :3] * np.uint16(255) // alpha, 255)
    return smeared


def add_occluder(
    bank: Bank, rng: np.random.Generator, canvas: Image, box: NDArray[np.float64]
) -> None:
    """Something in front: it hides up to about half of the target."""
    other = draw_cutout(bank, rng)
    size = math.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1.0))
    angle = rng.uniform(0, 2 * math.pi)
    centre = (
        float(0.5 * (box[0] + box[2]) + 0.5 * (box[2] - box[0]) * math.cos(angle)),
        float(0.5 * (box[1] + box[3]) + 0.5 * (box[3] - box[1]) * math.sin(angle)),
    )
    share = float(rng.uniform(0.3, 0.9))
    pose = Pose.draw(rng, 0.8)
    layer, _ = Actor(other.bgra, other.outline).layer(
        rng, pose, share * size, centre, canvas.shape[0]
    )
    paste(canvas, layer)


def add_look_alikes(
    bank: Bank, rng: np.random.Generator, canvas: Image, box: NDArray[np.float64],
    actor: Cutout | None, many: int,
) -> None:  # fmt: skip
    """Other objects beside the target, some of them the target's shape in other colours."""
    side = canvas.shape[0]
    size = math.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1.0))
    centre = 0.5 * (box[:2] + box[2:])
    for _ in range(many):
        other = draw_cutout(bank, rng)
        bgra, outline = other.bgra, other.outline
        if actor is not None and rng.random() < 0.6:
            bgra, outline = recolour(rng, actor.bgra), actor.outline
        elif rng.random() < 0.3:
            bgra = recolour(rng, bgra)
        theirs = size * math.exp(float(rng.normal(0, 0.3)))
        spot = rng.uniform(-0.1, 1.1, 2) * side
        away = spot - centre
        reach = 0.45 * (size + theirs) * float(rng.uniform(1.0, 1.5))
        distance = float(np.hypot(*away))
        if distance < reach:
            spot = centre + away * (reach / max(distance, 1e-3))
        layer, _ = Actor(bgra, outline).layer(
            rng, Pose.draw(rng, 0.7), theirs, (float(spot[0]), float(spot[1])), side
        )
        paste(canvas, layer)


def composite(bank: Bank, layout_of: tuple[int, int, float, float], rng: np.random.Generator,
              absent: bool) -> Draft:  # fmt: skip
    """One composite: template, online template and search of a cut-out over other pictures.

    Args:
        bank: Where the pictures come from.
        layout_of: Template and search size, template and search factor.
        rng: Its only source of chance.
        absent: Leave the target out of the search.
    """
    layout = draw_layout(rng, *layout_of)
    actor = draw_cutout(bank, rng)
    strength = float(rng.uniform(0.1, 1.0))
    first = Pose.draw(rng, 0.7)
    now = first.vary(rng, strength)
    lately = now.vary(rng, 0.4 * strength) if rng.random() < 0.7 else first.vary(rng, strength)
    stage = Stage.draw(bank, rng)
    other_stage = Stage.draw(bank, rng) if rng.random() < 0.3 else stage
    start = stage.spot(rng)
    end = other_stage.near(rng, start, 2.5) if other_stage is stage else other_stage.spot(rng)
    subject = Actor(actor.bgra, actor.outline)
    crowd = int(rng.choice(4, p=[0.35, 0.3, 0.2, 0.15]))

    template = _view(bank, rng, subject, stage, start, first, layout.template())[0]
    online = _view(bank, rng, subject, other_stage, end, lately, layout.online(rng))[0]
    if absent:
        target = draw_cutout(bank, rng) if rng.random() < 0.6 else None
        shown = None if target is None else Actor(target.bgra, target.outline)
    else:
        target, shown = actor, subject
    search, box, window = _view(
        bank, rng, shown, other_stage, end, now, layout.search, actor, crowd
    )
    return Draft(
        template, online, search, box, window, not absent, f"composite:{actor.source}",
        visible_share(box, window),
    )  # fmt: skip


def _view(
    bank: Bank, rng: np.random.Generator, subject: Actor | None, stage: Stage,
    spot: tuple[float, float], pose: Pose, layout: Layout, alike: Cutout | None = None,
    crowd: int = 0,
) -> tuple[Image, NDArray[np.float64], tuple[float, float, float, float]]:  # fmt: skip
    size, centre, side = layout.size, layout.centre, layout.side
    canvas, window = stage.show(rng, spot, size, centre, side)
    box = np.array([centre[0], centre[1], centre[0], centre[1]]) + 0.5 * size * np.array(
        [-1, -1, 1, 1]
    )
    layer: Image | None = None
    if subject is not None:
        layer, landed = subject.layer(rng, pose, size, centre, side)
        box = bounds(landed)
        if rng.random() < 0.15:
            layer = _blurred(rng, layer, size)
    if crowd:
        add_look_alikes(bank, rng, canvas, box, alike, crowd)
    if layer is not None:
        paste(canvas, layer)
    if subject is not None and rng.random() < (0.25 if crowd or alike is not None else 0.05):
        add_occluder(bank, rng, canvas, box)
    _black_outside(canvas, window)
    return canvas, box, window
