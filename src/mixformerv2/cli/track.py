"""`mixformerv2 track`: a video in; an annotated video and boxes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .chosen import (
    Labels,
    LongTerm,
    SelectPort,
    Sets,
    Sound,
    Thin,
    TrackerChoice,
    WithoutLost,
    chosen_settings,
)
from .terminal import progress, say, sentences

if TYPE_CHECKING:
    from ..box import Box
    from ..video.source import Source
    from .follow import Outputs, Summary

__all__ = ["EPILOG", "drawn_boxes", "follow_with_progress", "run"]

EPILOG = (
    "Exit codes: 0 done, 1 unexpected, 2 wrong option, 3 box, 4 source, 5 output, 6 model, "
    "7 engine, 130 Ctrl-C and 143 SIGTERM (what was tracked so far is on disk)."
)


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
    corrected: Annotated[
        Path | None,
        typer.Option(
            "--corrected",
            metavar="FILE",
            help="In place of --box: boxes of all objects as a label tool has exported them "
            "(CVAT's .xml or .zip, Label Studio's or COCO-video's .json, CSV, MOT). Tracked as "
            "with --prompt.",
        ),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(
            "--before",
            metavar="JOURNAL",
            help="With --corrected: the run that was corrected. What somebody has changed is "
            "tracked anew, the rest stays; without it each box of a key frame holds.",
        ),
    ] = None,
    reverse: Annotated[
        bool | None,
        typer.Option(
            "--reverse/--no-reverse",
            help="With --prompt and --corrected: run backward as well as forward, the default.",
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
    from .corrected import follow_corrected, labels_of, read_changes, told
    from .ending import finish
    from .follow import prove_outputs
    from .outputs import plan_outputs, refuse_overwriting
    from .prompted import follow_prompted, read_prompts

    source = local_name(source)
    twice = bool(prompt or corrected)
    if not box and not select and not twice:
        raise ConfigError("say what to follow: --box X,Y,W,H, or --select to draw it")
    if reverse and not twice:
        raise ConfigError(
            "--reverse goes with --prompt; to track backward from frame N, give the box there: "
            "--prompt N:X,Y,W,H"
        )
    if before is not None and corrected is None:
        raise ConfigError("--before goes with --corrected FILE, which says what has changed since")
    if port is not None and not select:
        raise ConfigError("--port is that of the page of --select; leave it out, or add --select")
    settings = chosen_settings(sets, long_term=long_term)
    choice = TrackerChoice(model, engine, threads, settings)
    both = reverse is not False
    if twice:
        if box or select or start_frame or max_frames or (prompt and corrected):
            raise ConfigError(
                f"--{'prompt' if prompt else 'corrected'} names its frames itself and goes with "
                "the whole source; leave out --box, --select, --start-frame and --max-frames"
                + (", and one of --prompt and --corrected" if prompt and corrected else "")
            )
        if is_stream(source):
            raise ConfigError(f"{source} is a pipe or device and cannot be read twice; use --box")

    def planned(name: str) -> Outputs:
        ending = "corrected" if corrected else "tracked"
        outputs = plan_outputs(name, out, boxes or [], format_, ending=ending)
        inputs = [*(box or ()), *(str(path) for path in (corrected, before) if path)]
        refuse_overwriting(source, inputs, outputs)
        return replace(outputs, without_lost=without_lost, thin=thin)

    with sentences(quiet=quiet):
        if prompt:
            given_later = read_prompts(prompt)
            with open_source(source) as frames:
                outputs = replace(planned(frames.name), labels=check_labels(label or (), 1))
            summary = follow_prompted(
                source, given_later, outputs, choice, reverse=both, quiet=quiet
            )
        elif corrected:
            with open_source(source) as frames:
                outputs = planned(frames.name)
                changes, journal = read_changes(corrected, before, frames.size)
            names = check_labels(
                label or labels_of(changes, journal), max(one.id for one in changes)
            )
            outputs = replace(outputs, labels=names)
            for line in () if quiet else told(changes, journal):
                say(line, aside=outputs.to_stdout)
            summary = follow_corrected(
                source, changes, journal, outputs, choice, reverse=both, quiet=quiet
            )
        else:
            given = parse_boxes(box or ())
            with open_source(source, start=start_frame, reconnect=reconnect) as frames:
                outputs = planned(frames.name)
                if select:
                    find_bundle(model)  # before somebody draws in vain
                    check_labels(label or (), len(label or ()))
                    prove_outputs(outputs, frames.size)
                    given += drawn_boxes(frames, port)
                outputs = replace(outputs, labels=check_labels(label or (), len(given)))
                summary = follow_with_progress(
                    frames, given, outputs, choice, limit=max_frames, quiet=quiet
                )
        finish(source, frames.name, model, summary, outputs, sound=sound, quiet=quiet)


def follow_with_progress(
    source: Source,
    boxes: list[Box],
    outputs: Outputs,
    choice: TrackerChoice,
    *,
    limit: int | None = None,
    quiet: bool,
) -> Summary:
    """Load the model and follow the boxes, with a progress bar."""
    from .follow import follow

    follower = choice.many()
    count = None if source.count is None else max(0, source.count - source.first)
    total = limit if count is None else min(count, limit or count)
    with progress(source.name, total, quiet=quiet) as watch:
        return follow(
            source, boxes, follower, outputs, model=choice.model, limit=limit, watch=watch
        )


def drawn_boxes(source: Source, port: int | None) -> list[Box]:
    """Boxes that the user draws on the first frame, in the browser."""
    from ..serve.select import select_boxes

    return select_boxes(source.peek(), title=source.name, port=port or 0)
