"""Videos, manifests, training data by path, `http://`, `s3://` and all that fsspec knows."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from ..errors import ConfigError, MixFormerError, OutputError, SourceError

__all__ = [
    "STREAMS",
    "download",
    "fetched",
    "file_system",
    "folder_of",
    "is_remote",
    "local_name",
    "path_of",
    "patiently",
    "public_address",
    "resolve",
    "scheme_of",
    "within",
    "without_secrets",
]

T = TypeVar("T")

logger = logging.getLogger(__name__)

STREAMS = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "mms", "mmsh"})
"""Schemes of what has no end and is no file to fetch."""

_PIECE = 4 << 20
_TRIES = 3
_ADDRESS = "://"
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]@]*)(:\d*)?")  # with a port, without a user
_IN_TEXT = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>]+")
_HIDDEN = "***"
_SHORT = re.compile(r"\d{1,3}")  # the channel of a camera, and no secret


def public_address(address: str) -> str:
    """An address without what may be secret, fit for messages and journals.

    User name and password are cut off, also where `/`, `?` or `#` stand in them unquoted; of the
    query all values but numbers of up to three digits are hidden, and so is the fragment. What is
    no address comes back as it is.

    Example:
        >>> public_address("https://me:secret@host/clip.mp4?channel=2&token=abc")
        'https://host/clip.mp4?channel=2&token=***'
    """
    scheme, mark, rest = address.partition(_ADDRESS)
    if not mark:
        return address
    place, sharp, fragment = _without_user(rest, scheme.lower()).partition("#")
    place, asked, query = place.partition("?")
    shown = "&".join(_without_value(part) for part in query.split("&"))
    return f"{scheme}{mark}{place}{asked}{shown}{sharp}{_HIDDEN if fragment else ''}"


def _without_user(rest: str, scheme: str) -> str:
    """An address behind its scheme, from the host on."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    _, at, host = authority.rpartition("@")
    path = re.split(r"[?#]", tail, maxsplit=1)[0]
    # An `@` further on belongs to the path (http://host/@me/a.mp4), or to a password that holds a
    # slash or such: that it does, is better believed once too often.
    if not _HOST.fullmatch(host) or tail[:1] in ("?", "#"):
        return rest.rpartition("@")[2]
    if "@" in path and (at or scheme in STREAMS):
        return rest[len(authority) + path.rindex("@") + 1 :]
    return host + tail


def _without_value(part: str) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return _HIDDEN if part else ""
    return f"{name}={value if _SHORT.fullmatch(value) or not value else _HIDDEN}"


def without_secrets(text: str) -> str:
    """A text, such as another library's error, with all addresses in it made public."""
    return _IN_TEXT.sub(lambda found: public_address(found[0]), text)


def is_remote(place: str) -> bool:
    """Whether a place has to be fetched before it can be opened."""
    scheme = scheme_of(place)
    return scheme not in {"", "file"} and scheme not in STREAMS


def local_name(place: str) -> str:
    """The path that a `file://` address stands for; any other place as it is."""
    return _path(place) if scheme_of(place) == "file" else place


def resolve(place: str, base: str) -> str:
    """A place as the manifest names it, made whole: relative ones are beside the manifest.

    Example:
        >>> resolve("a/clip.mp4", "s3://bucket/list.csv")
        's3://bucket/a/clip.mp4'
    """
    return within(folder_of(base), place)


def folder_of(base: str) -> str:
    """The folder of a manifest, or its address: where its relative places are."""
    if scheme_of(base) not in {"", "file"}:
        return base.rpartition("/")[0]
    return str(Path(_path(base) if _ADDRESS in base else base).resolve().parent)


def within(folder: str, place: str) -> str:
    """A place made whole: itself, or the one of this name in a folder or below an address."""
    if scheme := scheme_of(place):
        return _path(place) if scheme == "file" else place
    if scheme_of(folder):
        return posixpath.join(folder, place)
    # As a shell does, `~name` stays what it is where nobody has that name.
    return os.path.normpath(os.path.join(folder, os.path.expanduser(place)))


def _path(place: str) -> str:
    """The path of a `file://` address."""
    rest = place.partition(_ADDRESS)[2]
    return unquote(re.split(r"[?#]", rest[rest.find("/") :])[0]) if "/" in rest else ""


def path_of(place: str) -> str:
    """A place without query and fragment, for its suffix."""
    return re.split(r"[?#]", place)[0] if _ADDRESS in place else place


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
    suffix = Path(path_of(place)).suffix[:16]
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


def scheme_of(place: str) -> str:
    """The scheme of an address in small letters; empty for what is none."""
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
            reason = without_secrets(" ".join(str(error).split()))[:200] or type(error).__name__
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
        raise ConfigError(f"{name}: {without_secrets(str(error))}") from error
    return system, str(path)
