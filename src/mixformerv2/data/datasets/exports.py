"""Exports of label tools: COCO-video JSON, CVAT for video XML, MOT text and CSV.

All frames count from 0 here; MOT files count them from 1. The frames lie beside the export: a clip
of the name that it gives, a folder of that name, or `images/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any
from xml.parsers import expat

from ...errors import DataError
from ...video.formats.cvat import UNTRACKED
from ..store import FrameStore, suffix_of
from .base import Entry, Layout
from .coco import read_json
from .text import Row, read_ini, read_table
from .tracks import Track, to_entries

__all__ = ["COCOVID", "CSV", "CVAT", "MOT", "READERS"]

Tracks = dict[tuple[str, str], Track]
_CSV_NAMES = {"video", "sequence", "clip", "name"}
_MOST_FRAMES = 10_000_000
"""Days of video: a larger number of a frame is none, but a time or a mistake."""


def _row(values: Iterable[Any]) -> Row:
    x, y, w, h = (float(value) for value in values)
    return x, y, w, h


def read_csv(store: FrameStore, file: str) -> list[Entry]:
    """`frame,x,y,w,h` with a header line, and, where given, video, id, label and state."""
    bad: list[tuple[tuple[str, str], str]] = []
    tracks: Tracks = {}
    fields, lines = read_table(store, file)
    missing = {"frame", "x", "y", "w", "h"} - set(fields)
    if missing:
        raise DataError(
            f"{store.where(file)}, line 1: its header lacks {', '.join(sorted(missing))}; it must "
            "name frame, x, y, w, h and may name video, id, label, state"
        )
    column = next((name for name in fields if name in _CSV_NAMES), "")
    for number, line in lines:
        key = ((line.get(column) or "").strip(), (line.get("id") or "1").strip())
        try:
            frame, row = _frame(line["frame"]), _row([line[name] for name in ("x", "y", "w", "h")])
        except (TypeError, ValueError, OverflowError):
            sentence = (
                f"{store.where(file)}, line {number}: no frame from 0 and four numbers in "
                f"{list(line.values())}"
            )
            bad.append((key, sentence))
            continue
        track = tracks.setdefault(key, Track(*key))
        track.category = line.get("label") or line.get("class") or track.category
        found = None if line.get("state") == "lost" else row
        track.put(frame, found, f"{store.where(file)}, line {number}", number)
    return to_entries(store, file, list(tracks.values()), "csv", _told(tracks, bad))


def _told(tracks: Tracks, bad: Iterable[tuple[tuple[str, str], str]]) -> list[str]:
    """Give what was wrong to the track that it is of; what is of none that is known is left."""
    left = []
    for key, sentence in bad:
        if key in tracks:
            tracks[key].wrong.append(sentence)
        else:
            left.append(sentence)
    return left


def _frame(text: Any, origin: int = 0) -> int:
    number = float(text)
    if number != int(number) or not origin <= number <= _MOST_FRAMES:
        raise ValueError(text)
    return int(number) - origin


def read_mot(store: FrameStore, file: str) -> list[Entry]:
    """`frame,id,x,y,w,h,confidence,class,visibility`; a confidence of 0 says: do not count.

    MOTChallenge counts pixels from 1. CVAT writes them from 0, and a `labels.txt` beside.
    """
    bad: list[tuple[tuple[str, str], str]] = []
    tracks: Tracks = {}
    challenge = PurePosixPath(file).parent.name == "gt"  # VIDEO/gt/gt.txt and VIDEO/img1
    folder = str(PurePosixPath(file).parent.parent) if challenge else None
    video = ""
    look: tuple[str, ...] = ()
    if challenge:
        video = PurePosixPath(str(folder)).name or store.place.resolve().stem
        look = (read_ini(store, f"{folder}/seqinfo.ini".removeprefix("./")).get("imdir", "img1"),)
    labels = str(PurePosixPath(file).with_name("labels.txt"))
    classes = store.text(labels).splitlines() if store.has(labels) else []
    for number, line in enumerate(store.text(file).splitlines(), 1):
        parts = line.strip().split(",")
        if parts == [""]:
            continue
        key = (video, parts[1].strip() if len(parts) > 1 else "")
        try:
            frame, row = _frame(parts[0], 1), _row(parts[2:6])
            counts = len(parts) < 7 or float(parts[6]) != 0
            kind = int(float(parts[7])) if len(parts) > 7 else 0
        except (ValueError, IndexError, OverflowError):
            sentence = (
                f"{store.where(file)}, line {number}: {line.strip()[:60]!r} is not frame (from 1), "
                "id, x, y, w, h"
            )
            bad.append((key, sentence))
            continue
        if counts:
            track = tracks.setdefault(key, Track(*key, look=look))
            track.put(frame, row, f"{store.where(file)}, line {number}", number)
            if 0 < kind <= len(classes):
                track.category = classes[kind - 1].strip()
    origin = 0 if classes else 1
    wrong, found = _told(tracks, bad), list(tracks.values())
    return to_entries(store, file, found, "mot", wrong, origin=origin, folder=folder)


def read_cvat(store: FrameStore, file: str) -> list[Entry]:
    """CVAT for video 1.1: a `<track>` an object, a `<box>` a frame; `outside` is absent.

    Between two key frames without boxes of their own the box goes straight, as in CVAT. Frames
    that our own export calls untracked are not labelled.
    """
    reader = _Cvat(store.where(file))
    reader.parse(store.read(file))
    for track, ends in zip(reader.tracks, reader.ends, strict=True):
        _fill(track, ends)
    for track in reader.tracks:
        track.video = PurePosixPath(reader.source.replace("\\", "/")).name
    return to_entries(store, file, reader.tracks, "cvat", [])


class _Cvat:
    """Collects tracks while the file goes by, so that messages can name lines."""

    def __init__(self, where: str) -> None:
        self.tracks: list[Track] = []
        self.ends: list[set[int]] = []  # of each track: boxes that only say that it ends
        self.source = ""
        self._where = where
        self._path: list[str] = []
        self._is_end = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.CommentHandler = self._comment
        self._parser.EntityDeclHandler = self._entity
        self._parser.buffer_text = True

    def parse(self, data: bytes) -> None:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise DataError(f"{self._where}, line {error.lineno}: it is no XML: {error}") from error
        except LookupError as error:
            raise DataError(f"{self._where} cannot be read: {error}; save it as UTF-8") from error

    def _entity(self, *_: object) -> None:
        raise DataError(f"{self._where} defines entities; a label file needs none")

    def _start(self, name: str, values: dict[str, str]) -> None:
        self._path.append(name)
        if name == "track":
            self.tracks.append(
                Track("", values.get("id", str(len(self.tracks))), category=values.get("label"))
            )
            self.ends.append(set())
        elif name == "box" and "track" in self._path:
            try:
                frame = _frame(values["frame"])
                x1, y1, x2, y2 = (float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
            except (KeyError, ValueError, OverflowError):
                self.tracks[-1].wrong.append(
                    f"{self._where}, line {self._parser.CurrentLineNumber}: a box needs frame, "
                    "xtl, ytl, xbr, ybr as numbers"
                )
                return
            outside = values.get("outside") == "1"
            self.tracks[-1].lines[frame] = self._parser.CurrentLineNumber
            self.tracks[-1].rows[frame] = None if outside else (x1, y1, x2 - x1, y2 - y1)
            if self._is_end and outside:
                self.ends[-1].add(frame)
            else:
                self.ends[-1].discard(frame)
            self._is_end = False

    def _end(self, name: str) -> None:
        self._path.pop()

    def _comment(self, text: str) -> None:
        self._is_end = text.strip() == UNTRACKED

    def _text(self, text: str) -> None:
        if self._path[-1:] == ["source"] and "meta" in self._path:
            self.source += text


def _fill(track: Track, ends: set[int]) -> None:
    keys = sorted(track.rows)
    for first, last in pairwise(keys):
        before, after = track.rows[first], track.rows[last]
        if first in ends:
            continue
        for frame in range(first + 1, last):
            if before is None or after is None:
                track.rows[frame] = before
            else:
                share = (frame - first) / (last - first)
                x, y, w, h = (a + share * (b - a) for a, b in zip(before, after, strict=True))
                track.rows[frame] = (x, y, w, h)
    for frame in ends:
        del track.rows[frame]


def read_cocovid(store: FrameStore, file: str) -> list[Entry]:
    """COCO with `videos` (CocoVID): images know video and frame, annotations their object."""
    content = read_json(store, file)
    tracks: Tracks = {}
    bad: list[tuple[tuple[str, str], str]] = []
    pictures: dict[Any, dict[int, str]] = {}
    try:
        videos = {one["id"]: one for one in content["videos"]}
        images = {one["id"]: one for one in content["images"]}
        classes = {one["id"]: one["name"] for one in content.get("categories", ())}
        notes = list(content["annotations"])
        for image in images.values():
            listed = pictures.setdefault(image.get("video_id"), {})
            listed[_number(image)] = image.get("file_name", "")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{store.where(file)} is no COCO-video file: it needs videos, images and annotations "
            f"with ids ({error!r})"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{store.where(file)}: each image needs its number in the video as frame_id, from 0, "
            f"got {error}"
        ) from error
    for place, note in enumerate(notes):
        name = number = ""
        try:
            image = images[note["image_id"]]
            video = videos[image["video_id"]]
            number = str(note.get("track_id", note.get("instance_id", 1)))
            name = video.get("file_name") or video.get("name") or str(video["id"])
            row = _row(note["bbox"])
        except (KeyError, TypeError, ValueError) as error:
            known = note.get("id", place) if isinstance(note, dict) else place
            bad.append(((name, number), f"{store.where(file)}: annotation {known}: {error!r}"))
            continue
        listed = pictures[image["video_id"]]
        track = tracks.setdefault((name, number), Track(name, number))
        track.category = classes.get(note.get("category_id"), track.category)
        track.look = (str(video.get("name", "")),)
        if sorted(listed) == list(range(len(listed))):
            track.pictures = [listed[frame] for frame in range(len(listed))]
        found = None if note.get("state") == "lost" else row
        where = f"{store.where(file)}: annotation {note.get('id', place)}"
        track.put(_number(image), found, where)
    return to_entries(store, file, list(tracks.values()), "cocovid", _told(tracks, bad))


def _number(image: dict[str, Any]) -> int:
    """Which frame of its video an image is.

    Raises:
        ValueError: it does not say, or says something else than a number; this is what it says.
    """
    names = ("frame_id", "frame_index", "frame")
    said = next((image[name] for name in names if name in image), None)
    try:
        return _frame(said)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(repr(said)) from None


READERS: dict[str, Callable[[FrameStore, str], list[Entry]]] = {
    ".csv": read_csv,
    ".xml": read_cvat,
    ".json": read_cocovid,
    ".mot": read_mot,
    ".txt": read_mot,
}
"""By the end of a file's name."""


