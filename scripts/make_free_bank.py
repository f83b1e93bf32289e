"""A bank of pictures that anyone may use for anything: what the model "t_free" is trained on.

    python scripts/make_free_bank.py [--out .work/free] [--pictures 1500] [--clips VIDEOS]

It holds `skimage`, pictures that come with scikit-image and are CC0 or in the public domain, by
the words of its documentation; and `made`, pictures drawn here, with masks: objects of a few parts
over a cluttered ground, in textures that are computed, or patches of the former in other colours.
With `--clips` the clips of that folder that are CC-BY 4.0 (`intel_*`) are labelled by optical flow,
a method and no trained network, into `OUT/clips`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from mixformerv2.data.cutouts import free_shape
from mixformerv2.data.pseudo import label_folder, make_teacher

Image = NDArray[np.float32]  # [H, W, 3], BGR, 0 to 1
Rng = np.random.Generator
PROJECT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH = 256, 340
FREE = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass",
    "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "microaneurysms", "retina",
    "rocket",
)  # fmt: skip
"""Of scikit-image's own wheel, those whose terms are stated: CC0 or public domain."""
FREE_CLIPS = "intel_"
"""How the names of the CC-BY 4.0 clips start."""


def photographs() -> list[Image]:
    """The free pictures, short side 256."""
    found = []
    for name in FREE:
        picture = np.asarray(getattr(data, name)())
        if picture.dtype == bool:
            picture = picture.astype(np.uint8) * 255
        if picture.ndim == 2:
            picture = np.dstack([picture] * 3)
        scale = HEIGHT / min(picture.shape[:2])
        small = cv2.resize(
            picture[..., 2::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
        found.append(small.astype(np.float32) / 255)
    return found


def noise(rng: Rng, h: int, w: int) -> NDArray[np.float32]:
    """Clouds `[h, w]`, 0 to 1: grids of random numbers, each finer and fainter than the last."""
    total = np.zeros((h, w), np.float32)
    fade = float(rng.uniform(0.35, 0.8))
    for octave in range(int(rng.integers(1, 3)), 8):
        grid = rng.random((2**octave + 1, 2**octave + 1), np.float32)
        total += fade**octave * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def colours(rng: Rng, count: int) -> Image:
    """Colours `[count, 3]` that go together: near one another in hue, apart in lightness."""
    hsv = np.empty((1, count, 3), np.float32)
    hsv[0, :, 0] = (rng.uniform(0, 360) + rng.normal(0, 40, count)) % 360
    hsv[0, :, 1] = np.clip(rng.uniform(0, 0.8) + rng.normal(0, 0.15, count), 0, 1)
    hsv[0, :, 2] = rng.uniform(0.05, 1, count)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0], np.float32)


def _ramp(value: NDArray[np.float32], stops: Image) -> Image:
    """Values `[h, w]` in 0..1 to colours between the stops."""
    place = value * (len(stops) - 1)
    low = np.clip(place.astype(np.int32), 0, len(stops) - 2)
    share = (place - low)[..., None]
    return np.asarray(stops[low] * (1 - share) + stops[low + 1] * share, np.float32)


def _waves(rng: Rng, h: int, w: int) -> NDArray[np.float32]:
    """Stripes, or checks of two of them, bent by noise."""
    y, x = np.mgrid[:h, :w].astype(np.float32)
    bend = noise(rng, h, w) * float(rng.uniform(0, 6))
    angle, length = float(rng.uniform(0, math.pi)), float(rng.uniform(4, 40))
    along = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / length)
    across = (y * math.cos(angle) - x * math.sin(angle)) * (2 * math.pi / length)
    wave = np.sin(along + bend)
    if rng.random() < 0.4:
        wave = wave * np.sin(across + bend)
    return np.asarray(np.clip(wave * float(rng.uniform(0.6, 4)), -1, 1) / 2 + 0.5, np.float32)


