"""What every store of frames is, and the one whose frames are those of a video.

`data.store` opens them; here is what they share. A store opens its file anew in each process and
can be pickled, so that loader processes may share it.
"""

from __future__ import annotations

import lzma
import os
import tempfile
import weakref
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MixFormerError

if TYPE_CHECKING:
    from ..video.source import Source

__all__ = [
    "FrameStore",
    "VideoStore",
    "decode_picture",
    "is_hidden",
    "natural_order",
    "suffix_of",
]

Image = NDArray[np.uint8]

# RuntimeError: an entry that is encrypted, or packed in a way that Python cannot unpack.
_DAMAGED = (
    KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError
)  # fmt: skip
_OPEN_CLIPS = 8
"""Decoders that a process keeps open: each has a thread and some megabytes of frames."""
_open_clips: OrderedDict[int, weakref.ref[VideoStore]] = OrderedDict()
_open_owner = -1


def natural_order(names: list[str]) -> list[str]:
    """Names sorted so that 2 comes before 10."""
    from ..video.readers import natural_key

    return sorted(names, key=lambda name: (natural_key(Path(name)), name))


class FrameStore(ABC):
    """Files by name.

    Attributes:
        place: The folder or file on disk.
    """

    def __init__(self, place: str | Path) -> None:
        self.place = Path(place)
        self._handle: Any = None
        self._owner = -1
        self._temporary: dict[str, VideoStore] = {}

    @abstractmethod
    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in a folder, whole and in natural order; none if it is missing."""

    @abstractmethod
    def files(self, folder: str = "") -> list[str]:
        """Names of the files in a folder, whole and in natural order; none if it is missing."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    @abstractmethod
    def _bytes(self, name: str) -> bytes:
        """A file's content; KeyError or OSError where there is none."""

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            DataError: there is no such file, or it cannot be read.
        """
        try:
            return self._bytes(name)
        except _DAMAGED as error:
            reason = getattr(error, "strerror", None) or "it is missing or damaged"
            raise DataError(f"{self.where(name)} cannot be read: {reason}") from error

    def text(self, name: str) -> str:
        """A text file's content.

        Raises:
            DataError: there is no such file, or it is not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.where(name)} is not text in UTF-8: {error}") from error

    def frame(self, name: str) -> Image:
        """A picture as `[H, W, 3]` BGR.

        Raises:
            DataError: there is no such picture, or it is damaged.
        """
        import cv2

        image = decode_picture(self.read(name), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(
                f"picture {self.where(name)} cannot be read; it is damaged or of an unknown kind"
            )
        return np.asarray(image, np.uint8)

    def pictures(self, folder: str) -> list[str]:
        """Names of the pictures in a folder, in natural order."""
        from ..video.readers import PICTURE_SUFFIXES

        return [name for name in self.files(folder) if suffix_of(name) in PICTURE_SUFFIXES]

    def clip(self, name: str) -> VideoStore:
        """A video file of this store. One inside a packed file is unpacked for as long as it lives.

        Raises:
            DataError: there is no such file.
        """
        if name not in self._temporary:
            handle, path = tempfile.mkstemp(suffix=suffix_of(name))
            with os.fdopen(handle, "wb") as file:
                file.write(self.read(name))
            store = VideoStore(path, shown=self.where(name))
            weakref.finalize(store, Path(path).unlink, missing_ok=True)
            self._temporary[name] = store
        return self._temporary[name]

    def where(self, name: str = "") -> str:
        """How messages call a file of this store."""
        return f"{self.place}:{name}" if name else str(self.place)

    def walk(self, folder: str = "") -> Iterator[str]:
        """Names of all files below a folder."""
        yield from self.files(folder)
        for inner in self.folders(folder):
            yield from self.walk(inner)

    def _own(self) -> Any:
        """The open file of this process: neither zip nor LMDB may be shared over a fork."""
        if self._owner != os.getpid():
            self._handle, self._owner = self._open(), os.getpid()
        return self._handle

    def _open(self) -> Any:
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_owner": -1, "_temporary": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.place)!r})"


def decode_picture(data: bytes, flags: int) -> NDArray[Any] | None:
    """A picture file's pixels as OpenCV reads them; None where it is damaged or too large."""
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # a header that promises more pixels than it takes
        return None


def suffix_of(name: str) -> str:
    """The end of a name, in small letters: `.jpg`."""
    return PurePosixPath(name).suffix.lower()


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the data set's, by its name."""
    return PurePosixPath(name).name.startswith((".", "__MACOSX"))


class VideoStore(FrameStore):
    """A video whose frames are the names `0`, `1`, ...

    Frames are decoded in order: one after the other is fast, jumping back starts again. A frame
    that cannot be decoded repeats the last good one, so that numbers stay those of the labels.
    """

    def __init__(self, place: str | Path, *, shown: str | None = None) -> None:
        super().__init__(place)
        self._shown = shown or str(place)
        self._next = 0
        self._last: Image | None = None
        self._source: Source | None = None

    def folders(self, folder: str = "") -> list[str]:
        return []

    def files(self, folder: str = "") -> list[str]:
        return [] if folder else [str(number) for number in range(self.count)]

    @cached_property
    def count(self) -> int:
        """How many frames the header promises."""
        from ..video.source import open_source

        with self._failing(), open_source(self.place, read_ahead=1) as source:
            return source.count or 0

    def has(self, name: str) -> bool:
        return name.isdecimal() and int(name) < self.count

    def _bytes(self, name: str) -> bytes:
        import cv2

        return bytes(cv2.imencode(".png", self.frame(name))[1])

    def frame(self, name: str) -> Image:
        """A frame by its number.

        Raises:
            DataError: the video cannot be read.
            EOFError: it ends before; the argument is how many frames it has.
        """
        number = int(name)
        if self._owner != os.getpid() or number < self._next - 1:
            self._rewind()
        elif id(self) in _open_clips:
            _open_clips.move_to_end(id(self))
        with self._failing():
            while self._next <= number or self._last is None:
                frame = next(self._handle, None)
                if frame is None:
                    raise EOFError(self._next)
                self._next = frame.index + 1
                self._last = self._last if frame.image is None else frame.image
        return self._last

    def _rewind(self) -> None:
        self.close()
        self._handle, self._owner = self._open(), os.getpid()

    def close(self) -> None:
        """Let the decoder go; the next frame opens it anew."""
        if self._source is not None and self._owner == os.getpid():
            self._source.close()
        self._handle, self._owner, self._source = None, -1, None
        self._next, self._last = 0, None

    def _open(self) -> Any:
        from ..video.source import open_source

        with self._failing():
            self._source = open_source(self.place, read_ahead=2)
            _keep_few_open(self)
            return iter(self._source)

    def _failing(self) -> _Renamed:
        return _Renamed(self._shown)

    def where(self, name: str = "") -> str:
        return f"{self._shown}, frame {name}" if name else self._shown

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_next": 0, "_last": None, "_source": None}


def _keep_few_open(store: VideoStore) -> None:
    """Note that a decoder is in use, and let the one go that was for longest not."""
    global _open_owner
    if _open_owner != os.getpid():  # what the process before a fork has open is not ours
        _open_clips.clear()
        _open_owner = os.getpid()
    _open_clips[id(store)] = weakref.ref(store)
    _open_clips.move_to_end(id(store))
    while len(_open_clips) > _OPEN_CLIPS:
        _, oldest = _open_clips.popitem(last=False)
        found = oldest()
        if found is not None:
            found.close()


class _Renamed:
    """Turns errors of the video half into those of a data set."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MixFormerError) and not isinstance(error, DataError):
            raise DataError(f"clip {self._shown} cannot be read: {error}") from error
