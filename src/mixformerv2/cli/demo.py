"""`mixformerv2 demo`: the shipped clip, the shipped weights, and how well it went."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BoxError, ConfigError, DataError, OutputError, SourceError
from .chosen import SelectPort, TrackerChoice
from .terminal import say, sentences

if TYPE_CHECKING:
    from ..box import Box
    from .follow import Outputs, Summary

__all__ = ["ASSETS", "EPILOG", "copy_clip", "mean_iou", "run"]

EPILOG = "Exit codes are those of `mixformerv2 track`."

ASSETS = Path(__file__).resolve().parent.parent / "assets"

_COPIES = {"clip.mp4": "demo.mp4", "truth.csv": "demo.csv"}
"""What the documentation calls the shipped files."""


def run(
    video: Annotated[
        str | None, typer.Option("--video", help="A video of your own in place of the clip.")
    ] = None,
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="X,Y,W,H", help="Its box; drawn in the browser else."),
    ] = None,
    port: SelectPort = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")
    ] = Path("out"),
    clip_to: Annotated[
        Path | None,
        typer.Option(
            "--clip",
            metavar="DIR",
            help="Track nothing: copy the clip and its true boxes there, as clip.mp4 and "
            "truth.csv, which the documentation takes for its examples.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Shipped model, or a bundle folder.")
    ] = "t",
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="auto, onnx, openvino or torch.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of the engine.")
    ] = None,
) -> None:
    """Track the shipped clip, print how well it went, and leave an annotated MP4.

    The clip is rendered by a script of this project, so that its truth is known exactly.
    """
    from ..video.address import local_name
    from ..video.source import open_source
    from .boxes import parse_boxes, read_boxes
    from .ending import put_sound_back
    from .outputs import plan_outputs, refuse_overwriting
    from .track import drawn_boxes, follow_with_progress

    if clip_to is not None:
        if video is not None or box is not None:
            raise ConfigError("--clip copies the shipped clip; leave out --video and --box")
        for path in copy_clip(clip_to):
            say(str(path))
        return
    if box is not None and video is None:
        raise BoxError("--box belongs to a --video of yours; the shipped clip brings its own")
    if port is not None and (video is None or box is not None):
        raise ConfigError("--port is that of the page for a --video without --box; leave it out")
    clip, truth = local_name(video or str(ASSETS / "demo.mp4")), None
    if video is None:
        if not Path(clip).is_file():
            raise SourceError(f"the demo clip {clip} is missing; install mixformerv2 again")
        truth = read_boxes(ASSETS / "demo.csv")
    _make_folder(out)
    with sentences(quiet=False), open_source(clip) as source:
        outputs = plan_outputs(source.name, out, [], None)
        refuse_overwriting(clip, [], outputs)
        if truth is not None:
            boxes = [truth[min(truth)]]
        else:
            boxes = parse_boxes([box]) if box else drawn_boxes(source, port)
        summary = follow_with_progress(
            source, boxes, outputs, TrackerChoice(model, engine, threads), quiet=False
        )
    put_sound_back(clip, summary, outputs)
    accuracy = None if truth is None else mean_iou(outputs.journal, truth)
    _print(source.name, model, summary, outputs, accuracy)
    if summary.signal is not None:
        raise typer.Exit(128 + summary.signal)


def copy_clip(folder: Path) -> list[Path]:
    """The shipped clip and its true boxes as files of that folder, which is made if need be.

    Raises:
        OutputError: They cannot be written, or other files have their names.
    """
    _make_folder(folder)
    copies = {folder / name: ASSETS / shipped for name, shipped in _COPIES.items()}
    for path, shipped in copies.items():
        if path.exists() and not (path.is_file() and filecmp.cmp(path, shipped, shallow=False)):
            raise OutputError(f"{path} is there already and is another file; name another folder")
    for path, shipped in copies.items():
        try:
            if not path.exists():
                shutil.copyfile(shipped, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    return list(copies)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {folder} cannot be made: {error.strerror}") from error


def mean_iou(journal: Path, truth: dict[int, Box]) -> float:
    """Mean IoU with the truth, over the frames that both know; the given first frame is left out.

    Raises:
        DataError: They have no frame in common.
    """
    from ..box import iou
    from ..video.formats.journal import Journal

    first = min(truth)
    overlaps = [
        iou(result.box, truth[result.frame])
        for _, result in Journal(journal)
        if result.frame in truth and result.frame != first
    ]
    if not overlaps:
        raise DataError(f"{journal} and the truth of the clip have no frame in common")
    return sum(overlaps) / len(overlaps)


def _print(
    name: str, model: str, summary: Summary, outputs: Outputs, accuracy: float | None
) -> None:
    from rich.console import Console
    from rich.table import Table

    from .ending import video_line

    engine = summary.engine
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = {
        "clip": name,
        "model": f"{model}, {engine.name} {engine.precision}",
        "frames": f"{summary.frames}",
        "FPS": f"{summary.fps:.0f} with decoding, drawing and encoding; "
        f"{summary.tracker_fps:.0f} the tracker alone",
        "lost": f"{sum(states['lost'] for states in summary.states.values())} frames",
    }
    if accuracy is not None:
        rows["mean IoU"] = f"{accuracy:.3f} against the clip's truth"
    for key, value in rows.items():
        table.add_row(f"[bold]{key}", value)
    Console().print(table)
    say(video_line(summary, outputs))
    say(f"journal: {outputs.journal}")
