"""Light, colour, blur and noise of made-up views: what changes a picture but moves nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

__all__ = [
    "PLAIN",
    "AugmentConfig",
    "Look",
    "blur",
    "cut_out",
    "motion_kernel",
    "recolour",
    "shade",
]

Image = NDArray[np.uint8]
LUMA = np.array([0.114, 0.587, 0.299], np.float32)  # BGR
RAMP = np.arange(256, dtype=np.float32) / 255.0


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How strong each augmentation is: 1 as the shipped models were trained, 0 is off, up to 10.

    Those that happen in some samples happen so many times as often, the others go so many times as
    far. Grey is a share of its own, `data.grey`.

    Attributes:
        centre: Way of the target from the middle of the search crop.
        scale: Change of its size.
        flip: Mirrored, half of the samples at 1.
        rotation: Turned in the picture's plane.
        shape: Stretched, sheared, tilted in perspective.
        bend: Bent smoothly.
        change: Turned about its own axis, with parts never seen; another part of clothing.
        light: Gain, offset, gamma and tint.
        colour: Saturation.
        shade: A soft shadow or light over a part.
        blur: Motion blur of the view or of the target, and defocus.
        detail: Resolution lost.
        noise: Grain of each pixel.
        jpeg: Compression.
        look_alikes: Other objects beside the target, some of its very shape.
        occluders: Something in front.
        camouflage: The target's colour moved towards the ground's.
        cut_out: Rectangles of noise over a part of the target.
    """

    centre: float = 1.0
    scale: float = 1.0
    flip: float = 1.0
    rotation: float = 1.0
    shape: float = 1.0
    bend: float = 1.0
    change: float = 1.0
    light: float = 1.0
    colour: float = 1.0
    shade: float = 1.0
    blur: float = 1.0
    detail: float = 1.0
    noise: float = 1.0
    jpeg: float = 1.0
    look_alikes: float = 1.0
    occluders: float = 1.0
    camouflage: float = 1.0
    cut_out: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 <= getattr(self, one.name) <= 10:
                raise ConfigError(
                    f"augment.{one.name} is a strength in 0..10, got {getattr(self, one.name)}"
                )


PLAIN = AugmentConfig()


@dataclass(frozen=True, slots=True)
class Look:
    """How a camera renders a scene at one moment."""

    gain: float = 1.0
    offset: float = 0.0
    gamma: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    grey: bool = False
    detail: float = 1.0  # share of the resolution that is kept
    softness: float = 0.0  # sigma of defocus in pixels of a 128-pixel crop
    noise: float = 0.0
    quality: int = 0  # JPEG, 0 for none

    @classmethod
    def draw(
        cls, rng: np.random.Generator, grey: float, hardness: float = 1.0,
        augment: AugmentConfig = PLAIN,
    ) -> Look:  # fmt: skip
        """The look of a whole video: camera, resolution and colour are the same in all views."""
        u = rng.random(8)
        look = cls(grey=bool(u[0] < grey))
        u[2:] /= max(hardness, 1e-6)
        if u[1] < 0.45:
            look = replace(
                look,
                gain=_further(float(rng.uniform(0.7, 1.3)), augment.light),
                offset=augment.light * float(rng.uniform(-0.08, 0.08)),
                gamma=math.exp(augment.light * float(rng.normal(0.0, 0.18))),
                saturation=_further(float(rng.uniform(0.3, 1.3)), augment.colour),
            )
        return replace(
            look,
            detail=float(rng.uniform(0.25, 0.9)) if u[2] < 0.22 * augment.detail else 1.0,
            softness=float(rng.uniform(0.4, 1.2)) if u[3] < 0.08 * augment.blur else 0.0,
            noise=float(rng.uniform(2.0, 12.0)) if u[4] < 0.12 * augment.noise else 0.0,
            quality=int(rng.integers(20, 80)) if u[5] < 0.2 * augment.jpeg else 0,
        )

    def vary(
        self, rng: np.random.Generator, strength: float, augment: AugmentConfig = PLAIN
    ) -> Look:
        """The same camera a while later: light, focus and compression may have changed."""
        u = rng.random(5)
        look = self
        if u[0] < 0.6:
            n = rng.standard_normal(6) * strength * augment.light
            look = replace(
                look,
                gain=look.gain * math.exp(0.2 * float(n[0])),
                offset=look.offset + 0.06 * float(n[1]),
                gamma=look.gamma * math.exp(0.15 * float(n[2])),
                tint=(_near_one(n[3]), _near_one(n[4]), _near_one(n[5])),
            )
        if u[1] < 0.1 * augment.blur:
            look = replace(look, softness=look.softness + float(rng.uniform(0.3, 1.6)))
        if u[2] < 0.08 * augment.detail:
            look = replace(look, detail=look.detail * float(rng.uniform(0.4, 0.9)))
        return look

    def apply(self, rng: np.random.Generator, image: Image) -> Image:
        """The view as this camera sees it: same shape, uint8."""
        view: NDArray[Any] = image
        side = image.shape[0]
        if self.detail < 0.98:
            small = max(6, round(side * self.detail))
            view = cv2.resize(view, (small, small), interpolation=cv2.INTER_AREA)
            view = cv2.resize(view, (side, side), interpolation=cv2.INTER_LINEAR)
        if self.softness * side / 128 > 0.3:
            view = cv2.GaussianBlur(view, (0, 0), self.softness * side / 128)
        if self.grey or abs(self.saturation - 1.0) > 0.02:
            keep = 0.0 if self.grey else self.saturation
            mix = keep * np.eye(3, dtype=np.float32) + (1.0 - keep) * LUMA[None, :]
            view = cv2.transform(view, mix)
        view = cv2.LUT(view, self._table())
        if self.noise > 0:
            view = _add_noise(rng, view, self.noise)
        if self.quality:
            _, data = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
            view = view if decoded is None else decoded
        return np.asarray(view, np.uint8)

    def _table(self) -> Image:
        curve = np.power(RAMP, self.gamma)
        tint = np.array((1.0, 1.0, 1.0) if self.grey else self.tint, np.float32)
        table = ((curve - 0.5) * self.gain + 0.5)[:, None] * tint + self.offset
        return np.asarray(table.clip(0.0, 1.0) * 255.0 + 0.5, np.uint8)[None]


