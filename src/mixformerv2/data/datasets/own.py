"""Your own: pictures or a clip, and a text file with a row for each frame.

```
ROOT/NAME/img/000001.jpg ...   and   ROOT/NAME/groundtruth.txt      pictures in natural order
ROOT/NAME/000001.jpg ...       and   ROOT/NAME/groundtruth.txt      the same without img
ROOT/NAME/any.mp4              and   ROOT/NAME/groundtruth.txt      a clip
ROOT/NAME.mp4                  and   ROOT/NAME.txt                  a clip (.avi, .mov, .mkv, .webm)
```

ROOT may also be one such NAME itself. A row is x, y, w, h in pixels from 0, parted by commas, tabs
or spaces. `nan,nan,nan,nan` is a frame that nobody labelled, `0,0,0,0` one without the target.
"""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath

from ...errors import DataError
from ..store import CLIP_SUFFIXES, FrameStore, suffix_of
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import read_rows

__all__ = ["LAYOUT", "TRUTH"]

TRUTH = "groundtruth.txt"


def _clips(store: FrameStore, folder: str) -> list[str]:
    return [name for name in store.files(folder) if suffix_of(name) in CLIP_SUFFIXES]


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    if store.has(TRUTH):
        name = store.place.resolve().stem
        return [Entry(name, partial(_load_folder, store, "", name))]
    entries = [
        Entry(folder, partial(_load_folder, store, folder, folder))
        for folder in store.folders()
        if store.has(f"{folder}/{TRUTH}")
    ]
    for clip in _clips(store, ""):
        truth = str(PurePosixPath(clip).with_suffix(".txt"))
        if store.has(truth):
            entries.append(Entry(PurePosixPath(clip).stem, partial(_load_clip, store, clip, truth)))
    return sorted(entries, key=lambda entry: entry.name)


def _load_folder(
    store: FrameStore, folder: str, name: str, findings: Findings
) -> AnnotatedSequence:
    prefix = f"{folder}/" if folder else ""
    for place in (f"{prefix}img", folder):
        pictures = store.pictures(place)
        if pictures:
            truth = f"{prefix}{TRUTH}"
            return annotate(
                name,
                Frames(store, pictures),
                read_rows(store, truth, findings),
                findings,
                source="own",
                where=store.where(truth),
                frames_where=store.where(place),
            )
    clips = _clips(store, folder)
    if len(clips) != 1:
        raise DataError(
            f"{store.where(folder)} has {len(clips)} clips and no pictures in img beside its "
            f"{TRUTH}; put pictures into img, or one clip"
        )
    return _load_clip(store, clips[0], f"{prefix}{TRUTH}", findings, name)


def _load_clip(
    store: FrameStore, clip: str, truth: str, findings: Findings, name: str | None = None
) -> AnnotatedSequence:
    rows = read_rows(store, truth, findings)
    video = store.clip(clip)
    if not findings.strict and video.count not in (0, len(rows)):
        findings.remark(
            f"{store.where(truth)} has {len(rows)} rows, but the header of {store.where(clip)} "
            f"promises {video.count} frames"
        )
    return annotate(
        name or PurePosixPath(clip).stem,
        Frames.of_clip(video, len(rows)),
        rows,
        findings,
        source="own",
        where=store.where(truth),
    )


LAYOUT = Layout(
    name="own",
    title="your own folder",
    form="NAME/img/000001.jpg and NAME/groundtruth.txt, or NAME.mp4 and NAME.txt",
    origin="0",
    splits=(),
    detect=lambda store: bool(_entries(store, None)),
    entries=_entries,
)