def _cells(rng: Rng, h: int, w: int) -> NDArray[np.float32]:
    """Each pixel has the value of the nearest of some points."""
    points = np.ones((h, w), np.uint8)
    count = int(rng.integers(6, 120))
    points[rng.integers(0, h, count), rng.integers(0, w, count)] = 0
    _, label = cv2.distanceTransformWithLabels(
        points, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    return rng.random(int(label.max()) + 1, np.float32)[label]


def texture(rng: Rng, h: int, w: int, photos: list[Image]) -> Image:
    """A picture `[h, w, 3]` of some stuff."""
    kind = rng.random()
    if kind < 0.3:
        photo = photos[int(rng.integers(len(photos)))]
        part = min(photo.shape[0], photo.shape[1], int(rng.uniform(60, 257)))
        y = int(rng.integers(photo.shape[0] - part + 1))
        x = int(rng.integers(photo.shape[1] - part + 1))
        patch = cv2.resize(photo[y : y + part, x : x + part], (w, h), interpolation=cv2.INTER_AREA)
        mixed = patch[..., rng.permutation(3)] if rng.random() < 0.5 else patch
        return np.asarray(np.clip(mixed ** float(rng.uniform(0.6, 1.7)), 0, 1), np.float32)
    shapes: list[Callable[[Rng, int, int], NDArray[np.float32]]] = [noise, noise, _waves, _cells]
    value = shapes[int(rng.integers(len(shapes)))](rng, h, w)
    stops = colours(rng, int(rng.integers(2, 5)))
    grain = rng.normal(0, float(rng.uniform(0, 0.06)), (h, w, 1)).astype(np.float32)
    return np.clip(_ramp(value, stops) + grain, 0, 1)


def _object(rng: Rng, side: int, photos: list[Image]) -> tuple[Image, NDArray[np.float32]]:
    """Some parts that lie over one another: colours `[side, side, 3]` and alpha `[side, side]`."""
    picture = np.zeros((side, side, 3), np.float32)
    alpha = np.zeros((side, side), np.float32)
    for number in range(int(rng.integers(1, 6))):
        part = free_shape(
            rng, max(14, int(side * (0.75 if number == 0 else rng.uniform(0.2, 0.6))))
        )
        h, w = part.shape
        y, x = int(rng.integers(side - h + 1)), int(rng.integers(side - w + 1))
        mask = np.zeros((side, side), np.float32)
        mask[y : y + h, x : x + w] = part
        if number and not (mask * alpha).any():
            continue  # parts hang together
        mask = cv2.GaussianBlur(mask, (3, 3), 0)
        inner = cv2.GaussianBlur(mask, (0, 0), max(2.0, side / 14))  # darker towards its rim
        shaded = texture(rng, side, side, photos) * (0.55 + 0.45 * inner[..., None])
        picture += mask[..., None] * (shaded - picture)
        alpha = np.maximum(alpha, mask)
    light = noise(rng, side, side) if rng.random() < 0.5 else np.full((side, side), 0.5, np.float32)
    return np.clip(picture * (0.7 + 0.6 * light[..., None]), 0, 1), alpha


def _put(
    canvas: Image, picture: Image, alpha: NDArray[np.float32], x: int, y: int
) -> NDArray[np.bool_]:
    """Blend onto the canvas in place; answers where it is opaque, `[H, W]`."""
    h, w = canvas.shape[:2]
    side = len(alpha)
    x1, y1, x2, y2 = max(0, x), max(0, y), min(w, x + side), min(h, y + side)
    part = alpha[y1 - y : y2 - y, x1 - x : x2 - x, None]
    canvas[y1:y2, x1:x2] += part * (
        picture[y1 - y : y2 - y, x1 - x : x2 - x] - canvas[y1:y2, x1:x2]
    )
    where = np.zeros((h, w), bool)
    where[y1:y2, x1:x2] = part[..., 0] > 0.5
    return where


def scene(rng: Rng, photos: list[Image]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture `[256, 340, 3]` of 8 bits, BGR, and the numbers of its objects (0: ground)."""
    canvas = texture(rng, HEIGHT, WIDTH, photos)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    clutter = int(rng.integers(0, 14))
    objects = int(rng.integers(2, 6))
    for number in range(clutter + objects):
        side = int(math.exp(rng.uniform(math.log(34), math.log(150))))
        picture, alpha = _object(rng, side, photos)
        x = int(rng.integers(-side // 3, WIDTH - 2 * side // 3))
        y = int(rng.integers(-side // 3, HEIGHT - 2 * side // 3))
        where = _put(canvas, picture, alpha, x, y)
        mask[where] = max(0, number - clutter + 1)
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.4, 1.4)))
    return np.asarray(np.round(canvas * 255), np.uint8), mask


def main() -> None:
    """Write the bank anew."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=PROJECT / ".work" / "free")
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--clips", type=Path, help="folder with the CC-BY clips")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    photos = photographs()
    for source in ("skimage", "made"):
        (arguments.out / source).mkdir(parents=True, exist_ok=True)
    for name, photo in zip(FREE, photos, strict=True):
        cv2.imwrite(str(arguments.out / "skimage" / f"{name}.jpg"), np.uint8(photo * 255 + 0.5))
    for number in range(arguments.pictures):
        picture, mask = scene(np.random.default_rng([arguments.seed, number]), photos)
        stem = arguments.out / "made" / f"{number:05d}"
        cv2.imwrite(f"{stem}.jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        cv2.imwrite(f"{stem}_mask.png", mask)
    print(f"{len(photos)} photographs and {arguments.pictures} made pictures in {arguments.out}")
    if arguments.clips is not None:
        label_free_clips(arguments.clips, arguments.out / "clips")


def label_free_clips(videos: Path, out: Path) -> None:
    """Tracklets of the CC-BY clips by optical flow."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        for clip in videos.glob(f"{FREE_CLIPS}*"):
            (Path(folder) / clip.name).symlink_to(clip.resolve())
        found = label_folder(Path(folder), out, make_teacher("flow"), starts=2, aside=())
    print(f"{len(found)} tracklets in {out}")


if __name__ == "__main__":
    main()