def _further(value: float, strength: float) -> float:
    """A factor, so many times as far from 1; never below 0."""
    return value if strength == 1.0 else max(1.0 + strength * (value - 1.0), 0.0)


def _near_one(normal: float) -> float:
    return math.exp(0.06 * float(normal))


@lru_cache(maxsize=4)
def _noise_table(room: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(room).astype(np.float32)


def _add_noise(rng: np.random.Generator, image: NDArray[Any], sigma: float) -> Image:
    # Of 288 pixels and fewer all crops share one.
    table = _noise_table(max(1 << 18, 1 << image.size.bit_length()))
    start = int(rng.integers(0, len(table) - image.size))
    grain = (table[start : start + image.size] * sigma).astype(np.int16).reshape(image.shape)
    return cast(Image, cv2.add(image, grain, dtype=cv2.CV_8U))


@lru_cache(maxsize=512)
def motion_kernel(length: int, angle: int) -> NDArray[np.float32]:
    """A line of `length` pixels at `angle` degrees that sums to one."""
    side = length | 1
    kernel = np.zeros((side, side), np.float32)
    half, centre = 0.5 * (length - 1), side // 2
    dx, dy = half * math.cos(math.radians(angle)), half * math.sin(math.radians(angle))
    shift = 4
    cv2.line(
        kernel,
        (round((centre - dx) * 2**shift), round((centre - dy) * 2**shift)),
        (round((centre + dx) * 2**shift), round((centre + dy) * 2**shift)),
        1.0, 1, cv2.LINE_8, shift,
    )  # fmt: skip
    # The drawn line lies up to 0.7 pixels off, and what it blurs would move against its box.
    kernel = kernel + kernel[::-1, ::-1]
    return cast(NDArray[np.float32], kernel / kernel.sum())


def blur(rng: np.random.Generator, image: Image, longest: int) -> Image:
    """Motion blur of 3 to `longest` pixels; symmetric, so that boxes stay where they are."""
    length = int(rng.integers(3, max(4, longest + 1)))
    angle = int(rng.integers(0, 12)) * 15
    return cast(Image, cv2.filter2D(image, -1, motion_kernel(length, angle)))


def shade(rng: np.random.Generator, image: Image) -> Image:
    """A soft shadow or light that falls over a part of the view."""
    side = image.shape[0]
    angle = rng.uniform(0, 2 * math.pi)
    edge = rng.uniform(-0.3, 0.3)
    soft = rng.uniform(0.03, 0.6)
    ramp = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    across = (
        np.float32(math.cos(angle)) * ramp[None, :] + np.float32(math.sin(angle)) * ramp[:, None]
    )
    lit = np.clip((across - np.float32(edge)) / np.float32(soft) + np.float32(0.5), 0.0, 1.0)
    low = np.float32(rng.uniform(0.35, 0.85) if rng.random() < 0.7 else rng.uniform(1.1, 1.6))
    factor = low + (1 - low) * lit
    return np.asarray(np.clip(image * factor[..., None], 0, 255), np.uint8)


def recolour(rng: np.random.Generator, bgra: Image) -> Image:
    """The same shape in clearly other colours: a look-alike, not a copy."""
    out = bgra.copy()
    order = rng.permutation(3)
    gain = np.exp(rng.normal(0.0, 0.35, 3)).astype(np.float32)
    offset = rng.uniform(-50, 50)
    invert = rng.random() < 0.15
    ramp = RAMP[::-1] if invert else RAMP
    table = (255.0 * ramp[:, None] * gain + offset).clip(0, 255).astype(np.uint8)[None]
    out[..., :3] = cv2.LUT(np.ascontiguousarray(bgra[..., order]), table)
    return out


def cut_out(rng: np.random.Generator, image: Image, box: NDArray[np.float64]) -> None:
    """Put a rectangle of noise over a quarter or so of a box x1, y1, x2, y2, in place."""
    span = box[2:] - box[:2]
    part = span * rng.uniform(0.3, 0.65, 2)
    corner = box[:2] + (span - part) * rng.uniform(0.0, 1.0, 2)
    ends = np.concatenate([corner, corner + part]).round().astype(int)
    x1, y1, x2, y2 = ends.clip(0, image.shape[0])
    if x2 > x1 and y2 > y1:
        image[y1:y2, x1:x2] = rng.integers(0, 256, (y2 - y1, x2 - x1, 3), dtype=np.uint8)
