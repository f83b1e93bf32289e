"""A bank of pictures: what the sample generator cuts its templates and search crops from.

A bank is a folder with one sub-folder per source. Each holds `NAME.jpg` pictures and, where there
are labels, `NAME_mask.png` (0 is background, other values are object or segment numbers) or one
`boxes.csv` with rows `id,x,y,w,h,label`. `davis16_train` holds frames of videos, named
`VIDEO_FRAME.jpg`. Pictures are decoded when first asked for and kept in memory.

A bank may be one file too, a `.zip` or `.lmdb` of such a folder (`mixformerv2 data pack-bank`); one
that holds `clips/tracklets.json` brings its tracklets along.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..video.readers import PICTURE_SUFFIXES
from .datasets.text import read_table
from .store import FolderStore, FrameStore, decode_picture, open_store, suffix_of
from .warp import Points, box_outline, mask_outline

__all__ = [
    "CLIPS", "TRACKLETS", "VALIDATION_VIDEOS", "Bank", "Boxed", "Cutout", "Segment", "VideoFrame",
]  # fmt: skip

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
CLIPS = "clips"  # where a packed bank keeps its tracklets
# Kite lines stretch the tight box of these two: their masks are opened before boxing.
THIN_LINES = ("kite-walk", "paragliding")
_FAR = 1e5  # pixels; no picture is so large
MIN_AREA = 150
TRACKLETS = "tracklets.json"


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
        folder: The bank, one sub-folder per source; or the file that it was packed into.
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
    files: list[tuple[FrameStore, str]] = field(default_factory=list, init=False, repr=False)
    _pictures: dict[int, Image] = field(default_factory=dict, init=False, repr=False)
    _masks: dict[int, tuple[int, int]] = field(default_factory=dict, init=False, repr=False)
    _outlines: dict[int, Points] = field(default_factory=dict, init=False, repr=False)
    _cutouts: dict[int, Cutout] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        if not self.folder.exists():
            raise DataError(
                f"bank {self.folder} does not exist; give a folder with pictures, or set "
                "data.composites, data.stills and data.pairs to 0 to train on data.sets alone"
            )
        store = open_store(self.folder)
        for source in sorted(store.folders()):
            self._read_source(store, source)
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
        if store.has(f"{CLIPS}/{TRACKLETS}"):
            self._add_tracklets(store, f"{CLIPS}/")

    @classmethod
    def for_validation(cls, folder: Path) -> Bank:
        """The same bank with the held-out videos alone, to measure on what was not trained with."""
        files = open_store(Path(folder)).files(VIDEO_SOURCE)
        names = {Path(name).stem.rpartition("_")[0] for name in files if name.endswith(".jpg")}
        return cls(folder, tuple(sorted(names - set(VALIDATION_VIDEOS))))

    def _read_source(self, store: FrameStore, source: str) -> None:
        files = set(store.files(source))
        table = f"{source}/boxes.csv"
        boxes = _read_boxes(store, table) if table in files else {}
        nameless = [name for name in boxes if f"{source}/{name}.jpg" not in files]
        if nameless:
            log.warning(
                "%s: %d of its ids name no picture beside it, such as %s, and their boxes are left "
                "out; an id is the name of a picture without .jpg",
                store.where(table), len(nameless), nameless[0],
            )  # fmt: skip
        others = [name for name in files if _is_left_out(name)]
        if others:
            log.warning(
                "%s: %d pictures are not called NAME.jpg, such as %s, and are left out",
                store.where(source), len(others), min(others).rpartition("/")[2],
            )  # fmt: skip
        for name in sorted(file for file in files if file.endswith(".jpg")):
            stem = Path(name).stem
            video = stem.rpartition("_")[0] if source == VIDEO_SOURCE else ""
            if video and video in self.hold_out:
                continue
            index = self._add_picture(store, name)
            mask_name = f"{source}/{stem}_mask.png"
            if mask_name in files:
                mask = _read_mask(store, mask_name)
                self._masks[index] = (mask.shape[0], mask.shape[1])
                self._index_mask(index, mask, source)
                if video:
                    self._index_frame(index, mask, video)
            for x, y, w, h in boxes.get(stem, ()):
                if w * h >= MIN_AREA and mask_name not in files:
                    self.boxed.append(Boxed(index, box_outline(x, y, w, h), source))
            if mask_name not in files and stem not in boxes:
                self.unlabelled.append(index)

    def _add_picture(self, store: FrameStore, name: str) -> int:
        self.paths.append(store.place / name)
        self.files.append((store, name))
        return len(self.paths) - 1

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

        A packed bank that brought tracklets keeps to those.

        Raises:
            DataError: the folder holds no `tracklets.json`, or a damaged one.
        """
        if self.tracklets:
            log.warning("%s brings its own tracklets; %s is left out", self.folder, folder)
            return
        self._add_tracklets(FolderStore(folder), "")

    def _add_tracklets(self, store: FrameStore, prefix: str) -> None:
        name = prefix + TRACKLETS
        try:
            record = json.loads(store.text(name))["tracklets"]
            numbers: dict[tuple[str, int], int] = {}
            motion = []
            for entry in record:
                frames = []
                for index, box in zip(entry["frames"], entry["boxes"], strict=True):
                    key = (str(entry["clip"]), int(index))
                    if key not in numbers:
                        picture = f"{prefix}{key[0]}/{key[1]:05d}.jpg"
                        numbers[key] = self._add_picture(store, picture)
                    frames.append(VideoFrame(numbers[key], box_outline(*map(float, box))))
                self.tracklets.append(frames)
                motion.append(float(entry["motion"]))
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{store.where(name)} is missing or damaged ({error}); make it with `python -m "
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
            found = self._pictures[index] = self.decode(index)
        return found

    def decode(self, index: int) -> Image:
        """The same, decoded anew and not kept."""
        store, name = self.files[index]
        decoded = decode_picture(store.read(name), cv2.IMREAD_COLOR)
        if decoded is None:
            raise DataError(f"picture {self.paths[index]} cannot be decoded; remove it")
        size, masked = decoded.shape[:2], self._masks.get(index)
        if masked is not None and masked != size:
            raise DataError(
                f"picture {self.paths[index]} is of {size[1]} x {size[0]} pixels, its mask of "
                f"{masked[1]} x {masked[0]}; remove one of them"
            )
        return np.asarray(decoded, np.uint8)

    def mask_of(self, index: int) -> NDArray[np.uint16] | None:
        """The labels of all pixels of a picture, or None where it has none."""
        store, name = self.files[index]
        mask = f"{name.removesuffix('.jpg')}_mask.png"
        return _read_mask(store, mask) if store.has(mask) else None

    def load(self) -> None:
        """Decode everything now, so that forked workers share one copy."""
        for index in range(len(self.paths)):
            self.picture(index)

    def segment_mask(self, segment: Segment) -> Image:
        """The mask of one segment, 0 or 1, of its picture's size."""
        return np.asarray(self.mask_of(segment.picture) == segment.label, np.uint8)

    def cutout(self, number: int) -> Cutout:
        """The largest connected part of segment `number` as a cut-out with soft edges."""
        found = self._cutouts.get(number)
        if found is None:
            segment = self.segments[number]
            picture = self.picture(segment.picture)
            found = self.cut(segment, picture, self.segment_mask(segment))
            self._cutouts[number] = found
        return found

    @staticmethod
    def cut(segment: Segment, picture: Image, mask: Image) -> Cutout:
        """The largest connected part of a segment, given its picture and mask."""
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        x, y, w, h = (int(v) for v in stats[best, :4])
        alpha = cv2.copyMakeBorder(
            np.asarray(parts[y : y + h, x : x + w] == best, np.uint8), 2, 2, 2, 2,
            cv2.BORDER_CONSTANT, value=0,
        )  # fmt: skip
        outline = mask_outline(np.asarray(alpha, np.uint8), largest=True)
        assert outline is not None  # the component has at least one pixel
        colour = cv2.copyMakeBorder(picture[y : y + h, x : x + w], 2, 2, 2, 2, cv2.BORDER_REPLICATE)
        soft = cv2.GaussianBlur(alpha * 255, (3, 3), 0)
        return Cutout(np.dstack([colour, soft]), outline, segment.source)

    def segment_outline(self, number: int) -> Points:
        """Outline of segment `number` in pixels of its picture."""
        found = self._outlines.get(number)
        if found is None:
            found = self.outline_in(self.segment_mask(self.segments[number]))
            self._outlines[number] = found
        return found

    @staticmethod
    def outline_in(mask: Image) -> Points:
        """Outline of all parts of a segment's mask."""
        found = mask_outline(mask, largest=False)
        assert found is not None  # segments have at least MIN_AREA pixels
        return found


def _is_left_out(name: str) -> bool:
    """Whether a file is a picture, but no picture of a bank."""
    return suffix_of(name) in PICTURE_SUFFIXES and not name.endswith((".jpg", "_mask.png"))


def _read_mask(store: FrameStore, name: str) -> NDArray[np.uint16]:
    mask = decode_picture(store.read(name), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2:
        raise DataError(
            f"mask {store.where(name)} cannot be read as a one-channel picture; remove it"
        )
    return mask.astype(np.uint16)


def _read_boxes(store: FrameStore, name: str) -> dict[str, list[tuple[float, ...]]]:
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for line, row in read_table(store, name)[1]:
        try:
            box = tuple(float(row[key]) for key in ("x", "y", "w", "h"))
            picture = row["id"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{store.where(name)}, line {line}: {row} has no id or no numbers x, y, "
                "w, h; correct it"
            ) from error
        if not (all(abs(v) <= _FAR for v in box) and box[2] > 0 and box[3] > 0):
            raise DataError(
                f"{store.where(name)}, line {line}: x, y, w, h {box} is no box; width "
                "and height must be above 0, and all within a picture; correct it"
            )
        boxes.setdefault(picture, []).append(box)
    return boxes
