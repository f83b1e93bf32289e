"""`mixformerv2 track`: a video in; an annotated video and boxes out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, DataError, OutputError
from .chosen import Labels, LongTerm, SelectPort, Sets, Sound, Thin, WithoutLost, chosen_settings
from .terminal import progress, sentences

if TYPE_CHECKING:
    from ..box import Box
    from ..video.source import Source
    from .follow import Outputs, Summary

__all__ = [
    "EPILOG",
    "drawn_boxes",
    "follow_with_progress",
    "plan_outputs",
    "refuse_overwriting",
    "run",
]

EPILOG = (
    "Exit codes: 0 done, 1 unexpected, 2 wrong option, 3 box, 4 source, 5 output, 6 model, "
    "7 engine, 130 Ctrl-C and 143 SIGTERM (what was tracked so far is on disk)."
)

_SUFFIX = "_tracked"
_LONGEST_STEM = 220  # bytes, of a name that is made


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Video file, folder or glob of pictures, camera number, RTSP or HTTP address.",
        ),
    ],
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            "-b",
            metavar="X,Y,W,H",
            help="Box on the first frame: pixels of its top left corner, width, height; or a file "
            "with that. Once for each object.",
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            "-p",
            metavar="FRAME:X,Y,W,H",
            help="Box of one object on any frame, in place of --box; several times for several "
            "frames of the same object. Runs go both ways from each and are blended.",
        ),
    ] = None,
    reverse: Annotated[
        bool | None,
        typer.Option(
            "--reverse/--no-reverse",
            help="With --prompt: run backward as well as forward, which is the default.",
        ),
    ] = None,
    select: Annotated[
        bool, typer.Option("--select", help="Draw the box on the first frame, in the browser.")
    ] = False,
    port: SelectPort = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Shipped model, or a bundle folder.")
    ] = "t",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.mp4", help="Annotated video."),
    ] = None,
    boxes: Annotated[
        list[Path] | None,
        typer.Option(
            "--boxes",
            metavar="FILE",
            help="Boxes; the format goes by the suffix: .jsonl, .csv, .mot or .txt, .json (COCO), "
            ".xml (CVAT), .labelstudio.json; - is stdout. May be given several times.",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="jsonl, csv, mot, coco, cvat or labelstudio, against the suffix."
        ),
    ] = None,
    without_lost: WithoutLost = False,
    label: Labels = None,
    thin: Thin = 0.0,
    sound: Sound = True,
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="auto, onnx, openvino or torch.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of the engine.")
    ] = None,
    long_term: LongTerm = False,
    sets: Sets = None,
    start_frame: Annotated[
        int, typer.Option("--start-frame", min=0, help="Frame that the boxes are given on.")
    ] = 0,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", min=1, help="Stop after so many frames.")
    ] = None,
    reconnect: Annotated[
        float,
        typer.Option(
            "--reconnect",
            min=0,
            metavar="SECONDS",
            help="Streams: how long to try again when one drops; 0 ends the run.",
        ),
    ] = 300.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Follow one object, or several, through a video.

    Without --out and --boxes, NAME_tracked.mp4 and NAME_tracked.jsonl are written here. With
    --boxes alone no video is made. Every run leaves a journal (.jsonl), written as it goes, from
    which `mixformerv2 formats` makes all other formats, also after a crash.
    """
    from ..video.address import local_name
    from ..video.formats.journal import check_labels
    from ..video.formats.streams import is_stream
    from ..video.source import open_source
    from ..weights.bundle import find_bundle
    from .boxes import parse_boxes
    from .ending import finish
    from .follow import prove_outputs
    from .prompted import follow_prompted, read_prompts

    source = local_name(source)
    if not box and not select and not prompt:
        raise ConfigError("say what to follow: --box X,Y,W,H, or --select to draw it")
    if reverse and not prompt:
        raise ConfigError(
            "--reverse goes with --prompt; to track backward from frame N, give the box there: "
            "--prompt N:X,Y,W,H"
        )
    if port is not None and not select:
        raise ConfigError("--port is that of the page of --select; leave it out, or add --select")
    settings = chosen_settings(sets, long_term=long_term)
    if prompt:
        if box or select or start_frame or max_frames:
            raise ConfigError(
                "--prompt names its frames itself and goes with the whole source; leave out "
                "--box, --select, --start-frame and --max-frames"
            )
        if is_stream(source):
            raise ConfigError(f"{source} is a pipe or device and cannot be read twice; use --box")
        with sentences(quiet=quiet):
            given_later = read_prompts(prompt)
            with open_source(source) as frames:
                outputs = plan_outputs(frames.name, out, boxes or [], format_)
                labels = check_labels(label or (), 1)
            outputs = replace(outputs, without_lost=without_lost, thin=thin, labels=labels)
            refuse_overwriting(source, [], outputs)
            summary = follow_prompted(
                source,
                given_later,
                outputs,
                model=model,
                engine=engine,
                threads=threads,
                settings=settings,
                reverse=reverse is not False,
                quiet=quiet,
            )
            finish(source, frames.name, model, summary, outputs, sound=sound, quiet=quiet)
        return
    with sentences(quiet=quiet):
        given = parse_boxes(box or ())
        with open_source(source, start=start_frame, reconnect=reconnect) as frames:
            outputs = plan_outputs(frames.name, out, boxes or [], format_)
            outputs = replace(outputs, without_lost=without_lost, thin=thin)
            refuse_overwriting(source, box or [], outputs)
            if select:
                find_bundle(model)  # before somebody draws in vain
                check_labels(label or (), len(label or ()))
                prove_outputs(outputs, frames.size)
                given += drawn_boxes(frames, port)
            outputs = replace(outputs, labels=check_labels(label or (), len(given)))
            summary = follow_with_progress(
                frames,
                given,
                outputs,
                model=model,
                engine=engine,
                threads=threads,
                settings=settings,
                limit=max_frames,
                quiet=quiet,
            )
        finish(source, frames.name, model, summary, outputs, sound=sound, quiet=quiet)


def follow_with_progress(
    source: Source,
    boxes: list[Box],
    outputs: Outputs,
    *,
    model: str,
    engine: str,
    threads: int | None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    quiet: bool,
) -> Summary:
    """Load the model and follow the boxes, with a progress bar."""
    from ..tracking import MultiTracker
    from .follow import follow

    follower = MultiTracker(model, engine, threads, settings=settings)
    count = None if source.count is None else max(0, source.count - source.first)
    total = limit if count is None else min(count, limit or count)
    with progress(source.name, total, quiet=quiet) as watch:
        return follow(source, boxes, follower, outputs, model=model, limit=limit, watch=watch)


def plan_outputs(name: str, video: Path | None, boxes: list[Path], form: str | None) -> Outputs:
    """Decide on all files of a run; nothing is opened yet.

    Raises:
        ConfigError: A suffix or format that stands for nothing, or one file for two things.
        OutputError: A folder that is not there, or a file that nobody named and would be lost.
    """
    from ..video.formats import FORMATS, find_format
    from ..video.formats.streams import is_stream
    from ..video.writer import VIDEO_SUFFIXES
    from .follow import Outputs

    base = _safe_stem(name) + _SUFFIX
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


def drawn_boxes(source: Source, port: int | None) -> list[Box]:
    """Boxes that the user draws on the first frame, in the browser."""
    from ..serve.select import select_boxes

    return select_boxes(source.peek(), title=source.name, port=port or 0)