def _files(store: FrameStore, suffix: str) -> list[str]:
    """Exports at the root, and in `annotations/` where label tools put them."""
    places = [*store.files(), *store.files("annotations")]
    if suffix == ".json":
        return [name for name in places if suffix_of(name) == suffix and _is_cocovid(store, name)]
    return [name for name in places if suffix_of(name) == suffix]


def _is_cocovid(store: FrameStore, name: str) -> bool:
    try:
        content = read_json(store, name)
    except DataError:
        return False
    return isinstance(content, dict) and {"videos", "images", "annotations"} <= content.keys()


def _mot_files(store: FrameStore) -> list[str]:
    roots = ["", *store.folders(), *(i for o in store.folders() for i in store.folders(o))]
    found = [f"{root}/gt/gt.txt".lstrip("/") for root in roots]
    return [name for name in found if store.has(name)] + _files(store, ".mot")


def _entries(
    find: Callable[[FrameStore], list[str]], read: Callable[[FrameStore, str], list[Entry]]
) -> Callable[[FrameStore, str | None], list[Entry]]:
    return lambda store, split: [entry for file in find(store) for entry in read(store, file)]


def _layout(
    name: str, title: str, form: str, origin: str, find: Callable[[FrameStore], list[str]]
) -> Layout:
    read = {"cocovid": read_cocovid, "cvat": read_cvat, "mot": read_mot, "csv": read_csv}[name]
    return Layout(name, title, form, origin, (), lambda s: bool(find(s)), _entries(find, read))


