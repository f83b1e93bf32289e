"""Result files: ours, and those of other people's trackers.

A sequence has `NAME.txt` (x, y, w, h a line, one line a frame, the given box first, floats),
`NAME_score.txt`, `NAME_time.txt` (seconds of each update, decoding left out) and `NAME_decode.txt`
(seconds of reading each frame). Boxes are in the coordinates of the benchmark's own files, as
everyone's are: where these call the first pixel 1, so do results.

Read as well: `NAME/NAME_001.txt` with `NAME/NAME_time.txt` (GOT-10k's toolkit), `NAME_001.txt`,
`times/NAME_time.txt` (OTB's), rows parted by commas, tabs or spaces, sequences in folders of their
class (`CLASS/NAME.txt`), and the names that pytracking and its kin use: `uav_NAME.txt`,
`nfs_NAME.txt`, `Jogging_1.txt`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, OutputError
from .benchmarks import Sequence, read_truth, write_truth

__all__ = [
    "Run",
    "check_names",
    "check_results",
    "find_results",
    "load_run",
    "save_run",
    "write_text",
]

log = logging.getLogger(__name__)

Values = NDArray[np.float64]
_BOXES = ("{0}.txt", "{0}/{0}_001.txt", "{0}_001.txt", "{1}/{0}.txt", "{0}.csv")
_SCORES = ("{0}_score.txt", "{0}/{0}_score.txt", "{0}_001_confidence.value")
_TIMES = ("{0}_time.txt", "{0}/{0}_time.txt", "times/{0}_time.txt", "{1}/{0}_time.txt")
_DECODES = ("{0}_decode.txt",)


@dataclass(frozen=True, eq=False)
class Run:
    """What one tracker answered over one sequence.

    Attributes:
        boxes: `[N, 4]` x, y, w, h; the first is the given one.
        scores: `[N]`; the first is 1. NaN where unknown.
        seconds: `[N]` time of each update; the first is that of `init`. NaN where unknown.
        decode: `[N]` time of reading each frame. NaN where unknown.
    """

    boxes: Values
    scores: Values
    seconds: Values
    decode: Values

    def in_files_of(self, sequence: Sequence) -> Run:
        """The same, with the boxes that come back once they were written and read.

        Adding the origin and taking it off again may change the last digit of a float; so a first
        run and one that reads the files print equal reports.
        """
        shift = np.array([sequence.origin, sequence.origin, 0, 0])
        return replace(self, boxes=(self.boxes + shift) - shift)


def check_names(names: Iterable[str]) -> None:
    """Refuse sequences of which one's boxes would be written where another's times are.

    Raises:
        DataError: two would share a file.
    """
    known = set(names)
    for name in sorted(known):
        for kind in ("score", "time", "decode", "error"):
            if f"{name}_{kind}" in known:
                raise DataError(
                    f"results of {name} and of {name}_{kind} would share the file "
                    f"{name}_{kind}.txt; rename one of the sequences"
                )


def save_run(folder: Path, sequence: Sequence, run: Run) -> None:
    """Write the files of a sequence.

    Raises:
        OutputError: they cannot be written.
    """
    name = sequence.name
    columns = (("score", run.scores), ("time", run.seconds), ("decode", run.decode))
    for kind, values in columns:
        write_text(folder / f"{name}_{kind}.txt", "".join(f"{float(v)!r}\n" for v in values))
    # The boxes come last and whole: their file says that the sequence is done.
    part, file = folder / f"{name}.{os.getpid()}.part", folder / f"{name}.txt"
    shift = np.array([sequence.origin, sequence.origin, 0, 0])
    try:
        write_truth(part, run.boxes + shift)
        os.replace(part, file)
    except OSError as error:
        raise OutputError(f"results cannot be written to {file}: {error}") from error
    (folder / f"{name}_error.txt").unlink(missing_ok=True)


def find_results(folder: Path, sequence: Sequence) -> Path | None:
    """The file with a sequence's boxes, or None."""
    return _first(folder, _BOXES, sequence)


