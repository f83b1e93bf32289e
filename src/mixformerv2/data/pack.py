"""One file instead of a million: a data set as `.zip` or `.lmdb`, which the same readers read."""

from __future__ import annotations

import logging
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, OutputError
from .datasets import AnnotatedSequence, Dataset, find_layout
from .datasets.text import write_rows
from .packed import import_lmdb
from .store import CLIP_SUFFIXES, FrameStore, VideoStore, is_hidden, suffix_of

__all__ = ["check_target", "frame_files", "pack_files", "pack_store"]

log = logging.getLogger(__name__)

Files = Iterator[tuple[str, bytes]]
_LONGEST_KEY = 511  # bytes; how LMDB is built
_COMMIT = 64 << 20


def pack_store(
    store: FrameStore, out: str | Path, *, progress: Callable[[int], Any] = lambda total: None
) -> int:
    """Copy all files of a data set, as they are, into one file.

    Args:
        store: The data set.
        out: `.zip` or `.lmdb`; must not exist.
        progress: Called with the number of files in all, after each.

    Returns:
        How many files were packed.

    Raises:
        DataError: the store is no data set that is known.
        OutputError: `out` exists or cannot be written.
    """
    if isinstance(store, VideoStore):
        raise DataError(f"{store.place} is a clip alone; give the folder with its truth")
    find_layout(store)
    names = list(store.walk())

    def files() -> Files:
        for name in names:
            yield name, store.read(name)
            progress(len(names))

    return pack_files(files(), out)


def frame_files(
    dataset: Dataset,
    *,
    short_side: int | None = None,
    quality: int = 95,
    progress: Callable[[int], Any] = lambda total: None,
) -> Files:
    """A data set of any layout as one of your own: `NAME/img/000000.jpg`, `NAME/groundtruth.txt`.

    Clips are taken apart, so that frames can be picked at random. Where the target is absent the
    row is of zeros.

    Args:
        dataset: What to turn.
        short_side: Make pictures smaller, to this many pixels; boxes go along.
        quality: Of the JPEG.
        progress: Called with the number of sequences, after each.
    """
    names: set[str] = set()
    for sequence in dataset:
        name = _unique(_folder_name(sequence.name), names)
        yield from _sequence_files(sequence, name, short_side, quality)
        progress(len(dataset))


def _folder_name(name: str) -> str:
    """The name as that of one folder at the root, where readers look for it."""
    flat = re.sub(r"[/\\]", "-", name)
    return f"video-{flat.lstrip('.')}" if not flat or is_hidden(flat) else flat


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where another sequence has it already."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found)
    if found != name:
        log.warning("there is another sequence called %s; this one is packed as %s", name, found)
    return found


def _sequence_files(
    sequence: AnnotatedSequence, name: str, short_side: int | None, quality: int
) -> Files:
    import cv2

    scales = np.ones((len(sequence), 2))
    for number, frame in enumerate(sequence.frames):
        height, width = frame.shape[:2]
        if short_side is not None and min(height, width) > short_side:
            share = short_side / min(height, width)
            size = (round(width * share), round(height * share))
            scales[number] = size[0] / width, size[1] / height
            frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        good, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not good:
            raise DataError(f"{sequence.frames.where(number)} cannot be written as JPEG")
        yield f"{name}/img/{number:06d}.jpg", data.tobytes()
    boxes = sequence.boxes * np.tile(scales, 2)
    boxes[sequence.absent] = 0.0
    yield f"{name}/groundtruth.txt", write_rows(boxes).encode()


def check_target(out: str | Path) -> Path:
    """Where a pack is to lie, before anything is made for it.

    Raises:
        OutputError: it is there already, is of another kind, or its folder is missing.
    """
    target = Path(out)
    if target.suffix.lower() not in _WRITERS:
        raise OutputError(f"{target} must end in .zip or .lmdb, to say which is wanted")
    if target.exists():
        raise OutputError(f"{target} is there already; remove it or name another file")
    if not target.absolute().parent.is_dir():
        raise OutputError(f"{target} cannot be written: its folder is not there; make it first")
    return target


def pack_files(files: Files, out: str | Path) -> int:
    """Write files into one, which appears whole or not at all.

    Raises:
        OutputError: `out` exists, is of another kind or cannot be written.
    """
    target = check_target(out)
    part = target.with_name(f".{target.name}.part")
    lock = part.with_name(f"{part.name}-lock")  # LMDB leaves it behind
    count = 0
    try:
        with _WRITERS[target.suffix.lower()](part) as write:
            for name, data in files:
                _check_name(name)
                write(name, data)
                count += 1
        os.replace(part, target)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        for left in (part, lock):
            if left.is_file():
                left.unlink()
            elif left.exists():
                shutil.rmtree(left)
    return count


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise OutputError(f"{name} cannot be packed: its name is no UTF-8; rename it") from error


Write = Callable[[str, bytes], None]


@contextmanager
def _zip(path: Path) -> Iterator[Write]:
    from ..video.readers import PICTURE_SUFFIXES

    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:

        def write(name: str, data: bytes) -> None:
            packed = suffix_of(name) in PICTURE_SUFFIXES | CLIP_SUFFIXES  # would not get smaller
            entry = zipfile.ZipInfo(name)  # without the time of packing: equal data, equal file
            entry.external_attr = 0o644 << 16
            kind = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compress_type=kind)

        yield write


@contextmanager
def _lmdb(path: Path) -> Iterator[Write]:
    lmdb = import_lmdb()
    try:
        with lmdb.open(str(path), subdir=False, map_size=_COMMIT, writemap=False) as base:
            waiting: list[tuple[bytes, bytes]] = []
            size = 0

            def flush() -> None:
                nonlocal size
                # A page of 4 KB a value is lost at most; the map only ever grows.
                need = size + 4 * 4096 * len(waiting) + (1 << 20)
                base.set_mapsize(base.info()["map_size"] + need)
                with base.begin(write=True) as change:
                    for key, data in waiting:
                        change.put(key, data)
                waiting.clear()
                size = 0

            def write(name: str, data: bytes) -> None:
                nonlocal size
                key = name.encode()
                if len(key) > _LONGEST_KEY:
                    raise OutputError(
                        f"{name} is a name of {len(key)} bytes, and LMDB takes {_LONGEST_KEY}; "
                        "pack to .zip"
                    )
                waiting.append((key, data))
                size += len(data)
                if size >= _COMMIT:
                    flush()

            yield write
            flush()
    except lmdb.Error as error:
        raise OutputError(f"{path} cannot be written: {error}") from error


_WRITERS = {".zip": _zip, ".lmdb": _lmdb}