COCOVID = _layout(
    "cocovid",
    "COCO-video JSON",
    "ANY.json with videos, images, annotations; beside it the pictures it names, or the clip",
    "0, not rounded",
    lambda store: _files(store, ".json"),
)
CVAT = _layout(
    "cvat",
    "CVAT for video 1.1",
    "ANY.xml; beside it the clip it names, or images/frame_000000.PNG",
    "0, not rounded: corners as CVAT has them",
    lambda store: [n for n in _files(store, ".xml") if b"<annotations" in store.read(n)[:4096]],
)
MOT = _layout(
    "mot",
    "MOTChallenge text",
    "VIDEO/gt/gt.txt and VIDEO/img1/000001.jpg, or NAME.mot and NAME.mp4",
    "1; 0 with CVAT's labels.txt beside; frames from 1",
    _mot_files,
)
CSV = _layout(
    "csv",
    "CSV",
    "ANY.csv with frame, x, y, w, h (video, id, label); beside it the clip or folder it names",
    "0",
    lambda store: [n for n in _files(store, ".csv") if _has_header(store, n)],
)


def _has_header(store: FrameStore, name: str) -> bool:
    first = store.text(name).lower().partition("\n")[0].partition("\r")[0]
    return {"frame", "x", "y", "w", "h"} <= {part.strip() for part in first.split(",")}
