"""Archives for the servers of TrackingNet and GOT-10k, and a check of their format.

Both servers say little when an archive is not as they want it; most of what people ask their
authors about is format (an extra folder, rows parted by spaces, a sequence left out). So each
archive is checked, and an archive that another program made can be.

| server | members | rows |
|---|---|---|
| TrackingNet | `NAME.txt`, 511 | x,y,w,h |
| GOT-10k | `NAME/NAME_001.txt`, 180, and `NAME/NAME_time.txt` | x,y,w,h; seconds |
"""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, OutputError
from .benchmarks import Sequence
from .catalog import read_benchmark
from .results import load_run

__all__ = ["SERVERS", "Server", "check_archive", "find_server", "make_archive"]

# So that equal results give equal archives.
_DATE = (1980, 1, 1, 0, 0, 0)
_SHOWN = 5


@dataclass(frozen=True)
class Server:
    """What a server wants.

    Attributes:
        name: By which it is asked for.
        title: Its name.
        benchmark: A name of `catalog.BENCHMARKS`.
        member: The file of a sequence's boxes.
        times: The file of its times, or None.
        pattern: Of the path of a file of boxes; its first group is the sequence.
        count: How many sequences it wants.
        address: Where archives go.
    """

    name: str
    title: str
    benchmark: str
    member: str
    times: str | None
    pattern: re.Pattern[str]
    count: int
    address: str


SERVERS = {
    one.name: one
    for one in (
        Server(
            "trackingnet",
            "TrackingNet",
            "trackingnet",
            "{0}.txt",
            None,
            re.compile(r"([^/]+)\.txt"),
            511,
            "the page of TrackingNet's challenge",
        ),
        Server(
            "got10k",
            "GOT-10k",
            "got10k_test",
            "{0}/{0}_001.txt",
            "{0}/{0}_time.txt",
            re.compile(r"(?:[^/]+/)?([^/]+)/\1_00[1-3]\.txt"),
            180,
            "the page of GOT-10k, under Submit",
        ),
    )
}


def find_server(name: str) -> Server:
    """A server by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in SERVERS:
        raise ConfigError(f"there is no server {name!r}; choose from {', '.join(SERVERS)}")
    return SERVERS[name]


def make_archive(server: Server, results: Path, root: Path, out: Path) -> int:
    """Pack a folder of results and check the archive; how many sequences are in it.

    A box that is not finite is written as the one before it: a server refuses `nan`. The test set
    may be a part of the server's, which the caller can tell by the number.

    Args:
        server: Whose.
        results: A folder of `mixformerv2 eval --out`, or of another program.
        root: The benchmark's test set, for the names and lengths of its sequences.
        out: The archive, `.zip`.

    Raises:
        DataError: results are missing or of another length, or the archive would be refused.
        OutputError: it cannot be written.
    """
    sequences = read_benchmark(server.benchmark, root).sequences
    files: dict[str, str] = {}
    for sequence in sequences:
        run = load_run(results, sequence)
        name, shift = sequence.name, np.array([sequence.origin, sequence.origin, 0, 0])
        files[server.member.format(name)] = _rows(_finite(run.boxes) + shift)
        if server.times is not None:
            seconds = np.nan_to_num(run.seconds)
            files[server.times.format(name)] = "".join(f"{value:.8f}\n" for value in seconds)
    part = out.with_name(
        f"{out.name}.part"
    )  # an archive that is there stays until this one is good
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, text in sorted(files.items()):
                archive.writestr(zipfile.ZipInfo(member, _DATE), text, zipfile.ZIP_DEFLATED)
        wrong = check_archive(server, part, sequences, part=True)
        if wrong:
            raise DataError(f"{out} would be refused: {'; '.join(wrong[:_SHOWN])}")
        os.replace(part, out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return len(sequences)


def check_archive(
    server: Server,
    archive: Path,
    sequences: Iterable[Sequence] | None = None,
    *,
    part: bool = False,
) -> list[str]:
    """What a server would not like, a sentence each; empty where all is well.

    Args:
        server: Whose.
        archive: The `.zip`.
        sequences: The test set: names, lengths and given boxes are checked against it.
        part: It may hold fewer sequences than the server wants.

    Raises:
        DataError: there is no such file.
    """
    if not archive.is_file():
        raise DataError(f"archive {archive} is not there")
    try:
        with zipfile.ZipFile(archive) as opened:
            damaged = opened.testzip()
            if damaged is not None:
                return [f"{damaged} is damaged"]
            names = [one for one in opened.namelist() if not one.endswith("/")]
            known = None if sequences is None else {one.name: one for one in sequences}
            return list(_check(server, names, opened.read, known, part=part))
    except zipfile.BadZipFile:
        return [f"{archive.name} is no zip archive"]
    except RuntimeError as error:  # a password, or a compression that few can undo
        return [f"{archive.name} cannot be unpacked: {error}"]
    except Exception as error:  # each way to pack has errors of its own, bad names and places too
        return [f"{archive.name} is damaged: {error}"]


def _check(
    server: Server,
    names: list[str],
    read: Callable[[str], bytes],
    known: dict[str, Sequence] | None,
    *,
    part: bool,
) -> Iterator[str]:
    boxes, strays = _sorted_out(server, names)
    times = set() if server.times is None else {name for name in names if "_time." in name}
    strays = [name for name in strays if name not in times]
    if strays:
        example = server.member.format("NAME")
        yield f"{_some(strays)} should not be there; results are {example}"
    counts = Counter(name for name, _ in boxes)
    members = Counter(names)
    twice = [name for name, count in members.items() if count > 1]
    twice += [name for name, count in counts.items() if count > (3 if server.times else 1)]
    if twice:
        yield f"{_some(twice)} is there more than once"
    missing = [] if known is None else sorted(set(known) - set(counts))
    if missing:
        yield f"{len(missing)} sequences are missing: {_some(missing)}"
    unknown = [] if known is None else sorted(set(counts) - set(known))
    if unknown:
        yield f"{_some(unknown)} is no sequence of the test set"
    if len(counts) != server.count and not (part or missing or unknown):
        yield f"it holds {len(counts)} sequences, {server.title} has {server.count}"
    for name, member in boxes:
        sequence = None if known is None else known.get(name)
        wrong, rows = _check_rows(read(member), sequence)
        if wrong:
            yield f"{member}: {wrong}"
        elif server.times is not None:
            yield from _check_times(server, name, member, times, read, rows)


def _sorted_out(server: Server, names: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Sequence and member of each file of boxes; and the other members."""
    boxes, strays = [], []
    for name in names:
        found = server.pattern.fullmatch(name)
        if found and not name.startswith("__MACOSX"):
            boxes.append((found[1], name))
        else:
            strays.append(name)
    return boxes, strays