def check_results(folder: Path, sequences: Iterable[Sequence]) -> None:
    """Refuse a folder in which no sequence is found: its figures would be zeros throughout.

    Raises:
        DataError: it has none of them.
    """
    known = list(sequences)
    if not known or any(find_results(folder, one) is not None for one in known):
        return
    asked = ", ".join(f"{one.name}.txt" for one in known[:3])
    inside = sorted(one.name for one in folder.iterdir())[:3] if folder.is_dir() else []
    raise DataError(
        f"{folder} has results of none of the {len(known)} sequences: looked for {asked} and other "
        f"usual names, found {', '.join(inside) or 'nothing'}; give the folder that holds them, "
        "and the benchmark that they are of"
    )


def load_run(folder: Path, sequence: Sequence, *, ours: bool = False) -> Run:
    """Read the files of a sequence.

    Args:
        folder: Where they lie.
        sequence: Whose they are. More rows than frames are cut off, as published evaluation code
            does it; where there is one for each picture, those before its first label are skipped.
        ours: Written by `save_run`: of the exact length, with scores and times.

    Raises:
        DataError: there are none, or they are not as they should be.
    """
    file = find_results(folder, sequence)
    if file is None:
        raise DataError(f"{folder} has no results of {sequence.name} ({sequence.name}.txt)")
    rows, count = read_truth(file), len(sequence)
    # How long the sequence is says its uncut length: a cut one may be as long as its tail.
    skip = sequence.start if not ours and len(rows) == sequence.whole + sequence.start else 0
    if len(rows) < skip + count or (ours and len(rows) > count):
        raise DataError(f"{file} has {len(rows)} rows, but {sequence.name} has {count} frames")
    boxes = rows[skip : skip + count] - np.array([sequence.origin, sequence.origin, 0, 0])
    regular = len(rows) if len(rows) == sequence.whole + skip else count
    extras = [
        _column(
            _first(folder, names, sequence),
            regular,
            slice(skip, skip + count),
            strict=ours and names is not _DECODES,
        )
        for names in (_SCORES, _TIMES, _DECODES)
    ]
    return Run(boxes, *extras)


def write_text(file: Path, text: str) -> None:
    """Write a text file.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error}") from error


def _first(folder: Path, names: Iterable[str], sequence: Sequence) -> Path | None:
    group = sequence.name.rpartition("-")[0] or sequence.name
    for called in (sequence.name, *_other_names(sequence)):
        for name in names:
            file = folder / name.format(called, group)
            if file.is_file():
                return file
    return None


def _other_names(sequence: Sequence) -> Iterable[str]:
    """How pytracking, and all evaluation code that came from it, calls the sequence."""
    plain = sequence.name.replace("-", "_")
    if sequence.layout == "otb":
        yield "Human4_2" if sequence.name == "Human4" else plain  # by the file of its truth
    elif sequence.layout in ("uav123", "nfs"):
        prefix = "uav" if sequence.layout == "uav123" else "nfs"
        yield f"{prefix}_{sequence.name}"
        yield f"{prefix}_{plain}"


def _column(file: Path | None, rows: int, wanted: slice, *, strict: bool) -> Values:
    """The wanted part of the first column of a file of numbers; NaN where there is none.

    Args:
        file: Where it is.
        rows: How many values there are if there is one for each box.
        wanted: Whose values.
        strict: Refuse what is missing.
    """
    unknown = np.full(wanted.stop - wanted.start, np.nan)
    if file is None:
        if strict:
            raise DataError("a file of scores or times is missing")
        return unknown
    try:
        lines = file.read_text(encoding="utf-8").replace(",", " ").splitlines()
        # GOT-10k's toolkit writes a column for each repetition.
        values = np.array([float(line.split()[0]) for line in lines if line.strip()])
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is no column of numbers: {error}") from error
    if len(values) == rows - 1:  # without the given frame
        values = np.concatenate([[np.nan], values])
    if len(values) < wanted.stop:
        if strict:
            raise DataError(f"{file} has {len(values)} values, but there are {wanted.stop} frames")
        log.warning("%s has %d values for %d frames, left out", file, len(values), wanted.stop)
        return unknown
    return values[wanted]
