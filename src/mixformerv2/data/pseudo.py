"""Real motion from unlabelled clips: boxes are carried along, and whoever carries checks itself.

Many boxes are started in each clip, most of them on things that move. A teacher follows each
forwards and then, afresh, backwards from where it ended; a tracklet is kept only if both ways agree
on every frame. What it did not see well, it seldom mistakes in the same way twice. The teacher is a
published tracker (`peer`), Lucas-Kanade point tracks (`points`) or dense optical flow (`flow`).

`python -m mixformerv2.data.pseudo VIDEOS OUT --by peer --peer FOLDER` writes `OUT/CLIP/00000.jpg`
(short side 256) and `OUT/tracklets.json`; clips kept aside for validation are left out.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from ..box import XYWH, iou
from ..errors import DataError, SourceError
from ..modules import run_module
from ..weights.files import make_folder, write_whole
from .bank import TRACKLETS
from .carry import FlowTeacher, PointTeacher, Teacher
from .store import CLIP_SUFFIXES, suffix_of

__all__ = [
    "BENCHMARK_CLIPS", "VALIDATION_CLIPS", "By", "Tracklet", "agreement", "follow", "label_clip",
    "label_folder", "make_teacher",
]  # fmt: skip

log = logging.getLogger(__name__)
Image = NDArray[np.uint8]
By = Literal["peer", "points", "flow"]
# Looked at by eye to judge trackers: never trained with.
VALIDATION_CLIPS = (
    "cotracker_apple",
    "cotracker_teddy",
    "devindatt_surfing",
    "intel_bottle-detection",
    "intel_car-detection",
    "intel_one-by-one-person-detection",
    "pysot_bag",
    "sam2_01_dog",
    "sam2_05_default_juggle",
    "trackanything_4",
)
# Sequences of public benchmarks, without their truth: training on them would flatter figures.
BENCHMARK_CLIPS = ("otb_surfer_nogt",)
SHORT_SIDE = 256
STRIDE = 2  # every second frame is kept: neighbours teach little
LENGTHS = (40, 80, 140)
AGREE = 0.65
SETTLE = 6  # even, so that kept frames stay on the stride
SHORTEST = 24


@dataclass(frozen=True, slots=True)
class Tracklet:
    """One object over some frames of a clip, boxes (x, y, w, h) in pixels of the kept frames."""

    clip: str
    frames: list[int]
    boxes: list[XYWH]
    motion: float  # mean way per second of video, in target sizes, plus the change of scale


def make_teacher(by: By, folder: Path | None = None) -> Teacher:
    """Who follows boxes.

    Args:
        by: The peer, a NanoTrack of two ONNX files; point tracks; or optical flow.
        folder: Of the peer's files.

    Raises:
        DataError: a file of the peer is missing.
    """
    if by == "points":
        return PointTeacher()
    if by == "flow":
        return FlowTeacher()
    if folder is None:
        raise DataError("the peer labels with its ONNX files; say which folder holds them")
    return _Peer(folder)


class _Peer:
    """NanoTrack as OpenCV runs it."""

    def __init__(self, folder: Path) -> None:
        files = [folder / f"nanotrack_{part}_sim.onnx" for part in ("backbone", "head")]
        for path in files:
            if not path.is_file():
                raise DataError(
                    f"teacher file {path} does not exist; give the folder that holds it"
                )
        params = cv2.TrackerNano.Params()
        params.backbone, params.neckhead = (str(path) for path in files)
        self._tracker = cv2.TrackerNano.create(params)

    def init(self, image: Image, boundingBox: Sequence[float], /) -> None:
        self._tracker.init(image, [round(v) for v in boundingBox])

    def update(self, image: Image, /) -> tuple[bool, Sequence[float]]:
        found, box = self._tracker.update(image)
        return bool(found), [float(v) for v in box]


def read_clip(path: Path, limit: int = 400) -> list[Image]:
    """The first frames of a clip, up to a broken one, short side `SHORT_SIDE`.

    Raises:
        DataError: nothing can be read.
    """
    from ..video.source import open_source

    frames: list[Image] = []
    try:
        with open_source(path) as source:
            for frame in islice(source, limit):
                if frame.image is None:  # broken: motion would jump over it
                    break
                scale = SHORT_SIDE / min(frame.image.shape[:2])
                size = (round(frame.image.shape[1] * scale), round(frame.image.shape[0] * scale))
                small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
                frames.append(np.asarray(small, np.uint8))
    except SourceError as error:
        raise DataError(f"clip {path} cannot be read ({error}); remove it") from error
    if not frames:
        raise DataError(f"clip {path} has no frame that can be read; remove it")
    return frames


def _moving(frame: Image, later: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per pixel: how much it moves against the camera, and how textured it is."""
    grey, after = (cv2.cvtColor(v, cv2.COLOR_BGR2GRAY) for v in (frame, later))
    start = np.zeros((*grey.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(grey, after, start, 0.5, 4, 21, 2, 5, 1.1, 0)
    y, x = np.mgrid[0 : grey.shape[0] : 8, 0 : grey.shape[1] : 8]
    at = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    camera, _ = cv2.estimateAffine2D(at, at + flow[y, x].reshape(-1, 2), ransacReprojThreshold=1.0)
    if camera is not None:
        yy, xx = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]].astype(np.float32)
        flow[..., 0] -= camera[0, 0] * xx + camera[0, 1] * yy + camera[0, 2] - xx
        flow[..., 1] -= camera[1, 0] * xx + camera[1, 1] * yy + camera[1, 2] - yy
    texture = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return np.hypot(flow[..., 0], flow[..., 1]), np.asarray(texture, np.float32)


