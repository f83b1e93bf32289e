"""Samples of real pictures: two or three frames of a video, or one still warped against itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .bank import Bank, VideoFrame
from .compose import add_look_alikes, add_occluder
from .draft import Draft, Layout, Recipe, Window, visible_share
from .warp import Points, Pose, bend_field, bounds, box_outline, moved, place, render

__all__ = ["Shot", "clip_pair", "still", "video_pair"]

Image = NDArray[np.uint8]
TILT = 0.07  # a crop reaches four target sizes out: more perspective would fold the picture


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture with a target in it."""

    picture: Image
    outline: Points

    def view(
        self, rng: np.random.Generator, pose: Pose, layout: Layout, surroundings: Image | None
    ) -> View:
        """The crop of this picture with the target in the pose and place wanted.

        Args:
            rng: Its only source of chance.
            pose: How the target is turned.
            layout: Where it is in the crop.
            surroundings: What lies around the picture; None for black, as a tracker sees it.
        """
        side = layout.side
        matrix = place(self.outline, pose, layout.size, layout.centre)
        field = bend_field(rng, pose.bend, layout.size, layout.centre, side)
        image = render(self.picture, matrix, side, field)
        height, width = self.picture.shape[:2]
        # Bent edges leave the straight frame by a few pixels: draw it a little smaller.
        inset = 0.0 if field is None else 2.0 * pose.bend * layout.size / side * min(height, width)
        frame = np.array(
            [[inset, inset], [width - inset, inset], [width - inset, height - inset],
             [inset, height - inset]], np.float32,
        )  # fmt: skip
        corners = moved(frame, matrix, None)
        outside = np.ones((side, side), np.uint8)
        cv2.fillConvexPoly(outside, np.clip(corners * 16 - 8, -1e6, 1e6).astype(np.int32), 0, 8, 4)
        x, y = np.sort(corners[:, 0]), np.sort(corners[:, 1])
        # Turned frames have slanted edges: the middle two corners bound what is surely inside.
        window = (
            max(float(x[0] + x[1]) / 2, 0.0), max(float(y[0] + y[1]) / 2, 0.0),
            min(float(x[2] + x[3]) / 2, side), min(float(y[2] + y[3]) / 2, side),
        )  # fmt: skip
        view = View(
            image, bounds(moved(self.outline, matrix, field)), window, outside, surroundings
        )
        view.surround()
        return view


@dataclass(frozen=True, slots=True)
class View:
    """A crop, the target's box in it, and where it shows the frame."""

    image: Image
    box: NDArray[np.float64]
    window: Window
    outside: Image  # 1 where the crop does not show the frame
    surroundings: Image | None

    def surround(self) -> None:
        """Draw what is around the frame over everything outside it, in place."""
        if not self.outside.any():
            return
        if self.surroundings is None:
            self.image[self.outside != 0] = 0
        else:
            cv2.copyTo(self.surroundings, self.outside, self.image)


def _surroundings(bank: Bank, rng: np.random.Generator, side: int) -> Image:
    """A part of any picture, to lie around a frame that does not fill its crop."""
    picture = bank.picture(int(rng.integers(len(bank.paths))))
    height, width = picture.shape[:2]
    part = min(int(rng.integers(64, 220)), height, width)
    x, y = int(rng.integers(width - part + 1)), int(rng.integers(height - part + 1))
    return np.asarray(cv2.resize(picture[y : y + part, x : x + part], (side, side)), np.uint8)


def _draft(
    bank: Bank, recipe: Recipe, rng: np.random.Generator,
    shots: tuple[Shot, Shot, Shot], strength: float, source: str, stranger: Shot | None,
    upright: float,
) -> Draft:  # fmt: skip
    """Three views of the shots; with a stranger, the search shows that instead."""
    layout = recipe.layouts(rng)
    strength *= recipe.hardness
    augment = recipe.augment
    first = Pose.draw(rng, 0.6 * strength, TILT, augment)
    now = first.vary(rng, strength, TILT, augment)
    lately = now.vary(rng, 0.3 * strength, TILT, augment)
    if rng.random() < upright:
        first, now, lately = first.upright(), now.upright(), lately.upright()
    # A turned frame never has black around it; an upright one does, as a tracker sees it.
    turned = abs(now.angle) > 0.02 or abs(now.shear) > 0.02
    around: tuple[Image | None, Image | None] = (None, None)
    if turned or rng.random() < 0.4:
        around = (
            _surroundings(bank, rng, recipe.template_size),
            _surroundings(bank, rng, recipe.search_size),
        )
    template = shots[0].view(rng, first, layout.template(), around[0])
    online = shots[1].view(rng, lately, layout.online(rng), around[0])
    shot = shots[2] if stranger is None else stranger
    search = shot.view(rng, now, layout.search, around[1])
    crowd = int(rng.integers(1, 3)) if recipe.chance(rng, 0.25 * augment.look_alikes) else 0
    if crowd:
        add_look_alikes(bank, rng, search.image, search.box, None, crowd)
    if recipe.chance(rng, 0.12 * augment.occluders):
        add_occluder(bank, rng, search.image, search.box)
    search.surround()
    return Draft(
        template.image, online.image, search.image, search.box, search.window, stranger is None,
        source, visible_share(search.box, search.window),
    )  # fmt: skip


