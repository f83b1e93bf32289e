"""What label tools export: boxes by video, object and frame; and where the frames may lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from ...errors import DataError
from ..store import CLIP_SUFFIXES, FrameStore, suffix_of
from .base import AnnotatedSequence, Entry, Findings, Frames, annotate
from .text import Row

__all__ = ["Track", "find_frames", "to_entries"]

_CLIPS = (".mp4", *sorted(CLIP_SUFFIXES - {".mp4"}))


@dataclass
class Track:
    """One object of one video.

    Attributes:
        video: Name of the video: a clip, a folder, or a stem.
        number: The object's number or name there.
        rows: Box of each frame, counted from 0; None where the labels say that it is not there.
        category: What it is.
        pictures: Names of the frames, where the export lists them.
        look: Other names under which the frames may lie.
        lines: Line of each box in the file, by its frame.
        wrong: Sentences on labels of it that could not be read.
    """

    video: str
    number: str
    rows: dict[int, Row | None] = field(default_factory=dict)
    category: str | None = None
    pictures: list[str] | None = None
    look: tuple[str, ...] = ()
    lines: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def put(self, frame: int, row: Row | None, where: str, line: int | None = None) -> None:
        """Take note of a box, or of what is wrong with it.

        Args:
            frame: From 0.
            row: None where the target is not there.
            where: What messages call the label.
            line: Of the file, where it has any.
        """
        if frame in self.rows:
            self.wrong.append(
                f"{where}: frame {frame} of object {self.number} has a box already; give each "
                "object an id of its own"
            )
            return
        self.rows[frame] = row
        if line is not None:
            self.lines[frame] = line


def to_entries(
    store: FrameStore,
    file: str,
    tracks: list[Track],
    source: str,
    wrong: list[str],
    *,
    origin: int = 0,
    folder: str | None = None,
) -> list[Entry]:
    """Sequences of an export.

    A label that could not be read is told with its sequence. One that is of no sequence that is
    known may be of any, so that none of them is whole.

    Args:
        store: Where it lies.
        file: Its name.
        tracks: What it holds.
        source: Name of the layout.
        wrong: Sentences about labels of which it is not known whose they are.
        origin: How it calls the first pixel.
        folder: Where its frames are looked for; beside it where not given.
    """
    wrong = [*wrong, *(text for track in tracks if not track.rows for text in track.wrong)]
    tracks = [track for track in tracks if track.rows]
    videos = [track.video for track in tracks]
    many_videos = len(set(videos)) > 1
    place = str(PurePosixPath(file).parent) if folder is None else folder
    entries = []
    for index, track in enumerate(tracks):
        stem = PurePosixPath(track.video).stem or PurePosixPath(file).stem
        alone = videos.count(track.video) == 1
        name = stem if alone else f"{stem}-{track.number}"
        guesses = [*track.look, track.video]
        guesses += [] if many_videos else [PurePosixPath(file).stem]
        told = (wrong, index == 0)
        load = partial(_load, store, file, track, name, source, told, (place, guesses), origin)
        entries.append(Entry(name, load))
    if not entries:
        raise DataError(wrong[0] if wrong else f"{store.where(file)} holds no box of any object")
    return entries


def _load(
    store: FrameStore,
    file: str,
    track: Track,
    name: str,
    source: str,
    told: tuple[list[str], bool],
    look: tuple[str, list[str]],
    origin: int,
    findings: Findings,
) -> AnnotatedSequence:
    wrong, is_first = told
    # Who collects all that is wrong hears once of what may be wrong with any.
    for sentence in [*track.wrong, *(wrong if is_first or findings.strict else [])]:
        findings.refuse(sentence)
    last = max(track.rows)
    where = f"{store.where(file)}, object {track.number}"
    frames = find_frames(store, *look, last + 1, track.pictures)
    if last >= len(frames):
        findings.refuse(f"{where}: frame {last} is labelled, but there are {len(frames)} frames")
    truth = np.full((len(frames), 4), np.nan)
    absent = np.zeros(len(frames), bool)
    for frame, row in track.rows.items():
        if frame < len(frames):
            if row is None:
                absent[frame] = True
            else:
                truth[frame] = row
    return annotate(
        name,
        frames,
        truth,
        findings,
        source=source,
        where=where,
        origin=origin,
        absent=absent,
        by_line=False,
        lines=track.lines,
        category=track.category,
    )


def find_frames(
    store: FrameStore,
    folder: str,
    guesses: list[str],
    count: int,
    pictures: list[str] | None = None,
) -> Frames:
    """The frames of a video that an export names.

    Args:
        store: Where to look.
        folder: Where the export lies.
        guesses: What the video may be called, with or without its suffix.
        count: How many frames are wanted of a clip.
        pictures: Names of all frames, where the export lists them.

    Raises:
        DataError: they are not there; it says where they were looked for.
    """
    base = "" if folder in ("", ".") else f"{folder}/"
    if pictures:
        for inner in ("", "images/", "frames/", "JPEGImages/", "train/", "val/"):
            if store.has(f"{base}{inner}{pictures[0]}"):
                return Frames(store, [f"{base}{inner}{name}" for name in pictures])
    tried = []
    guesses = [guess for guess in dict.fromkeys(guesses) if guess]
    for guess in guesses:
        stem = guess[: -len(suffix_of(guess))] if suffix_of(guess) in CLIP_SUFFIXES else guess
        names = [guess] if stem != guess else [f"{guess}{end}" for end in _CLIPS]
        for name in [*names, *(PurePosixPath(name).name for name in names)]:
            if store.has(f"{base}{name}"):
                return Frames.of_clip(store.clip(f"{base}{name}"), count)
        tried += [names[0], *(f"{stem}{inner}" for inner in ("", "/img", "/img1", "/images"))]
    tried += ["images", "img1", "img", "frames"]
    for name in tried:
        found = store.pictures(f"{base}{name}")
        if found:
            return Frames(store, found)
    places = ", ".join(dict.fromkeys(f"{base}{name}" for name in tried))
    raise DataError(f"{store.where(base)} has no frames of {guesses[0]!r}; looked for {places}")
