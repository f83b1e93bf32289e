"""A bank of pictures: what the sample generator cuts its templates and search crops from.

A bank is a folder with one sub-folder per source. Each holds `NAME.jpg` pictures and, where there
are labels, `NAME_mask.png` (0 is background, other values are object or segment numbers) or one
`boxes.csv` with rows `id,x,y,w,h,label`. `davis16_train` holds frames of videos, named
`VIDEO_FRAME.jpg`. Pictures are decoded when first asked for and kept in memory.
"""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .warp import Points, box_outline, mask_outline

__all__ = ["VALIDATION_VIDEOS", "Bank", "Boxed", "Cutout", "Segment", "VideoFrame"]

log = logging.getLogger(__name__)
Image = NDArray[np.uint8]

# Every fourth name of the sorted list of davis16_train, from the second on: never trained with.
VALIDATION_VIDEOS = (
    "bmx-bumps",
    "car-turn",
    "elephant",
    "horsejump-low",
    "mallard-water",
    "rhino",
    "stroller",
    "train",
)
VIDEO_SOURCE = "davis16_train"
# Kite lines stretch the tight box of these two: their masks are opened before boxing.
THIN_LINES = ("kite-walk", "paragliding")
MIN_AREA = 150


@dataclass(frozen=True, slots=True)
class Segment:
    """One labelled region: its picture, its value in the mask and its box (x, y, w, h)."""

    picture: int
    label: int
    box: tuple[int, int, int, int]
    source: str


@dataclass(frozen=True, slots=True)
class Boxed:
    """An object of a picture known by an outline alone."""

    picture: int
    outline: Points
    source: str


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a video with its object's outline, in pixels of the frame."""

    picture: int
    outline: Points


@dataclass(frozen=True, slots=True)
class Cutout:
    """A cut-out: BGRA picture with soft alpha and the outline of what is opaque in it."""

    bgra: Image
    outline: Points
    source: str


