"""What a tracker loses when the first box or the picture gets worse: the curves the paper lacks.

Each curve measures the same sequences again and again, a step worse each time. Nothing else
changes, so the fall is the tracker's. All randomness hangs on the sequence's name.

| curve | level |
|---|---|
| box | the first box is moved and scaled by up to this share of its size |
| dropped | this share of the frames is never seen; those that are seen at every level count |
| jpeg | every frame is saved as a JPEG of this quality |
| noise | Gaussian noise of this standard deviation, in grey values |
| blur | Gaussian blur of this sigma, in pixels |
| resolution | every frame is made smaller by this factor and larger again |
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import ConfigError, DataError
from .benchmarks import Sequence
from .report import Report

__all__ = ["KINDS", "Curve", "Kind", "find_kinds", "robustness", "worsen"]

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which things get worse.

    Attributes:
        name: By which it is asked for.
        title: Of its plot.
        unit: Of its levels.
        levels: From harmless to bad; the first changes nothing.
    """

    name: str
    title: str
    unit: str
    levels: tuple[float, ...]


KINDS: dict[str, Kind] = {
    one.name: one
    for one in (
        Kind("box", "Jittered first box", "share of its size", (0, 0.05, 0.1, 0.2, 0.3)),
        Kind("dropped", "Dropped frames", "share", (0, 0.2, 0.4, 0.6, 0.8)),
        Kind("jpeg", "JPEG", "quality", (100, 50, 25, 10, 5)),
        Kind("noise", "Noise", "sigma in grey values", (0, 10, 20, 40, 60)),
        Kind("blur", "Blur", "sigma in px", (0, 1, 2, 4, 8)),
        Kind("resolution", "Lower resolution", "factor", (1, 2, 3, 4, 6)),
    )
}


@dataclass(frozen=True, slots=True)
class Curve:
    """Figures of one tracker along one kind.

    Attributes:
        kind: Name of the kind.
        levels: As in the kind.
        values: The main figure at each level.
        failed: Sequences that failed, at each level.
    """

    kind: str
    levels: tuple[float, ...]
    values: tuple[float, ...]
    failed: tuple[int, ...]

    @property
    def kept(self) -> float:
        """Share of the first value that is left on average over the levels after it."""
        return sum(self.values[1:]) / (len(self.values) - 1) / self.values[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        values = [value if math.isfinite(value) else None for value in self.values]
        kept = self.kept if self.values[0] > 0 and None not in values else None
        return asdict(self) | {"values": values, "kept": kept}


def find_kinds(names: Iterable[str]) -> list[Kind]:
    """Kinds by name; `all` is each of them.

    Raises:
        ConfigError: there is none of that name.
    """
    found = []
    for name in names:
        if name == "all":
            return list(KINDS.values())
        if name not in KINDS:
            raise ConfigError(f"--robustness {name}: choose all or from {', '.join(KINDS)}")
        found.append(KINDS[name])
    return found


def robustness(
    measure: Callable[[list[Sequence], Path | None], Report],
    sequences: list[Sequence],
    kinds: Iterable[Kind],
    figure: str,
    *,
    clean: Report,
    out: Path | None = None,
    progress: Callable[[Kind, float], None] | None = None,
) -> tuple[Curve, ...]:
    """Measure along each kind.

    Args:
        measure: Measures sequences and keeps results in a folder, where one is given.
        sequences: As they are.
        kinds: Which curves.
        figure: Which figure.
        clean: The report on the sequences as they are: the first point of most curves. The best
            quality of JPEG is a change already, and dropped frames are not counted even there.
        out: Folder for results; each level gets one below it.
        progress: Called before each level.
    """
    curves = []
    for kind in kinds:
        values, failed = [], []
        for level in kind.levels:
            if level == kind.levels[0] and kind.name not in ("jpeg", "dropped"):
                report = clean
            else:
                if progress is not None:
                    progress(kind, level)
                worse = [worsen(one, kind.name, level) for one in sequences]
                folder = None if out is None else out / f"{kind.name}-{level:g}"
                report = measure(worse, folder)
            values.append(float(getattr(report.mean, figure)))
            failed.append(len(report.failed))
        curves.append(Curve(kind.name, kind.levels, tuple(values), tuple(failed)))
    return tuple(curves)


def worsen(sequence: Sequence, kind: str, level: float) -> Sequence:
    """The same sequence, a step worse."""
    draw = np.random.default_rng([zlib.crc32(sequence.name.encode()), list(KINDS).index(kind)])
    if kind == "box":
        moves = draw.uniform(-1, 1, 4) * level
        box = sequence.box
        w, h = box.w * np.exp(moves[2]), box.h * np.exp(moves[3])
        cx, cy = box.center[0] + moves[0] * box.w, box.center[1] + moves[1] * box.h
        # A centre in the picture, so that no tracker may refuse the box.
        try:
            width, height = sequence.size
        except DataError:  # the run will say what is wrong with its first picture
            return sequence
        cx, cy = np.clip(cx, 1, width - 1), np.clip(cy, 1, height - 1)
        return replace(sequence, given=Box.from_cxcywh(cx, cy, w, h))
    if kind == "dropped":
        # What is seen at a level is seen at every harmless one, too; so the same frames can count.
        places = draw.uniform(size=len(sequence))
        places[0] = 1.0
        counted = places >= KINDS[kind].levels[-1]
        truth = np.where(counted[:, None], sequence.truth, np.nan)
        absent = None if sequence.absent is None else sequence.absent & counted
        masked = replace(sequence, truth=truth, absent=absent)
        return masked.pick(np.flatnonzero(places >= level).tolist())
    return replace(sequence, alter=partial(_ALTER[kind], level, sequence.name))


def _jpeg(quality: float, name: str, image: Picture, index: int) -> Picture:
    import cv2

    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _noise(sigma: float, name: str, image: Picture, index: int) -> Picture:
    draw = np.random.default_rng([zlib.crc32(name.encode()), index])
    noise = draw.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _blur(sigma: float, name: str, image: Picture, index: int) -> Picture:
    import cv2

    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def _resolution(factor: float, name: str, image: Picture, index: int) -> Picture:
    import cv2

    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    less = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(less, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


_ALTER: dict[str, Callable[[float, str, Picture, int], Picture]] = {
    "jpeg": _jpeg,
    "noise": _noise,
    "blur": _blur,
    "resolution": _resolution,
}
