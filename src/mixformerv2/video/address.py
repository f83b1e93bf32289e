"""Videos, manifests, training data by path, `http://`, `s3://` and all that fsspec knows."""

from __future__ import annotations

import logging
import os
import posixpath
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError, MixFormerError, OutputError, SourceError
from .readers import public_address

__all__ = [
    "download",
    "fetched",
    "file_system",
    "folder_of",
    "is_remote",
    "patiently",
    "resolve",
    "within",
]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_STREAMS = {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "mms", "mmsh"}
_PIECE = 4 << 20
_TRIES = 3
_ADDRESS = "://"


def is_remote(place: str) -> bool:
    """Whether a place has to be fetched before it can be opened."""
    scheme = _scheme(place)
    return scheme not in {"", "file"} and scheme not in _STREAMS


def resolve(place: str, base: str) -> str:
    """A place as the manifest names it, made whole: relative ones are beside the manifest.

    Example:
        >>> resolve("a/clip.mp4", "s3://bucket/list.csv")
        's3://bucket/a/clip.mp4'
    """
    return within(folder_of(base), place)


def folder_of(base: str) -> str:
    """The folder of a manifest, or its address: where its relative places are."""
    if _scheme(base) not in {"", "file"}:
        return base.rpartition("/")[0]
    return str(Path(_path(base) if _ADDRESS in base else base).resolve().parent)


def within(folder: str, place: str) -> str:
    """A place made whole: itself, or the one of this name in a folder or below an address."""
    if scheme := _scheme(place):
        return _path(place) if scheme == "file" else place
    if _scheme(folder):
        return posixpath.join(folder, place)
    # As a shell does, `~name` stays what it is where nobody has that name.
    return os.path.normpath(os.path.join(folder, os.path.expanduser(place)))


def _path(place: str) -> str:
    return unquote(urlsplit(place).path)


@contextmanager
def fetched(place: str) -> Iterator[str]:
    """A name that `open_source` can open: the place itself, or a copy that goes away afterwards.

    Raises:
        SourceError: It cannot be fetched, after three tries.
        OutputError: The temporary folder is full.
    """
    if not is_remote(place):
        yield place
        return
    suffix = Path(urlsplit(place).path).suffix[:16]
    try:
        handle, copy = tempfile.mkstemp(prefix="mixformerv2-", suffix=suffix)
    except OSError as error:
        raise _no_room(tempfile.gettempdir(), error) from error
    os.close(handle)
    try:
        patiently(lambda: download(*file_system(place), copy), public_address(place))
        yield copy
    finally:
        Path(copy).unlink(missing_ok=True)


def _scheme(place: str) -> str:
    return place.partition(_ADDRESS)[0].lower() if _ADDRESS in place else ""


def patiently(fetch: Callable[[], T], name: str) -> T:
    """What `fetch` answers. Networks have bad moments: three tries, a second and two apart.

    Raises:
        SourceError: it failed three times, or nothing is there.
    """
    for tried in range(1, _TRIES + 1):
        try:
            return fetch()
        except MixFormerError:
            raise
        except FileNotFoundError as error:
            raise SourceError(f"{name} is not there; check the address") from error
        except Exception as error:  # each file system of fsspec has errors of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            if tried == _TRIES:
                raise SourceError(f"{name} cannot be fetched ({_TRIES} tries): {reason}") from error
            logger.info("%s: try %d failed: %s", name, tried, reason)
            time.sleep(tried)
    raise AssertionError("unreachable")


def download(system: Any, path: str, copy: str, room: str = "TMPDIR") -> None:
    """Copy a file of one of fsspec's file systems to this machine.

    Raises:
        OutputError: the disk is full; it names `room` as the variable that moves the copy.
    """
    with system.open(path, "rb") as source, open(copy, "wb", buffering=0) as target:
        while piece := source.read(_PIECE):
            rest = memoryview(piece)
            try:
                while rest:  # a disk that is nearly full takes a part
                    rest = rest[target.write(rest) :]
            except OSError as error:  # a full disk is no fault of the address
                raise _no_room(copy, error, room) from error


def _no_room(where: str, error: OSError, room: str = "TMPDIR") -> OutputError:
    return OutputError(
        f"{where}: the copy cannot be written: {error.strerror}; "
        f"make room, or set {room} to a folder with more"
    )


def file_system(place: str) -> tuple[Any, str]:
    """fsspec's file system of an address, and the path in it.

    Raises:
        ConfigError: fsspec, or what it needs for this address, is not installed.
    """
    name = public_address(place)
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(f"{name} is fetched with fsspec: pip install fsspec aiohttp") from error
    try:
        system, path = fsspec.core.url_to_fs(place)
    except ImportError as error:
        raise ConfigError(f"{name} cannot be fetched yet: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    return system, str(path)
