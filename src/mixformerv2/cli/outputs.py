"""Which files a run of `track` writes, by what was said and what was not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, DataError, OutputError

if TYPE_CHECKING:
    from .follow import Outputs

__all__ = ["plan_outputs", "refuse_overwriting"]

_LONGEST_STEM = 220  # bytes, of a name that is made


def plan_outputs(
    name: str,
    video: Path | None,
    boxes: list[Path],
    form: str | None,
    *,
    ending: str = "tracked",
) -> Outputs:
    """Decide on all files of a run; nothing is opened yet.

    Args:
        name: Of the source.
        video: Where the annotated video goes, if somebody has said.
        boxes: Files of boxes.
        form: Their format, against the suffix.
        ending: Of names that nobody has said: `NAME_tracked.mp4`.

    Raises:
        ConfigError: A suffix or format that stands for nothing, or one file for two things.
        OutputError: A folder that is not there, or a file that nobody named and would be lost.
    """
    from ..video.formats import FORMATS, find_format
    from ..video.formats.streams import is_stream
    from ..video.writer import VIDEO_SUFFIXES
    from .follow import Outputs

    base = f"{_safe_stem(name)}_{ending}"
    implied: list[Path] = []  # names that are not the user's
    if video is None and not boxes:
        implied.append(video := Path(f"{base}.mp4"))
    if video is not None and os.path.isdir(video):  # `Path` raises where a name is too long
        implied.append(video := video / f"{base}.mp4")
    if video is not None and video.suffix.lower() not in VIDEO_SUFFIXES:
        way_out = "rename it" if video.suffix else "name one, or make that folder first"
        raise ConfigError(f"--out {video}: videos are written as .mp4, .m4v or .mov; {way_out}")
    if form is not None and not boxes and video is not None:
        boxes = [video.with_name(video.stem + FORMATS[find_format("", form)].suffixes[0])]
    exports = [(path, find_format(path, form)) for path in boxes]
    journal = _named_journal(exports)
    if journal is None:
        files = [path for path in boxes if not is_stream(path)]
        implied.append(journal := _beside(files[0] if files else video or Path(f"{base}.mp4")))
    exports = [(path, kind) for path, kind in exports if path != journal]
    _check_places([journal, *(path for path, _ in exports), *([video] if video else [])])
    if journal in implied:
        _refuse_foreign(journal)
    return Outputs(journal, video, tuple(exports), tuple(filter(os.path.exists, implied)))


def _named_journal(exports: list[tuple[Path, str]]) -> Path | None:
    """The journal among the files of boxes; None where there is none."""
    from ..video.formats.streams import is_stream

    # A stream is written once: as the journal, line by line, if nothing has to be made of that.
    lines = [path for path, kind in exports if kind == "jsonl"]
    return next((path for path in lines if len(exports) == 1 or not is_stream(path)), None)


def _check_places(paths: list[Path]) -> None:
    from ..video.formats.streams import is_stream

    for path in (one for one in paths if not is_stream(one)):
        if not os.path.isdir(path.parent):
            raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
        if os.path.isdir(path):
            raise OutputError(f"{path} is a folder; give the name of a file in it")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("two outputs have the same name; give each a file of its own")


def _refuse_foreign(path: Path) -> None:
    """A journal whose name nobody gave replaces nothing but a journal."""
    from ..video.formats.journal import Journal

    if not os.path.exists(path) or not path.stat().st_size:
        return
    try:
        Journal(path)
    except DataError as error:
        raise OutputError(
            f"{path} would be replaced by the journal of this run, and is none; move it, or give "
            "the journal another name: --boxes NAME.jsonl"
        ) from error


def _beside(path: Path) -> Path:
    """The journal that belongs to another output."""
    from ..video.formats import FORMATS

    ends = sorted((end for entry in FORMATS.values() for end in entry.suffixes), key=len)
    known = [end for end in ends if path.name.lower().endswith(end)]
    stem = path.name[: -len(known[-1])] if known else path.stem
    return path.with_name(f"{stem or path.name}.jsonl")


def _safe_stem(name: str) -> str:
    """A file's name made of a source's: of an address, what can stand in a file name."""
    stem = Path(name.rstrip("/")).stem if "://" in name else Path(name).stem
    clean = "".join(c if c.isalnum() or c in "-_. " else "_" for c in stem)
    # A name may have 255 bytes: what comes behind, and a format's suffix, need some of them.
    short = clean.encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore")
    return short.strip(" .") or "video"


def refuse_overwriting(source: str, boxes: list[str], outputs: Outputs) -> None:
    """The video that is being read must not be written to, nor a file of boxes."""
    paths = [outputs.journal, outputs.video, *(path for path, _ in outputs.exports)]
    for path in paths:
        for given in (source, *boxes):
            if path is not None and _same(path, given):
                raise OutputError(f"{path} is the input itself; give the output another name")


def _same(path: Path, other: str) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False