@dataclass
class Bank:
    """All pictures of a folder, with what is known about them.

    Args:
        folder: The bank, one sub-folder per source.
        hold_out: Videos to leave out altogether.

    Raises:
        DataError: the folder holds no picture, or none with a mask.
    """

    folder: Path
    hold_out: tuple[str, ...] = VALIDATION_VIDEOS
    paths: list[Path] = field(default_factory=list, init=False)
    segments: list[Segment] = field(default_factory=list, init=False)
    boxed: list[Boxed] = field(default_factory=list, init=False)
    unlabelled: list[int] = field(default_factory=list, init=False)
    videos: dict[str, list[VideoFrame]] = field(default_factory=dict, init=False)
    tracklets: list[list[VideoFrame]] = field(default_factory=list, init=False)
    tracklet_weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), init=False)
    _pictures: dict[int, Image] = field(default_factory=dict, init=False, repr=False)
    _outlines: dict[int, Points] = field(default_factory=dict, init=False, repr=False)
    _cutouts: dict[int, Cutout] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        if not self.folder.is_dir():
            raise DataError(f"bank folder {self.folder} does not exist; give one with pictures")
        for source in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            self._read_source(source)
        if not self.paths:
            raise DataError(f"bank folder {self.folder} holds no SOURCE/NAME.jpg; check its layout")
        if not self.segments:
            raise DataError(
                f"bank folder {self.folder} holds no NAME_mask.png with an object in it"
            )
        self.videos = {name: frames for name, frames in self.videos.items() if len(frames) > 1}
        log.info(
            "bank %s: %d pictures, %d segments, %d boxed objects, %d videos",
            self.folder, len(self.paths), len(self.segments), len(self.boxed), len(self.videos),
        )  # fmt: skip

    @classmethod
    def for_validation(cls, folder: Path) -> Bank:
        """The same bank with the held-out videos alone, to measure on what was not trained with."""
        stems = (path.stem for path in (Path(folder) / VIDEO_SOURCE).glob("*.jpg"))
        names = {stem.rpartition("_")[0] for stem in stems}
        return cls(folder, tuple(sorted(names - set(VALIDATION_VIDEOS))))

    def _read_source(self, source: Path) -> None:
        boxes = _read_boxes(source / "boxes.csv")
        for path in sorted(source.glob("*.jpg")):
            video = path.stem.rpartition("_")[0] if source.name == VIDEO_SOURCE else ""
            if video and video in self.hold_out:
                continue
            index = len(self.paths)
            self.paths.append(path)
            mask_path = path.with_name(f"{path.stem}_mask.png")
            if mask_path.exists():
                mask = self._read_mask(mask_path)
                self._index_mask(index, mask, source.name)
                if video:
                    self._index_frame(index, mask, video)
            for x, y, w, h in boxes.get(path.stem, ()):
                if w * h >= MIN_AREA and not mask_path.exists():
                    self.boxed.append(Boxed(index, box_outline(x, y, w, h), source.name))
            if not mask_path.exists() and path.stem not in boxes:
                self.unlabelled.append(index)

    @staticmethod
    def _read_mask(path: Path) -> NDArray[np.uint16]:
        mask: NDArray[Any] | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if mask is None or mask.ndim != 2:
            raise DataError(f"mask {path} cannot be read as a one-channel picture; remove it")
        return mask.astype(np.uint16)

    def _index_mask(self, index: int, mask: NDArray[np.uint16], source: str) -> None:
        height, width = mask.shape
        for label in np.unique(mask):
            if label == 0:
                continue
            part = (mask == label).astype(np.uint8)
            x, y, w, h = cv2.boundingRect(part)
            area = int(cv2.countNonZero(part))
            # Regions that fill the picture are background, slivers make no target.
            if area < MIN_AREA or min(w, h) < 10 or area > 0.5 * width * height:
                continue
            if area < 0.2 * w * h or (w == width and h > 0.5 * height):
                continue
            self.segments.append(Segment(index, int(label), (x, y, w, h), source))

    def _index_frame(self, index: int, mask: NDArray[np.uint16], video: str) -> None:
        part: Image = (mask > 0).astype(np.uint8)
        if video in THIN_LINES:
            part = np.asarray(
                cv2.morphologyEx(part, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)), np.uint8
            )
        outline = mask_outline(part, largest=False)
        if outline is not None and cv2.countNonZero(part) >= 60:
            self.videos.setdefault(video, []).append(VideoFrame(index, outline))

    def add_clips(self, folder: Path) -> None:
        """Add the tracklets that `mixformerv2.data.pseudo` wrote; their frames become pictures.

        Raises:
            DataError: the folder holds no `tracklets.json`, or a damaged one.
        """
        path = Path(folder) / "tracklets.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))["tracklets"]
            numbers: dict[tuple[str, int], int] = {}
            motion = []
            for entry in record:
                frames = []
                for index, box in zip(entry["frames"], entry["boxes"], strict=True):
                    key = (str(entry["clip"]), int(index))
                    if key not in numbers:
                        numbers[key] = len(self.paths)
                        self.paths.append(path.parent / key[0] / f"{key[1]:05d}.jpg")
                    frames.append(VideoFrame(numbers[key], box_outline(*map(float, box))))
                self.tracklets.append(frames)
                motion.append(float(entry["motion"]))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is missing or damaged ({error}); make it with `python -m "
                "mixformerv2.data.pseudo`"
            ) from error
        # What hardly moves teaches little, and a long tracklet holds more than a short one.
        length = np.array([len(frames) for frames in self.tracklets], np.float64)
        weights = np.sqrt(length) * (0.1 + np.minimum(np.asarray(motion), 1.5))
        # Some clips are easy to label: they must not crowd out the others.
        clip = np.unique([str(entry["clip"]) for entry in record], return_inverse=True)[1]
        weights /= np.sqrt(np.bincount(clip, weights))[clip]
        self.tracklet_weights = weights / max(float(weights.sum()), 1e-9)

    @cached_property
    def segments_of(self) -> dict[str, list[int]]:
        """Numbers of segments by source."""
        found: dict[str, list[int]] = {}
        for number, segment in enumerate(self.segments):
            found.setdefault(segment.source, []).append(number)
        return found

    @cached_property
    def stills(self) -> list[int]:
        """Numbers of segments that are not frames of a video."""
        return [n for n, segment in enumerate(self.segments) if segment.source != VIDEO_SOURCE]

    @cached_property
    def video_names(self) -> list[str]:
        """Names of the videos, sorted."""
        return sorted(self.videos)

    def picture(self, index: int) -> Image:
        """The picture, uint8 BGR `[H, W, 3]`; do not write into it."""
        found = self._pictures.get(index)
        if found is None:
            decoded = cv2.imread(str(self.paths[index]), cv2.IMREAD_COLOR)
            if decoded is None:
                raise DataError(f"picture {self.paths[index]} cannot be decoded; remove it")
            found = self._pictures[index] = np.asarray(decoded, np.uint8)
        return found

    def load(self) -> None:
        """Decode everything now, so that forked workers share one copy."""
        for index in range(len(self.paths)):
            self.picture(index)

    def segment_mask(self, segment: Segment) -> Image:
        """The mask of one segment, 0 or 1, of its picture's size."""
        path = self.paths[segment.picture]
        mask = self._read_mask(path.with_name(f"{path.stem}_mask.png"))
        return np.asarray(mask == segment.label, np.uint8)

    def cutout(self, number: int) -> Cutout:
        """The largest connected part of segment `number` as a cut-out with soft edges."""
        found = self._cutouts.get(number)
        if found is None:
            segment = self.segments[number]
            found = self._cut(segment)
            self._cutouts[number] = found
        return found

    def _cut(self, segment: Segment) -> Cutout:
        mask = self.segment_mask(segment)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        x, y, w, h = (int(v) for v in stats[best, :4])
        alpha = cv2.copyMakeBorder(
            np.asarray(parts[y : y + h, x : x + w] == best, np.uint8), 2, 2, 2, 2,
            cv2.BORDER_CONSTANT, value=0,
        )  # fmt: skip
        outline = mask_outline(np.asarray(alpha, np.uint8), largest=True)
        assert outline is not None  # the component has at least one pixel
        colour = cv2.copyMakeBorder(
            self.picture(segment.picture)[y : y + h, x : x + w], 2, 2, 2, 2, cv2.BORDER_REPLICATE
        )
        soft = cv2.GaussianBlur(alpha * 255, (3, 3), 0)
        return Cutout(np.dstack([colour, soft]), outline, segment.source)

    def segment_outline(self, number: int) -> Points:
        """Outline of segment `number` in pixels of its picture."""
        found = self._outlines.get(number)
        if found is None:
            found = mask_outline(self.segment_mask(self.segments[number]), largest=False)
            assert found is not None  # segments have at least MIN_AREA pixels
            self._outlines[number] = found
        return found


def _read_boxes(path: Path) -> dict[str, list[tuple[float, float, float, float]]]:
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    if not path.exists():
        return boxes
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                box = (float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"]))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path} has a row {row} without numbers x, y, w, h; correct it"
                ) from error
            boxes.setdefault(row["id"], []).append(box)
    return boxes