def _check_rows(content: bytes, sequence: Sequence | None) -> tuple[str, int]:
    """What is wrong with a file of boxes, or nothing; and how many rows it has."""
    if content.startswith(b"\xef\xbb\xbf"):
        return "begins with a byte order mark; save it as plain text", 0
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        return "holds more than digits and commas", 0
    rows = []
    for number, line in enumerate(lines, 1):
        parts = line.split(",")
        if len(parts) != 4:
            return f"line {number}: {line[:40]!r} is not four numbers parted by commas", 0
        try:
            row = [float(part.replace("_", "x")) for part in parts]  # which Python alone reads
        except ValueError:
            return f"line {number}: {line[:40]!r} is not four numbers", 0
        if not np.isfinite(row).all() or min(row[2:]) < 0:
            return f"line {number}: {line[:40]!r} is no box", 0
        rows.append(row)
    if not rows:
        return "is empty", 0
    if sequence is None:
        return "", len(rows)
    if len(rows) != len(sequence):
        return f"has {len(rows)} rows, but the sequence has {len(sequence)} frames", len(rows)
    given = np.array(sequence.truth[0]) + np.array([sequence.origin, sequence.origin, 0, 0])
    if np.abs(np.array(rows[0]) - given).max() > 1:
        return f"line 1: {lines[0]} is not the given box {_rows(given[None]).strip()}", len(rows)
    return "", len(rows)


def _check_times(
    server: Server,
    name: str,
    member: str,
    times: set[str],
    read: Callable[[str], bytes],
    rows: int,
) -> Iterator[str]:
    folder = member.rpartition("/")[0].rpartition("/")[0]
    file = f"{folder}/{server.times}".lstrip("/").format(name)
    if file not in times:
        yield f"{file} is missing: {server.title} wants the seconds of each frame"
        return
    try:
        values = [float(line.split(b",")[0]) for line in read(file).splitlines()]
    except ValueError:
        yield f"{file} is no column of seconds"
        return
    if len(values) != rows or not np.isfinite(values).all() or min(values) < 0:
        yield f"{file} has {len(values)} values for {rows} frames, or one that is no time"


def _finite(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row that is not finite becomes the one before it."""
    out = boxes.copy()
    for row in np.flatnonzero(~np.isfinite(out).all(axis=1)):
        out[row] = out[row - 1] if row else 0.0
    out[:, 2:] = np.maximum(out[:, 2:], 0.0)
    return out


def _rows(boxes: NDArray[np.float64]) -> str:
    return "".join(",".join(f"{value:.4f}" for value in row) + "\n" for row in boxes)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
