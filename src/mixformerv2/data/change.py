"""Change of a target's own looks: it turns, a part of it changes, it blends into the ground."""

from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .bank import Bank, Cutout
from .warp import mask_outline

__all__ = ["camouflage", "changed", "patch", "turn"]

Image = NDArray[np.uint8]


def turn(cutout: Cutout, angle: float, *, upright: bool) -> Cutout:
    """Turn a cut-out about its middle axis as if it were round.

    What was at the side comes to the front and shrinks at the other side; what was never seen is
    the mirror image of what was.

    Args:
        cutout: What to turn.
        angle: By how much, in radians.
        upright: Turn about the vertical axis; else about the horizontal one.
    """
    bgra = cutout.bgra if upright else np.swapaxes(cutout.bgra, 0, 1)
    width = bgra.shape[1]
    place = (np.arange(width) + 0.5) / width * 2.0 - 1.0
    seen = np.sin(np.arcsin(place) - angle)
    columns = ((seen + 1.0) * 0.5 * width).astype(np.intp).clip(0, width - 1)
    turned = bgra[:, columns]
    if not upright:
        turned = np.swapaxes(turned, 0, 1)
    return _outlined(np.ascontiguousarray(turned), cutout)


def _outlined(bgra: Image, before: Cutout) -> Cutout:
    alpha = np.asarray(bgra[..., 3] > 127, np.uint8)
    outline = mask_outline(alpha, largest=False)
    if outline is None or min(np.ptp(outline, axis=0)) < 6:
        return before
    return Cutout(bgra, outline, before.source)


def patch(bank: Bank, rng: np.random.Generator, cutout: Cutout) -> Cutout:
    """Cover a soft part of the cut-out by a piece of any picture; its shape stays."""
    height, width = cutout.bgra.shape[:2]
    picture = bank.picture(int(rng.integers(len(bank.paths))))
    part = min(int(rng.integers(24, 128)), *picture.shape[:2])
    x = int(rng.integers(picture.shape[1] - part + 1))
    y = int(rng.integers(picture.shape[0] - part + 1))
    cloth: NDArray[Any] = cv2.resize(picture[y : y + part, x : x + part], (width, height))
    veil = rng.uniform(-1.2, 1.0, (4, 4)).astype(np.float32)
    soft = cv2.resize(veil, (width, height), interpolation=cv2.INTER_CUBIC)
    share = (4.0 * soft).clip(0.0, 1.0)[..., None]
    bgra = cutout.bgra.copy()
    bgra[..., :3] = (bgra[..., :3] * (1.0 - share) + cloth * share).astype(np.uint8)
    return Cutout(bgra, cutout.outline, cutout.source)


def camouflage(cutout: Cutout, ground: Image, share: float) -> Cutout:
    """Shift the cut-out's mean colour towards that of the ground."""
    opaque = np.asarray(cutout.bgra[..., 3] > 127, np.uint8)
    own = cv2.mean(cutout.bgra, opaque)
    there = cv2.mean(ground)
    shift = [share * (there[c] - own[c]) for c in range(3)]
    return Cutout(
        cast(Image, cv2.add(cutout.bgra, np.array([*shift, 0.0]))), cutout.outline, cutout.source
    )


def changed(bank: Bank, rng: np.random.Generator, cutout: Cutout, strength: float) -> Cutout:
    """The target some time later; strength 0 leaves it as it is, 1 may change much."""
    u = rng.random(3)
    if u[0] < 0.45:
        angle = float(rng.normal(0.0, math.radians(40))) * strength
        limit = math.radians(75)
        cutout = turn(cutout, min(max(angle, -limit), limit), upright=bool(u[1] < 0.7))
    if u[2] < 0.2 * strength:
        cutout = patch(bank, rng, cutout)
    return cutout
