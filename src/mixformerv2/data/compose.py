"""Composites: a cut-out of one picture moves over another, with look-alikes and occluders."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .augment import blur, recolour
from .bank import Bank, Cutout
from .change import camouflage, changed
from .cutouts import draw_cutout, draw_layer, paste
from .draft import Draft, Layout, Recipe, Window, visible_share
from .warp import (
    Matrix,
    Pose,
    bounds,
    render,
)  # fmt: skip

__all__ = ["add_look_alikes", "add_occluder", "composite"]

Image = NDArray[np.uint8]


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
        self, spot: tuple[float, float], size: float,
        centre: tuple[float, float], side: int,
    ) -> tuple[Image, Window]:  # fmt: skip
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


def _black_outside(image: Image, window: Window) -> None:
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
    layer, _ = draw_layer(other, rng, pose, share * size, centre, canvas.shape[0])
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
        if actor is not None and rng.random() < 0.6:
            other = replace(actor, bgra=recolour(rng, actor.bgra))
        elif rng.random() < 0.3:
            other = replace(other, bgra=recolour(rng, other.bgra))
        theirs = size * math.exp(float(rng.normal(0, 0.3)))
        spot = rng.uniform(-0.1, 1.1, 2) * side
        away = spot - centre
        reach = 0.45 * (size + theirs) * float(rng.uniform(1.0, 1.5))
        distance = float(np.hypot(*away))
        if distance < reach:
            spot = centre + away * (reach / max(distance, 1e-3))
        layer, _ = draw_layer(
            other, rng, Pose.draw(rng, 0.7), theirs, (float(spot[0]), float(spot[1])), side
        )
        paste(canvas, layer)


def composite(bank: Bank, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft:
    """One composite: template, online template and search of a cut-out over other pictures.

    Args:
        bank: Where the pictures come from.
        recipe: Sizes of the crops, and how hard it may be.
        rng: Its only source of chance.
        absent: Leave the target out of the search.
    """
    layout = recipe.layouts(rng)
    actor = draw_cutout(bank, rng)
    strength = float(rng.uniform(0.1, 1.0)) * recipe.hardness
    augment = recipe.augment
    first = Pose.draw(rng, 0.7, augment=augment)
    now = first.vary(rng, strength, augment=augment)
    soon = rng.random() < 0.7
    before_pose, change = (now, 0.4 * strength) if soon else (first, strength)
    lately = before_pose.vary(rng, change, augment=augment)
    stage = Stage.draw(bank, rng)
    other_stage = Stage.draw(bank, rng) if recipe.chance(rng, 0.3) else stage
    start = stage.spot(rng)
    end = other_stage.near(rng, start, 2.5) if other_stage is stage else other_stage.spot(rng)
    if recipe.chance(rng, 0.2 * augment.camouflage):
        actor = camouflage(actor, stage.picture, float(rng.uniform(0.4, 1.0)))
    later = changed(bank, rng, actor, strength * augment.change)
    before = later if rng.random() < 0.7 else actor
    crowd = (
        int(rng.choice(4, p=[0.1, 0.4, 0.3, 0.2]))
        if recipe.chance(rng, 0.72 * augment.look_alikes)
        else 0
    )

    scene = _Scene(bank, rng, recipe)
    template = scene.view(actor, stage, start, first, layout.template())[0]
    online = scene.view(before, other_stage, end, lately, layout.online(rng))[0]
    shown: Cutout | None = later
    if absent:
        shown = draw_cutout(bank, rng) if rng.random() < 0.6 else None
    search, box, window = scene.view(
        shown, other_stage, end, now, layout.search, later, crowd, occluded=0.22
    )
    return Draft(
        template, online, search, box, window, not absent, f"composite:{actor.source}",
        visible_share(box, window),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all views of one composite share."""

    bank: Bank
    rng: np.random.Generator
    recipe: Recipe

    def view(
        self, subject: Cutout | None, stage: Stage, spot: tuple[float, float], pose: Pose,
        layout: Layout, alike: Cutout | None = None, crowd: int = 0, occluded: float = 0.05,
    ) -> tuple[Image, NDArray[np.float64], Window]:  # fmt: skip
        """One crop, the subject's box and the part of the crop that the frame covers."""
        size, centre, side = layout.size, layout.centre, layout.side
        rng, recipe = self.rng, self.recipe
        canvas, window = stage.show(spot, size, centre, side)
        half = 0.5 * size
        box = np.array([centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half])
        layer: Image | None = None
        if subject is not None:
            layer, landed = draw_layer(subject, rng, pose, size, centre, side)
            box = bounds(landed)
            if recipe.chance(rng, 0.15 * recipe.augment.blur):
                layer = _blurred(rng, layer, size)
        if crowd:
            add_look_alikes(self.bank, rng, canvas, box, alike, crowd)
        if layer is not None:
            paste(canvas, layer)
        if subject is not None and recipe.chance(rng, occluded * recipe.augment.occluders):
            add_occluder(self.bank, rng, canvas, box)
        _black_outside(canvas, window)
        return canvas, box, window
