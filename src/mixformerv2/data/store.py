"""Frames and label files by name, from a folder, a zip, an LMDB or a video, behind one interface.

```python
store = open_store("GOT-10k.zip")                 # or a folder, GOT-10k.lmdb, clip.mp4
store.folders("train"), store.files("train/GOT-10k_Train_000001")
image = store.frame("train/GOT-10k_Train_000001/00000001.jpg")     # uint8 [H, W, 3], BGR
```

Names are paths below the root with `/` between the parts.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .frames import (
    FrameStore,
    VideoStore,
    decode_picture,
    is_hidden,
    natural_order,
    suffix_of,
)
from .packed import LmdbStore, ZipStore

__all__ = [
    "CLIP_SUFFIXES",
    "FolderStore",
    "FrameStore",
    "VideoStore",
    "decode_picture",
    "is_hidden",
    "natural_order",
    "open_store",
    "suffix_of",
]

CLIP_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})


def open_store(place: str | Path) -> FrameStore:
    """Open a folder, `.zip`, `.lmdb` (one file, or a folder with `data.mdb`) or a video.

    Raises:
        DataError: it is missing or none of these.
    """
    path = Path(place)
    if path.is_dir():
        return LmdbStore(path) if (path / "data.mdb").is_file() else FolderStore(path)
    if not path.is_file():
        raise DataError(f"{path} is not there; give a folder, .zip, .lmdb or video")
    suffix = path.suffix.lower()
    if suffix in CLIP_SUFFIXES:
        return VideoStore(path)
    if suffix in {".lmdb", ".mdb"}:
        return LmdbStore(path)
    if zipfile.is_zipfile(path):
        return ZipStore(path)
    raise DataError(
        f"{path} is no data set that can be opened; give a folder, .zip, .lmdb or video"
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: what is wrong is said where it is read
        return False


class FolderStore(FrameStore):
    """A folder of the file system."""

    def folders(self, folder: str = "") -> list[str]:
        return natural_order(list(self._entries(folder, directories=True)))

    def files(self, folder: str = "") -> list[str]:
        return natural_order(list(self._entries(folder, directories=False)))

    def _entries(self, folder: str, *, directories: bool) -> Iterator[str]:
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(self.place / folder) as entries:
                for entry in entries:
                    if _is_folder(entry) == directories and not is_hidden(entry.name):
                        yield prefix + entry.name
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise DataError(f"{self.where(folder)} cannot be read: {error.strerror}") from error

    def walk(self, folder: str = "") -> Iterator[str]:
        yield from self._walk(folder, frozenset())

    def _walk(self, folder: str, above: frozenset[str]) -> Iterator[str]:
        real = os.path.realpath(self.place / folder)
        if real in above:  # a link that leads back: it holds nothing that was not given already
            return
        yield from self.files(folder)
        for inner in self.folders(folder):
            yield from self._walk(inner, above | {real})

    def has(self, name: str) -> bool:
        return (self.place / name).is_file()

    def _bytes(self, name: str) -> bytes:
        return (self.place / name).read_bytes()

    def clip(self, name: str) -> VideoStore:
        return VideoStore(self.place / name)

    def where(self, name: str = "") -> str:
        return str(self.place / name)