def _labelled(bank: Bank, rng: np.random.Generator) -> tuple[Shot, str]:
    """A still with a target: labelled, or the middle of a picture of one thing."""
    kind = rng.random()
    if kind < 0.4 and bank.stills:
        number = bank.stills[int(rng.integers(len(bank.stills)))]
        segment = bank.segments[number]
        return Shot(bank.picture(segment.picture), bank.segment_outline(number)), segment.source
    if kind < 0.65 and bank.boxed:
        boxed = bank.boxed[int(rng.integers(len(bank.boxed)))]
        return Shot(bank.picture(boxed.picture), boxed.outline), boxed.source
    free = bank.unlabelled or range(len(bank.paths))
    picture = bank.picture(free[int(rng.integers(len(free)))])
    height, width = picture.shape[:2]
    if rng.random() < 0.5:  # photographs of one thing show it large and in the middle
        w, h = rng.uniform(0.3, 0.8, 2) * (width, height)
        x = (width - w) * rng.uniform(0.3, 0.7)
        y = (height - h) * rng.uniform(0.3, 0.7)
    else:  # any part of a picture can be told from the others
        size = math.exp(float(rng.uniform(math.log(14), math.log(110))))
        stretch = math.exp(float(rng.normal(0, 0.3)))
        w, h = min(size * stretch, 0.8 * width), min(size / stretch, 0.8 * height)
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return Shot(picture, box_outline(float(x), float(y), float(w), float(h))), "unlabelled"


def still(bank: Bank, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft:
    """One picture warped against itself."""
    shot, source = _labelled(bank, rng)
    stranger = _labelled(bank, rng)[0] if absent else None
    strength = float(rng.uniform(0.2, 1.0))
    return _draft(bank, recipe, rng, (shot, shot, shot), strength, f"still:{source}", stranger, 0.4)


def video_pair(bank: Bank, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft:
    """Frames of one video, any time apart, in either order; the online one near the search."""
    name = bank.video_names[int(rng.integers(len(bank.video_names)))]
    stranger = _stranger(bank, rng, name) if absent else None
    return _pair(bank, recipe, rng, bank.videos[name], f"video:{name}", stranger)


def clip_pair(bank: Bank, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft:
    """Frames of one tracklet of an unlabelled clip."""
    number = int(rng.choice(len(bank.tracklets), p=bank.tracklet_weights))
    frames = bank.tracklets[number]
    name = bank.paths[frames[0].picture].parent.name
    # The clip itself may hold the target elsewhere: strangers come from other sources.
    stranger = _stranger(bank, rng, "") if absent else None
    return _pair(bank, recipe, rng, frames, f"clip:{name}", stranger)


def _pair(
    bank: Bank, recipe: Recipe, rng: np.random.Generator,
    frames: Sequence[VideoFrame], source: str, stranger: Shot | None,
) -> Draft:  # fmt: skip
    last = len(frames) - 1
    a = int(rng.integers(last + 1))
    if rng.random() < 0.65:
        b = int(rng.integers(last + 1))
    else:
        b = int(np.clip(a + rng.integers(-8, 9), 0, last))
    c = a if rng.random() < 0.15 else int(np.clip(b + rng.integers(-5, 6), 0, last))
    first, online, search = (_shot(bank, frames[i]) for i in (a, c, b))
    strength = float(rng.uniform(0.0, 0.5))
    return _draft(bank, recipe, rng, (first, online, search), strength, source, stranger, 0.75)


def _stranger(bank: Bank, rng: np.random.Generator, name: str) -> Shot:
    """Something else: the object of another video, or of a still."""
    others = [other for other in bank.video_names if other != name]
    if not others or rng.random() < 0.2:
        return _labelled(bank, rng)[0]
    frames = bank.videos[others[int(rng.integers(len(others)))]]
    return _shot(bank, frames[int(rng.integers(len(frames)))])


def _shot(bank: Bank, frame: VideoFrame) -> Shot:
    return Shot(bank.picture(frame.picture), frame.outline)
