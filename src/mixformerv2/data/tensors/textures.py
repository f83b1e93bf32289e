"""A bank on a device: pictures, cut-outs and shapes as arrays of equal sides.

Each picture is stretched to a square, and its own width and height are kept beside it: then all
can be sampled at once, with no border that has to be known, and what is drawn has its true shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bank import Bank, VideoFrame
from ..cutouts import free_shape
from ..warp import Points

__all__ = ["POINTS", "Frames", "TensorBank", "outline_points"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
POINTS = 48
SHAPES = 1024
SHAPE_SIDE = 128
_WAYS = np.stack(
    [np.cos(np.arange(POINTS) * 2 * np.pi / POINTS), np.sin(np.arange(POINTS) * 2 * np.pi / POINTS)]
).astype(np.float32)


def outline_points(outline: Points) -> Floats:
    """`POINTS` of an outline, the farthest in each direction: as many for every object."""
    return np.asarray(outline[np.argmax(outline @ _WAYS, axis=0)])


@dataclass(frozen=True, slots=True)
class Frames:
    """Objects in pictures: `picture` `[N]` and `outline` `[N, POINTS, 2]` in its pixels.

    Those of one video stand one after the other: video v has frames `first[v]` to `first[v + 1]`.
    """

    picture: Numbers
    outline: Floats
    first: Numbers
    weight: NDArray[np.float64]  # chance of each video

    def __len__(self) -> int:
        return len(self.first) - 1

    @classmethod
    def of(cls, videos: Iterable[list[VideoFrame]], weight: NDArray[np.float64]) -> Frames:
        """Frames of videos in a row."""
        videos = list(videos)
        every = [frame for video in videos for frame in video]
        outlines = [outline_points(frame.outline) for frame in every]
        return cls(
            np.array([frame.picture for frame in every], np.int64),
            np.stack(outlines) if outlines else np.zeros((0, POINTS, 2), np.float32),
            np.cumsum([0, *(len(video) for video in videos)]).astype(np.int64),
            weight,
        )


class TensorBank:
    """What samples are made of, on a device.

    Args:
        bank: The pictures and what is known about them.
        device: Where arrays are kept.
        tile: Side of a cut-out in pixels.
        side: Side of a picture; about the pictures' short side where not given.

    Attributes:
        pictures: uint8 `[N, 3, side, side]`, BGR.
        extent: `[N, 2]` width and height of the pictures in pixels.
        means: `[N, 3]` mean colours.
        tiles: uint8 `[M, 4, tile, tile]`, BGRA: one for each segment.
        tile_extent: `[M, 2]` width and height in pixels of the picture.
        tile_edges: Sums of the segments' chances: sources count by the root of their number.
        shapes: uint8 `[F, 1, tile, tile]`, opacity of made-up shapes.
        shape_extent: `[F, 2]` over the longer side.
        stills: Segments that are no frames of a video.
        boxed: Objects that are known by a box.
        unlabelled: Numbers of pictures that nothing is known of.
        videos: Real pairs.
        tracklets: Real pairs of unlabelled clips.
    """

    def __init__(
        self, bank: Bank, device: torch.device | str, tile: int, side: int | None = None
    ) -> None:
        self.device = torch.device(device)
        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(bank.decode, range(len(bank.paths))))
            sizes = np.array([image.shape[1::-1] for image in decoded], np.float32)
            if side is None:
                side = min(256, 16 * round(float(np.median(sizes.min(axis=1))) / 16))

            def square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
                small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
                return np.ascontiguousarray(small.transpose(2, 0, 1))

            self.pictures = self._move(np.stack(list(pool.map(square, decoded))))
            self.extent = sizes
            means = [image.mean(axis=(0, 1)) for image in decoded]
            self.means = torch.tensor(np.array(means, np.float32), device=self.device)
            # Masks are read once for each picture, not once for each of its segments.
            groups: dict[int, list[int]] = {}
            for number, segment in enumerate(bank.segments):
                groups.setdefault(segment.picture, []).append(number)
            made = pool.map(lambda ns: _tiles_of(bank, ns, decoded[_of(bank, ns)], tile),
                            groups.values())  # fmt: skip
            found = {n: t for part in made for n, t in part.items()}
        order = [found[number] for number in range(len(bank.segments))]
        self.tiles = self._move(np.stack([bgra for bgra, _, _ in order]))
        self.tile_extent = np.array([extent for _, extent, _ in order], np.float32)
        counts = {source: len(numbers) for source, numbers in bank.segments_of.items()}
        chance = np.array([1 / math.sqrt(counts[s.source]) for s in bank.segments])
        self.tile_edges = np.cumsum(chance / chance.sum())
        self._add_shapes(tile)
        outlines = np.stack([outline for _, _, outline in order])
        stills = np.array(bank.stills, np.int64)
        pictures = np.array([s.picture for s in bank.segments], np.int64)
        self.stills = _single(pictures[stills], outlines[stills])
        self.boxed = Frames.of(
            [[VideoFrame(b.picture, b.outline)] for b in bank.boxed], np.zeros(0)
        )
        self.unlabelled = np.array(bank.unlabelled or range(len(bank.paths)), np.int64)
        videos = [bank.videos[name] for name in bank.video_names]
        self.videos = Frames.of(videos, np.full(len(videos), 1 / max(len(videos), 1)))
        self.tracklets = Frames.of(bank.tracklets, bank.tracklet_weights)

    def _add_shapes(self, tile: int) -> None:
        rng = np.random.default_rng(0)
        shapes, extents = [], []
        for _ in range(SHAPES):
            alpha = free_shape(rng, SHAPE_SIDE)
            extents.append((alpha.shape[1] / SHAPE_SIDE, alpha.shape[0] / SHAPE_SIDE))
            shapes.append(_to_tile(alpha * 255, tile)[None])
        self.shapes = self._move(np.stack(shapes))
        self.shape_extent = np.array(extents, np.float32)

    def _move(self, array: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    @property
    def megabytes(self) -> float:
        """What the arrays take on the device."""
        return sum(t.numel() for t in (self.pictures, self.tiles, self.shapes)) / 1e6


Tile = tuple[NDArray[np.uint8], tuple[float, float], Floats]


def _of(bank: Bank, numbers: list[int]) -> int:
    return bank.segments[numbers[0]].picture


def _tiles_of(
    bank: Bank, numbers: list[int], picture: NDArray[np.uint8], side: int
) -> dict[int, Tile]:
    labels = bank.mask_of(_of(bank, numbers))
    assert labels is not None  # segments come from masks
    tiles = {}
    for number in numbers:
        segment = bank.segments[number]
        mask = np.asarray(labels == segment.label, np.uint8)
        cutout = bank.cut(segment, picture, mask)
        height, width = cutout.bgra.shape[:2]
        bgra = _to_tile(cutout.bgra, side).transpose(2, 0, 1)
        outline = outline_points(bank.outline_in(mask))
        tiles[number] = (np.ascontiguousarray(bgra), (float(width), float(height)), outline)
    return tiles


def _to_tile(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    smaller = min(image.shape[:2]) >= side
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=how), np.uint8)


def _single(pictures: Numbers, outlines: Floats) -> Frames:
    return Frames(pictures, outlines, np.arange(len(pictures) + 1), np.zeros(0))