def propose(rng: np.random.Generator, frame: Image, later: Image, many: int) -> list[XYWH]:
    """Boxes to start from: whole things that move, and textured or moving parts."""
    motion, texture = _moving(frame, later)
    height, width = motion.shape
    blobs = (motion > max(1.0, 0.35 * float(motion.max()))).astype(np.uint8)
    blobs = np.asarray(cv2.morphologyEx(blobs, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)))
    _, _, stats, _ = cv2.connectedComponentsWithStats(blobs)
    ranked: list[tuple[float, XYWH]] = []
    for x, y, w, h, area in stats[1:]:
        if min(w, h) >= 16 and w * h < 0.4 * width * height and area > 0.3 * w * h:
            ranked.append((10.0, (float(x), float(y), float(w), float(h))))
    total, edges = cv2.integral(np.minimum(motion, 8.0)), cv2.integral(np.minimum(texture, 200.0))
    for _ in range(150):
        size = math.exp(rng.uniform(math.log(20), math.log(150)))
        stretch = math.exp(float(rng.normal(0, 0.4)))
        w, h = (round(v) for v in (size * stretch, size / stretch))
        if w >= width - 4 or h >= height - 4 or min(w, h) < 14:
            continue
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        box = (x, y, w, h)
        # Alive inside, quiet around: that is what a whole object looks like.
        pad = (max(x - w // 4, 0), max(y - h // 4, 0))
        end = (min(x + w + w // 4, width), min(y + h + h // 4, height))
        around = (*pad, end[0] - pad[0], end[1] - pad[1])
        inner, ring = _ring(total, box, around)
        lively = (inner - 0.6 * ring) / 2.0 + min(_ring(edges, box, around)[0] / 60.0, 0.6)
        ranked.append(
            (lively + float(rng.uniform(0, 0.5)), (float(x), float(y), float(w), float(h)))
        )
    ranked.sort(key=lambda entry: -entry[0])
    chosen: list[XYWH] = []
    for _, candidate in ranked:
        if len(chosen) == many:
            break
        if all(iou(candidate, other) < 0.35 for other in chosen):
            chosen.append(candidate)
    return chosen


def _ring(
    table: NDArray[Any], box: tuple[int, int, int, int], around: tuple[int, int, int, int]
) -> tuple[float, float]:
    """Mean inside a box and mean of the ring around it, from a summed-area table."""
    sums = []
    for x, y, w, h in (box, around):
        sums.append(float(table[y + h, x + w] - table[y, x + w] - table[y + h, x] + table[y, x]))
    area, whole = box[2] * box[3], around[2] * around[3]
    return sums[0] / area, (sums[1] - sums[0]) / max(whole - area, 1)


def follow(teacher: Teacher, frames: Sequence[Image], box: XYWH) -> list[XYWH]:
    """The teacher's boxes from the first frame on; shorter where it gives up."""
    teacher.init(frames[0], box)
    boxes = [box]
    for frame in frames[1:]:
        found, (x1, y1, w1, h1) = teacher.update(frame)
        if not found or min(w1, h1) < 5:
            break
        boxes.append((float(x1), float(y1), float(w1), float(h1)))
    return boxes


def _motion(boxes: Sequence[XYWH]) -> float:
    array = np.asarray(boxes)
    size = np.sqrt(array[:, 2] * array[:, 3])
    centre = array[:, :2] + 0.5 * array[:, 2:]
    way = np.hypot(*np.diff(centre, axis=0).T) / size[1:]
    return float(15.0 * way.mean() + np.abs(np.log(size / size[0])).mean())


def label_clip(
    name: str,
    frames: Sequence[Image],
    teacher: Teacher,
    rng: np.random.Generator,
    starts: int,
    many: int,
) -> list[Tracklet]:
    """All tracklets of a clip on which the teacher agrees with itself.

    Args:
        name: Name of the clip.
        frames: Its frames.
        teacher: Who labels.
        rng: Decides boxes and lengths.
        starts: At how many moments boxes are started.
        many: How many boxes at each.
    """
    kept: list[Tracklet] = []
    last = max(len(frames) - min(LENGTHS), 1)
    for start in np.linspace(0, last, starts, endpoint=False).astype(int) // STRIDE * STRIDE:
        for box in propose(rng, frames[start], frames[min(start + 3, len(frames) - 1)], many):
            length = int(rng.choice(LENGTHS, p=(0.4, 0.4, 0.2)))
            tracklet = _agreed(name, frames[start : start + length], int(start), box, teacher)
            if tracklet is not None:
                kept.append(tracklet)
    return kept


def agreement(
    teacher: Teacher, frames: Sequence[Image], ahead: Sequence[XYWH]
) -> tuple[list[bool], list[XYWH]]:
    """Follow backwards from the last of the boxes `ahead`; on which frames both ways agree.

    Returns:
        Flags for all frames, and the boxes of the way back, for as many of the last frames as it
        held.
    """
    back = follow(teacher, frames[: len(ahead)][::-1], ahead[-1])[::-1]
    skipped = len(ahead) - len(back)
    same = [iou(a, b) >= AGREE for a, b in zip(ahead[skipped:], back, strict=True)]
    return [False] * skipped + same, back


def _agreed(
    name: str, part: Sequence[Image], start: int, box: XYWH, teacher: Teacher
) -> Tracklet | None:
    # A few frames let the teacher settle on the thing that the first guess was near.
    settled = follow(teacher, part[: SETTLE + 1], box)
    if len(settled) <= SETTLE:
        return None
    ahead = follow(teacher, part[SETTLE:], settled[-1])
    if len(ahead) < SHORTEST:
        return None
    agree, back = agreement(teacher, part[SETTLE : SETTLE + len(ahead)], ahead)
    skipped = len(ahead) - len(back)
    first, end = _longest(agree)
    if end - first < SHORTEST:
        return None
    height, width = part[0].shape[:2]
    frames, boxes = [], []
    for offset in range(first + first % STRIDE, end, STRIDE):
        pair = (ahead[offset], back[offset - skipped])
        x, y, w, h = (0.5 * (a + b) for a, b in zip(*pair, strict=True))
        if not (0 <= x + w / 2 <= width and 0 <= y + h / 2 <= height):
            return None
        frames.append(start + SETTLE + offset)
        boxes.append((round(x, 2), round(y, 2), round(w, 2), round(h, 2)))
    if max(w * h for _, _, w, h in boxes) > 0.45 * width * height:
        return None
    return Tracklet(name, frames, boxes, round(_motion(boxes), 3))


def _longest(agree: Sequence[bool]) -> tuple[int, int]:
    """First and one past the last index of the longest run of True."""
    best, begun = (0, 0), 0
    for index, value in enumerate([*agree, False]):
        if not value:
            if index - begun > best[1] - best[0]:
                best = (begun, index)
            begun = index + 1
    return best


def label_folder(
    videos: Path,
    out: Path,
    teacher: Teacher,
    *,
    starts: int = 6,
    many: int = 6,
    seed: int = 0,
    aside: Sequence[str] = (*VALIDATION_CLIPS, *BENCHMARK_CLIPS),
) -> list[Tracklet]:
    """Label all clips of a folder but those kept aside, and write frames and tracklets.

    Args:
        videos: Folder of clips.
        out: Folder that frames and `tracklets.json` are written into.
        teacher: Who follows the boxes, of `make_teacher`.
        starts: Moments per 150 frames at which boxes are started.
        many: Boxes at each.
        seed: Decides boxes and lengths.
        aside: Names of clips that are not learnt from.

    Raises:
        DataError: the folder holds no clip to learn from, or none that can be read.
        OutputError: `out` cannot be written.
    """
    clips = [path for path in sorted(videos.glob("*")) if suffix_of(path.name) in CLIP_SUFFIXES]
    paths = [path for path in clips if path.stem not in aside]
    if not paths:
        raise DataError(f"folder {videos} holds no clip to learn from; give one with videos")
    stems = [path.stem for path in paths]
    tracklets: list[Tracklet] = []
    damaged: list[DataError] = []
    for number, path in enumerate(paths):
        begun = time.perf_counter()
        try:
            frames = read_clip(path)
        except DataError as error:  # the others may have taken hours
            log.warning("left out: %s", error)
            damaged.append(error)
            continue
        rng = np.random.default_rng((seed, number))
        name = path.stem if stems.count(path.stem) == 1 else path.name  # a.mp4 beside a.mov
        # About as many moments per second of video everywhere.
        moments = max(2, round(starts * len(frames) / 150))
        found = label_clip(name, frames, teacher, rng, moments, many)
        tracklets += found
        _write_frames(out / name, frames, {i for t in found for i in t.frames})
        log.info(
            "%s: %d frames, %d of %d tracklets kept, %.0f s",
            name, len(frames), len(found), moments * many, time.perf_counter() - begun,
        )  # fmt: skip
    if len(damaged) == len(paths):
        raise damaged[0]
    record = {"format": 1, "tracklets": [asdict(tracklet) for tracklet in tracklets]}
    write_whole(out / TRACKLETS, json.dumps(record).encode())
    return tracklets


def _write_frames(folder: Path, frames: Sequence[Image], used: set[int]) -> None:
    make_folder(folder)
    for index in sorted(used):
        _, data = cv2.imencode(".jpg", frames[index], [cv2.IMWRITE_JPEG_QUALITY, 92])
        write_whole(folder / f"{index:05d}.jpg", data.tobytes())


def main(arguments: Sequence[str] | None = None) -> None:
    """Label a folder of clips."""
    parser = argparse.ArgumentParser(description="tracklets of unlabelled clips")
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--by", choices=get_args(By), default="peer", help="who carries boxes")
    parser.add_argument("--peer", type=Path, help="folder of the NanoTrack ONNX files")
    parser.add_argument("--starts", type=int, default=6, help="moments per 150 frames")
    parser.add_argument("--many", type=int, default=6, help="boxes per moment")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cv2.setNumThreads(1)
    teacher = make_teacher(options.by, options.peer)
    found = label_folder(
        options.videos, options.out, teacher, starts=options.starts, many=options.many
    )
    log.info("%d tracklets", len(found))


if __name__ == "__main__":
    raise SystemExit(run_module(main))
