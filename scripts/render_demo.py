"""Render the demo clip: a cup of coffee slides over a garden, and a cat leans in.

Every picture comes with scikit-image and is free of copyright: `coffee` (the cup; CC0, Rachel
Michetti), `chelsea` (the cat; CC0, Stefan van der Walt), `grass` (CC0, linolafett), `gravel` and
`brick` (CC0, CC0Textures). Nothing here is used to train, and nothing of training is used here.

The cup moves, turns and changes its size while the camera pans, zooms and rolls; a second cup
passes close by; the cat hides half of the first. The truth is the tight box of the whole cup with
saucer and spoon, hidden parts included: `frame,x,y,w,h`, in pixels.

    python scripts/render_demo.py [--out src/mixformerv2/assets]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from skimage import data

Image = NDArray[np.float32]  # [H, W, 3], RGB, 0 to 1, or [H, W] where it is an alpha
Matrix = NDArray[np.float64]  # [3, 3]

WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 30, 200
FINE = 2  # frames are drawn this much larger and averaged down
SHUTTER = (-0.2, 0.0, 0.2)  # moments, in frames, that one picture gathers
WORLD = (1700, 1000)
SHADE = 30

# Each line: frame, then values; in between they change smoothly.
CAMERA = [  # x, y of the middle in the world, zoom, roll in degrees
    (0, 470, 560, 1.10, 0.0),
    (50, 700, 520, 1.00, -2.0),
    (100, 900, 500, 0.95, 1.0),
    (150, 960, 500, 1.10, 2.5),
    (199, 1180, 480, 1.00, -1.0),
]
CUP = [  # x, y in the world, width of the saucer, turn in degrees
    (0, 380, 560, 86, -8.0),
    (30, 560, 610, 104, 10.0),
    (65, 745, 520, 128, 30.0),
    (100, 850, 440, 108, 5.0),
    (128, 800, 530, 104, -14.0),
    (150, 790, 540, 112, -20.0),
    (175, 990, 500, 140, -4.0),
    (199, 1220, 460, 170, 16.0),
]
SECOND = [  # the other cup, the same columns
    (0, 1010, 330, 104, 0.0),
    (40, 860, 380, 112, -14.0),
    (70, 735, 405, 120, -30.0),
    (105, 700, 640, 118, -10.0),
    (150, 1060, 640, 116, 12.0),
    (199, 1130, 330, 120, 30.0),
]
CAT = [  # x, y of its picture's corner in the frame, scale, turn in degrees
    (0, -640, -30, 1.45, 0.0),
    (108, -640, -30, 1.45, 0.0),
    (132, -352, -44, 1.45, -2.0),
    (146, -352, -48, 1.45, -3.0),
    (172, -660, -30, 1.45, 0.0),
    (199, -660, -30, 1.45, 0.0),
]
LIGHT = [(0, 1.0), (60, 1.06), (110, 0.86), (150, 0.96), (199, 1.04)]

SAUCER = [
    (76.5, 222), (81, 180), (102, 132), (182.7, 69), (418, 109), (458.6, 161), (479.7, 226),
    (466, 284), (420, 341), (290, 390), (136.7, 337), (98.3, 283.6),
]  # fmt: skip
RIM = [
    (173, 109), (180.7, 76.7), (213, 40), (248, 23), (282, 18), (324.5, 22), (363, 40),
    (389.6, 65), (405, 92), (407.7, 115), (388, 165), (352, 190), (190, 160),
]  # fmt: skip
SPOON = [(404, 72), (410, 68), (418, 67), (424, 74), (423, 87), (417, 112), (406, 118)]
FACE = [
    (401, 0), (387, 16), (378, 35), (373, 52), (360, 73), (360, 84), (363, 104), (364, 121),
    (361, 149), (354, 170), (347, 186), (333, 201), (321, 212), (315, 226), (317, 239),
    (314, 257), (305, 272), (290, 281), (286, 300), (0, 300), (0, 0),
]  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A cut-out: colours, alpha, and the outline whose tight box is the truth."""

    colour: Image
    alpha: Image
    outline: NDArray[np.float64]  # [N, 2]


