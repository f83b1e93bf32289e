"""Results in other formats, each made from a journal.

| name | suffix | for |
|---|---|---|
| `jsonl` | `.jsonl` | the journal itself |
| `csv` | `.csv` | spreadsheets, pandas |
| `mot` | `.mot`, `.txt` | MOTChallenge tools; everything counts from 1 |
| `coco` | `.json` | COCO-video (CocoVID), MMTracking and kin |
| `cvat` | `.xml` | CVAT for video 1.1 |
| `labelstudio` | `.labelstudio.json` | Label Studio, video object tracking |
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from ...errors import ConfigError, OutputError
from .streams import is_stream, open_text

if TYPE_CHECKING:
    from .journal import Journal

__all__ = ["FORMATS", "Format", "export", "find_format", "prove"]


_SHOWN = 40  # letters, of up to four bytes each, in the name of an unfinished file


class Format(NamedTuple):
    """A format of results.

    Attributes:
        module: Module of this package whose `dump(journal, file)` writes it.
        suffixes: Ends of file names that stand for it; the first is the usual one.
        line: What it is, for lists.
        plain: Whether its readers take each row for a target in view, lost or not. The other
            formats keep lost rows in any case: the journal has all; CVAT and Label Studio hide the
            box there, and would fill the gap that a missing row leaves.
    """

    module: str
    suffixes: tuple[str, ...]
    line: str
    plain: bool = False


FORMATS: dict[str, Format] = {
    "jsonl": Format("jsonl", (".jsonl", ".ndjson"), "the journal itself, a JSON object a line"),
    "csv": Format("csv", (".csv",), "frame, time, id, x, y, w, h, score, state", plain=True),
    "mot": Format(
        "mot", (".mot", ".txt"), "MOTChallenge text, frames and pixels from 1", plain=True
    ),
    "coco": Format("coco", (".json",), "COCO-video (CocoVID) JSON", plain=True),
    "cvat": Format("cvat", (".xml",), "CVAT for video 1.1 XML"),
    "labelstudio": Format(
        "labelstudio", (".labelstudio.json",), "Label Studio video rectangles, as predictions"
    ),
}


def find_format(path: str | Path, name: str | None = None) -> str:
    """Name of the format: the one asked for, else by the end of the file's name.

    Raises:
        ConfigError: There is no such format, or the suffix stands for none.

    Example:
        >>> find_format("out/boxes.xml")
        'cvat'
    """
    if name is not None:
        if name.lower() not in FORMATS:
            raise ConfigError(f"there is no format {name!r}; choose from {', '.join(FORMATS)}")
        return name.lower()
    ends = [(end, form) for form, entry in FORMATS.items() for end in entry.suffixes]
    for end, form in sorted(ends, key=lambda pair: -len(pair[0])):
        if str(path).lower().endswith(end):
            return form
    raise ConfigError(
        f"{path}: this suffix stands for no format; use one of "
        f"{', '.join(end for end, _ in ends)} or say --format {'|'.join(FORMATS)}"
    )


def export(
    journal: Journal,
    path: str | Path,
    name: str | None = None,
    *,
    without_lost: bool = False,
    thin: float = 0.0,
) -> None:
    """Write a journal in another format. The file appears whole or not at all.

    Args:
        journal: Where the results come from.
        path: Where to; `-` is standard output.
        name: The format; by the suffix of `path` where it is None.
        without_lost: Leave out rows in which the target is lost, in the formats that are `plain`.
        thin: In the others, leave out boxes that are within so many pixels of a line between
            those that stay.

    Raises:
        ConfigError: No such format, or less than no pixels.
        DataError: The journal is damaged.
        OutputError: The file cannot be written.
        BrokenPipeError: Nobody reads the pipe any more.
    """
    form = FORMATS[find_format(path, name)]
    if without_lost and form.plain:
        journal = journal.without_lost()
    if thin:
        journal = journal.thinned(thin)
    module = import_module(f".{form.module}", __name__)
    dump: Callable[[Journal, TextIO], None] = module.dump
    try:
        _write_whole(Path(path), lambda file: dump(journal, file))
    except BrokenPipeError:  # whoever reads has enough, as `head` has; that is no error of ours
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def prove(path: str | Path) -> None:
    """Find out that `export` can write a file, before there is anything to write.

    Raises:
        OutputError: It cannot.
    """
    try:
        if not is_stream(path):
            with suppress(FileNotFoundError):
                os.lstat(path)  # refuses a name that is too long
            handle, part = _part(Path(path).resolve())
            os.close(handle)
            os.unlink(part)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _part(target: Path) -> tuple[int, str]:
    """A file beside the target, so that the last step is a rename and cannot stop half-way."""
    # Of a long name the beginning: with more letters it would be longer than a name may be.
    return tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:_SHOWN]}.")


def _write_whole(path: Path, write: Callable[[TextIO], None]) -> None:
    if is_stream(path):  # a pipe or device must not be replaced by a file
        with open_text(path) as file:
            write(file)
        return
    target = path.resolve()  # a link stays a link
    handle, part = _part(target)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write(file)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
