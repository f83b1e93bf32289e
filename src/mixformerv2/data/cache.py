"""Training data behind an address: fetched once, kept on this machine, read from there.

```python
local_copy("s3://bucket/bank.zip")          # PosixPath(".cache/.../bank.zip")
local_copies("s3://bucket/got10k-*.zip")    # one path for each shard
```

Copies lie under `MIXFORMERV2_CACHE`, or where caches lie on this system. One that its source has
changed is fetched anew. Several processes of one machine fetch a file once.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, OutputError
from ..video.address import (
    download,
    file_system,
    is_remote,
    local_name,
    patiently,
    public_address,
)

_ROOM = "MIXFORMERV2_CACHE"
_SIGNS = ("ETag", "etag", "Last-Modified", "LastModified", "mtime", "updated", "created", "size")
"""What file systems say of a file that changes when it does."""

__all__ = ["cache_folder", "local_copies", "local_copy"]


def cache_folder() -> Path:
    """Where copies lie."""
    base = os.environ.get(_ROOM)
    if base:
        return Path(base) / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixformerv2" / "data"


def local_copy(place: str | Path) -> Path:
    """A path to read a place by: itself, or its copy.

    Raises:
        DataError: it names several files, or a folder at an address.
        SourceError: it cannot be fetched, after three tries.
        ConfigError: what its address needs is not installed.
    """
    found = local_copies(place)
    if len(found) != 1:
        raise DataError(f"{place} names {len(found)} files; one is wanted here")
    return found[0]


def local_copies(place: str | Path) -> list[Path]:
    """Paths to read all files by that a place names; `*`, `?` and `[...]` stand for many.

    Raises:
        DataError: no file is named so, or it is a folder at an address.
        SourceError: one cannot be fetched, after three tries.
        ConfigError: what its address needs is not installed.
    """
    name = str(place)
    if not is_remote(name):
        path = Path(local_name(name))
        if path.exists() or not glob.has_magic(str(path)):
            return [path]
        return [Path(one) for one in _some(sorted(glob.glob(str(path))), name)]
    system, inside = file_system(name)
    names = [inside]
    if glob.has_magic(inside):
        names = _some(patiently(lambda: sorted(system.glob(inside)), public_address(name)), name)
    return [_fetched(system, one) for one in names]


def _some(names: list[str], place: str) -> list[str]:
    if not names:
        raise DataError(f"no file is named {public_address(place)}")
    return names


def _fetched(system: Any, inside: str) -> Path:
    try:
        from filelock import FileLock
    except ImportError as error:
        raise ConfigError("copies of data are kept with filelock: pip install filelock") from error
    address = system.unstrip_protocol(inside)
    shown = public_address(address)
    known = patiently(lambda: system.info(inside), shown)
    if known.get("type") == "directory":
        raise DataError(
            f"{shown} is a folder; pack it into one file, which is fetched at once: "
            "mixformerv2 data pack, or pack-bank"
        )
    # fsspec has caches of its own, but takes whatever is behind http for unchanging.
    version = [address, *(str(known.get(sign)) for sign in _SIGNS)]
    # Names of files are kept, for readers go by their endings; so each has a folder.
    folder = cache_folder() / _digest(address)
    copy = folder / _digest(*version) / inside.rstrip("/").rpartition("/")[2]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: copies of data cannot be kept there: {error.strerror}; "
            f"set {_ROOM} to a folder that can be written"
        ) from error
    with FileLock(folder / ".lock"):
        if not copy.exists():
            for old in folder.iterdir():
                shutil.rmtree(old, ignore_errors=True)
            copy.parent.mkdir()
            half_done = copy.with_name(f"{copy.name}.part")
            patiently(lambda: download(system, inside, str(half_done), _ROOM), shown)
            half_done.rename(copy)
    return copy


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:24]