def main() -> None:
    """Render the clip and its truth."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("src/mixformerv2/assets"))
    out: Path = parser.parse_args().out
    scene = Scene()
    write_clip(out / "demo.mp4", scene)
    with (out / "demo.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("frame", "x", "y", "w", "h"))
        for frame in range(FRAMES):
            rows.writerow((frame, *(f"{v:.2f}" for v in scene.truth(frame))))
    print(f"{out / 'demo.mp4'}: {FRAMES} frames, {(out / 'demo.mp4').stat().st_size / 1e6:.2f} MB")


class Scene:
    """The garden, the two cups and the cat at any moment."""

    def __init__(self) -> None:
        self.ground = garden()
        self.cup = cup()
        self.second = Layer(
            browner(self.cup.colour[:, ::-1]), self.cup.alpha[:, ::-1], self.cup.outline
        )
        self.cat = cat()
        self._at = {
            "camera": path(CAMERA), "cup": path(CUP), "second": path(SECOND), "cat": path(CAT),
            "light": path(LIGHT),
        }  # fmt: skip

    def truth(self, time: float) -> tuple[float, float, float, float]:
        """Tight box x, y, w, h of the whole first cup, in pixels of the frame."""
        matrix = self.camera(time) @ self.cup_place("cup", time)
        points = self.cup.outline @ matrix[:2, :2].T + matrix[:2, 2]
        (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
        return float(x1), float(y1), float(x2 - x1), float(y2 - y1)

    def frame(self, time: float) -> NDArray[np.uint8]:
        """The picture `[360, 640, 3]`, RGB."""
        moments = [self._moment(time + part) for part in SHUTTER]
        picture = np.mean(moments, axis=0) * self._at["light"](time)[0]
        small = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        return np.asarray(np.clip(small, 0, 1) * 255 + 0.5, np.uint8)

    def _moment(self, time: float) -> Image:
        fine = np.diag([FINE, FINE, 1.0])
        camera = fine @ self.camera(time)
        picture = warp(self.ground, camera)
        for name, layer in (("second", self.second), ("cup", self.cup)):
            place = camera @ self.cup_place(name, time)
            fallen = move(16, 26) @ place @ move(-SHADE, -SHADE)
            picture *= 1 - 0.55 * warp(shadow(layer.alpha), fallen)[..., None]
            picture = over(picture, layer, place)
        return over(picture, self.cat, fine @ self.cat_place(time))

    def camera(self, time: float) -> Matrix:
        """From the world to the frame."""
        x, y, zoom, roll = self._at["camera"](time)
        return move(WIDTH / 2, HEIGHT / 2) @ turned(roll, zoom) @ move(-x, -y)

    def cat_place(self, time: float) -> Matrix:
        """From the cat's picture to the frame."""
        x, y, scale, turn = self._at["cat"](time)
        return move(x, y) @ turned(turn, scale)

    def cup_place(self, name: str, time: float) -> Matrix:
        """From a cup's picture to the world."""
        x, y, width, turn = self._at[name](time)
        height, size = self.cup.alpha.shape
        return move(x, y) @ turned(turn, width / size) @ move(-size / 2, -height / 2)


def cup() -> Layer:
    """Cup, saucer and spoon, cut out of the photograph and made half as large."""
    photograph = data.coffee()
    mask = np.zeros(photograph.shape[:2], np.uint8)
    for points in (SAUCER, RIM):
        ellipse = cv2.fitEllipse(np.float32(points))
        cv2.ellipse(mask, ellipse, 255, -1, cv2.LINE_AA)
    cv2.fillPoly(mask, [np.int32(np.multiply(SPOON, 16))], 255, cv2.LINE_AA, 4)
    x, y, w, h = cv2.boundingRect((mask > 127).astype(np.uint8))
    part = slice(y - 4, y + h + 4), slice(x - 4, x + w + 4)
    size = ((w + 8) // 2, (h + 8) // 2)
    colour = cv2.resize(photograph[part], size, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(mask[part], size, interpolation=cv2.INTER_AREA)
    return layer(colour, alpha)


def browner(colour: Image) -> Image:
    """The same china in a duller, more orange red."""
    hue, saturation, value = cv2.split(cv2.cvtColor(colour, cv2.COLOR_RGB2HSV))
    changed = cv2.merge([(hue + 14) % 360, saturation * 0.85, value * 0.9])
    return np.asarray(cv2.cvtColor(changed, cv2.COLOR_HSV2RGB), np.float32)


def cat() -> Layer:
    """The cat's face, whose left, upper and lower sides end with the photograph."""
    photograph = data.chelsea()
    mask = np.zeros(photograph.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.int32(np.multiply(FACE, 16))], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), 2.5)
    return layer(cv2.GaussianBlur(photograph, (0, 0), 0.8), soft)


