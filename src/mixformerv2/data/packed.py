"""Stores that are one file: zip and LMDB."""

from __future__ import annotations

import weakref
import zipfile
from abc import abstractmethod
from functools import cached_property
from typing import Any

from ..errors import DataError, EngineError
from .frames import FrameStore, is_hidden, natural_order

__all__ = ["LmdbStore", "ZipStore", "import_lmdb"]


class _PackedStore(FrameStore):
    """A file that holds files; its list of names is read once."""

    @abstractmethod
    def _names(self) -> list[str]:
        """All names in the file."""

    @cached_property
    def _tree(self) -> dict[str, tuple[set[str], list[str]]]:
        """For each folder its folders and files."""
        tree: dict[str, tuple[set[str], list[str]]] = {"": (set(), [])}
        for name in self._names():
            if name.endswith("/") or any(is_hidden(part) for part in name.split("/")):
                continue
            folder = name.rpartition("/")[0]
            if folder not in tree:
                tree[folder] = (set(), [])
                inner = folder
                while inner:
                    outer = inner.rpartition("/")[0]
                    tree.setdefault(outer, (set(), []))[0].add(inner)
                    inner = outer
            tree[folder][1].append(name)
        return tree

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(name for _, files in self._tree.values() for name in files)

    def folders(self, folder: str = "") -> list[str]:
        return natural_order(list(self._tree.get(folder, (set(), []))[0]))

    def files(self, folder: str = "") -> list[str]:
        return natural_order(self._tree.get(folder, (set(), []))[1])

    def has(self, name: str) -> bool:
        return name in self._all


class ZipStore(_PackedStore):
    """A zip file; one that stores its pictures without compression reads as fast as a folder."""

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.place)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.place} is no zip file that can be read: {error}") from error

    def _names(self) -> list[str]:
        return list(self._entries)

    def _bytes(self, name: str) -> bytes:
        return bytes(self._own().read(self._entries[name]))

    @cached_property
    def _entries(self) -> dict[str, str]:
        """For each name the entry that holds it: of two of one name the later one, as unpacked.

        Some programs begin all entries with `./`, and some of Windows part them by backslashes.
        """
        entries = {}
        for entry in self._own().namelist():
            name = entry.replace("\\", "/")
            while name.startswith("./"):
                name = name[2:]
            entries[name] = entry
        return entries


_LMDBS: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


class LmdbStore(_PackedStore):
    """An LMDB whose keys are names and whose values are the files' bytes."""

    def _open(self) -> Any:
        place = str(self.place.resolve())
        # LMDB refuses to open a file twice in a process, and counts a forked one as the same. To
        # read from the one of the parent is allowed.
        base = _LMDBS.get(place)
        if base is None:
            base = _LMDBS[place] = self._open_first(place)
        return base

    def _open_first(self, place: str) -> Any:
        lmdb = import_lmdb()
        try:
            return lmdb.open(
                place,
                subdir=self.place.is_dir(),
                readonly=True,
                lock=False,  # nobody writes, and a set may lie where nobody may
                readahead=False,  # samples are picked at random
                max_spare_txns=4,
            )
        except (OSError, lmdb.Error) as error:
            raise DataError(f"{self.place} is no LMDB that can be read: {error}") from error

    def _names(self) -> list[str]:
        lmdb = import_lmdb()
        try:
            with self._own().begin() as view:
                keys = [bytes(key) for key in view.cursor().iternext(values=False)]
        except lmdb.Error as error:
            raise DataError(f"{self.place} is damaged: {error}") from error
        # Keys of others, such as numbers, are no names of files; they are only shown.
        return [key.decode(errors="backslashreplace") for key in keys]

    def _bytes(self, name: str) -> bytes:
        lmdb = import_lmdb()
        try:
            with self._own().begin() as view:
                value = view.get(name.encode())
        except lmdb.Error as error:
            raise OSError(str(error)) from error
        if value is None:
            raise KeyError(name)
        return bytes(value)


def import_lmdb() -> Any:
    """The package `lmdb`.

    Raises:
        EngineError: it is not installed.
    """
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise EngineError(
            "an LMDB needs the package lmdb, which is not installed; run "
            "`pip install 'mixformerv2[train]'`, or pack to .zip"
        ) from error
    return lmdb
