"""The folder of one job: a random name, a fixed list of files, no way out of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import ConfigError, MixFormerError, OutputError

__all__ = ["JobFolder", "disk_trouble", "new_id", "open_root"]

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_FILE = re.compile(r"[a-z][a-z0-9-]{0,60}(\.part)?\.[a-z0-9]{2,6}|upload")


def new_id() -> str:
    """A name that nobody guesses."""
    return secrets.token_urlsafe(16)


def disk_trouble(error: BaseException) -> str | None:
    """What to tell whose file could not be written; None where it is no fault of the disk.

    The server's folders are nobody's business: the sentence names none.
    """
    cause = error.__cause__ if isinstance(error, OutputError) else error
    ours = isinstance(cause, MixFormerError)  # some of these are an OSError too
    if ours or not isinstance(cause, OSError):
        return None
    full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = "is full; delete a job" if full else f"takes no files ({cause.strerror or cause})"
    return f"the disk of the server {reason}"


def open_root(place: Path) -> IO[str]:
    """Make the folder of all jobs, for this user alone, and lock it for this server.

    Returns:
        The lock; it holds until it is closed.

    Raises:
        OutputError: the folder cannot be made.
        ConfigError: another server has it.
    """
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (place / "lock").open("a")  # what a file of that name holds, stays
    except OSError as error:
        raise OutputError(f"{place} cannot be used for jobs: {error.strerror}") from error
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        pass
    except OSError as error:
        lock.close()
        raise ConfigError(
            f"another server keeps its jobs in {place}; give this one a --folder of its own"
        ) from error
    return lock


class JobFolder:
    """One job's files. Names from outside never reach the file system.

    Args:
        root: Folder of all jobs.
        name: The job's id.

    Raises:
        ConfigError: no id, which nobody should be able to ask for.
    """

    def __init__(self, root: Path, name: str) -> None:
        if not _ID.fullmatch(name):
            raise ConfigError(f"{name!r} is no job")
        self.name = name
        self.path = root / name

    @classmethod
    def all_in(cls, root: Path) -> Iterator[JobFolder]:
        """Every job of a server, a link in place of a folder left out."""
        for entry in os.scandir(root):
            if _ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield cls(root, entry.name)

    def make(self) -> None:
        self.path.mkdir(mode=0o700)

    def file(self, name: str) -> Path:
        """Where a file of the job is; it need not be there."""
        if not _FILE.fullmatch(name):
            raise ConfigError(f"{name!r} is no file of a job")
        return self.path / name

    def open(self, name: str) -> IO[bytes] | None:
        """A file to read; None where there is none, or something else such as a link."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            handle = os.open(self.file(name), flags)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return None
        return os.fdopen(handle, "rb")

    def create(self, name: str) -> IO[bytes]:
        """A new file to write; one that is there already is no place to write to."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        return os.fdopen(os.open(self.file(name), flags, 0o600), "wb")

    def read(self, name: str) -> bytes | None:
        """All of a file; None where there is none."""
        file = self.open(name)
        if file is None:
            return None
        with file:
            return file.read()

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A file's content; None where there is none that can be read."""
        data = self.read(name)
        try:
            content = json.loads(data) if data else None
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a file whole or not at all."""
        part = self.file(name).with_suffix(".part.json")
        part.write_text(json.dumps(content), "utf-8")
        os.replace(part, self.file(name))

    def size(self) -> int:
        """Bytes of all files; those that go meanwhile count as nothing."""
        total = 0
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.path):
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
        return total

    def used(self) -> float:
        """When somebody last had to do with the job: seconds since the epoch."""
        try:
            return self.file("job.json").stat(follow_symlinks=False).st_mtime
        except OSError:
            return 0.0

    def touch(self) -> None:
        """Note that somebody has to do with the job."""
        try:
            if time.time() - self.used() > 60:
                os.utime(self.file("job.json"), follow_symlinks=False)
        except (OSError, NotImplementedError):
            pass

    def remove(self) -> None:
        """Delete the job's files. A link is deleted, never what it points to."""
        shutil.rmtree(self.path, ignore_errors=True)