def layer(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Layer:
    """A cut-out of bytes, with the outline of its opaque part."""
    contours, _ = cv2.findContours(
        (alpha > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    outline = np.concatenate(contours)[:, 0].astype(np.float64) + 0.5
    return Layer(np.float32(colour) / 255, np.float32(alpha) / 255, outline)


def garden() -> Image:
    """A lawn with a gravel path, and a terrace of bricks beyond it."""
    width, height = WORLD
    lawn = tinted(sown(data.grass(), 1), (0.10, 0.18, 0.06), (0.62, 0.74, 0.34))
    gravel = tinted(sown(data.gravel(), 2), (0.25, 0.23, 0.21), (0.88, 0.84, 0.76))
    brick = tinted(tiled(data.brick()), (0.30, 0.19, 0.15), (0.80, 0.60, 0.48))
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rough = cv2.GaussianBlur(sown(data.grass(), 3).astype(np.float32), (0, 0), 4)
    rough = 6 * (rough - rough.mean()) / rough.std()
    path_from = 640 + 70 * np.sin(rows / 170) + rough
    wall_from = 1120 - 0.25 * (rows - 500) + 0.2 * rough
    picture = blend(lawn, gravel, between(columns, path_from, path_from + 190))
    picture = blend(picture, brick, between(columns, wall_from, np.full_like(rows, 1e6)))
    # Slow changes of light hide that the pictures repeat.
    rng = np.random.default_rng(5)
    cloud = cv2.resize(rng.normal(0, 1, (7, 11)).astype(np.float32), WORLD, None, 0, 0, 2)
    return np.asarray(picture * (1 + 0.07 * cloud[..., None]), np.float32)


def tiled(texture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey texture, mirrored at its borders until it fills the world."""
    width, height = WORLD
    times = ((0, height - texture.shape[0]), (0, width - texture.shape[1]))
    return np.asarray(np.pad(texture, times, "reflect"), np.uint8)


def sown(texture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """A grey texture in patches, turned and shifted by chance, until it fills the world.

    Mirrored grass would show a kaleidoscope.
    """
    width, height = WORLD
    rng = np.random.default_rng(seed)
    side, step, seam = 320, 260, 30
    ramp = np.clip(np.minimum(np.arange(side), np.arange(side)[::-1]) / seam, 0.01, 1)
    weight = np.outer(ramp, ramp).astype(np.float32)
    total = np.zeros((height + side, width + side), np.float32)
    weights = np.zeros_like(total)
    for y in range(0, height, step):
        for x in range(0, width, step):
            top, left = rng.integers(0, texture.shape[0] - side, 2)
            patch = np.rot90(texture[top : top + side, left : left + side], rng.integers(4))
            total[y : y + side, x : x + side] += patch * weight
            weights[y : y + side, x : x + side] += weight
    return np.asarray((total / np.maximum(weights, 1e-6))[:height, :width] + 0.5, np.uint8)


def tinted(grey: NDArray[np.uint8], dark: tuple[float, ...], light: tuple[float, ...]) -> Image:
    """A grey picture between two colours."""
    share = (np.float32(grey) / 255)[..., None]
    return np.asarray(np.float32(dark) * (1 - share) + np.float32(light) * share, np.float32)


def between(columns: Image, start: Image, end: Image) -> Image:
    """1 between two borders, with an edge of a few pixels."""
    return np.clip((columns - start) / 6, 0, 1) * np.clip((end - columns) / 6, 0, 1)


def blend(below: Image, above: Image, alpha: Image) -> Image:
    """One picture over another."""
    return np.asarray(below + (above - below) * alpha[..., None], np.float32)


def over(picture: Image, cut: Layer, matrix: Matrix) -> Image:
    """A cut-out over a picture, where the matrix puts it."""
    return blend(picture, warp(cut.colour, matrix, cv2.BORDER_REPLICATE), warp(cut.alpha, matrix))


def shadow(alpha: Image) -> Image:
    """The soft shadow of a cut-out, with `SHADE` pixels around it to fade out."""
    return np.asarray(cv2.GaussianBlur(np.pad(alpha, SHADE), (0, 0), 9), np.float32)


def warp(picture: Image, matrix: Matrix, border: int = cv2.BORDER_CONSTANT) -> Image:
    """A picture drawn at the fine size; pixel centres lie at halves."""
    centred = move(-0.5, -0.5) @ matrix @ move(0.5, 0.5)
    size = (WIDTH * FINE, HEIGHT * FINE)
    return np.asarray(
        cv2.warpAffine(picture, centred[:2], size, flags=cv2.INTER_LINEAR, borderMode=border)
    )


def path(rows: list[tuple[float, ...]]) -> Callable[[float], NDArray[np.float64]]:
    """A smooth way through lines of frame and values."""
    table = np.asarray(rows, np.float64)
    through = PchipInterpolator(table[:, 0], table[:, 1:])
    return lambda time: np.asarray(through(np.clip(time, table[0, 0], table[-1, 0])))


def move(x: float, y: float) -> Matrix:
    """A shift."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def turned(degrees: float, scale: float) -> Matrix:
    """A turn and a change of size about the origin."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float64)


def write_clip(file: Path, scene: Scene) -> None:
    """H.264 that every browser plays."""
    with av.open(str(file), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "21", "preset": "veryslow", "tune": "film", "threads": "1"}
        for number in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(scene.frame(number), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
