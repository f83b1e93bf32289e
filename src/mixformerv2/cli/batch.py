"""`mixformerv2 batch`: a manifest of videos and boxes in; tables of results out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from .chosen import Thin
from .terminal import say, sentences

if TYPE_CHECKING:
    from ..batch import Totals
    from ..batch.run import Progress as Done

__all__ = ["EPILOG", "report", "run"]

EPILOG = (
    "Exit codes: those of `track`; 11 when all is done and videos are in quarantine; 12 when "
    "shards are missing, which the same command does. "
    "Killed or not: the same command again does what is missing."
)

_QUARANTINED = 11
_MISSING = 12  # one of its own: schedulers run again on this one alone


def run(
    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST",
            help="CSV, JSON lines or Parquet, by path or address; columns video, x, y, w, h.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of results.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Shipped model, or a bundle folder.")
    ] = "t",
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="csv, jsonl, parquet: a table for each shard; mot, coco, cvat, labelstudio: a "
            "file for each video. May be given several times.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            "-e",
            help="Who does it: local (processes) or ray (a cluster).",
            metavar="NAME",
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster: auto, HOST:PORT or ray://HOST:PORT."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", min=1, help="Shards at once; all cores, or one a GPU."),
    ] = None,
    gpus: Annotated[
        float,
        typer.Option(
            "--gpus-per-worker",
            min=0,
            max=1,
            help="Share of a GPU for each worker: 1, or 0.25 for four to a GPU.",
            metavar="SHARE",
        ),
    ] = 0.0,
    inference: Annotated[
        str, typer.Option(help="Engine of the network: auto, onnx, openvino or torch.")
    ] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of each worker's network.")] = 1,
    streams: Annotated[
        int,
        typer.Option(
            min=1, help="Videos that each worker tracks at once, their crops in common batches."
        ),
    ] = 1,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Videos in a shard: what a killed worker repeats at most.")
    ] = 16,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of each video at most.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that one video may take.", metavar="SECONDS")
    ] = None,
    thin: Thin = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Track the targets of many videos, each exactly once.

    Results are in DIR/shards/*/, a summary in DIR/index.html. A video that fails twice is put into
    quarantine with its reasons, and the rest goes on.
    """
    from ..batch import Settings, run_batch

    settings = Settings(
        model=model,
        inference=inference,
        threads=threads,
        streams=streams,
        formats=tuple(dict.fromkeys(name.lower() for name in formats or ["csv"])),
        shard_size=shard_size,
        max_frames=max_frames,
        timeout=timeout,
        thin=thin,
    )
    with _ends_on_sigterm() as received, sentences(quiet=quiet), _progress(quiet) as watch:
        try:
            totals = run_batch(
                manifest,
                out,
                settings,
                engine=engine,
                workers=workers,
                address=address,
                gpus_per_worker=gpus,
                watch=watch,
            )
        except KeyboardInterrupt:
            if received:
                raise typer.Exit(128 + received[0]) from None
            raise
    if not quiet:
        for line in report(totals, out):
            say(line)
    if totals.missing or totals.quarantined:
        raise typer.Exit(_MISSING if totals.missing else _QUARANTINED)


def report(totals: Totals, out: Path) -> list[str]:
    """What the user is told at the end."""
    lines = [
        f"{totals.done:,} of {totals.videos:,} videos done: {totals.targets:,} targets, "
        f"{totals.frames:,} frames"
    ]
    if totals.broken:
        lines.append(f"{totals.broken:,} frames could not be decoded")
    if totals.quarantined:
        lines.append(f"{totals.quarantined:,} in quarantine: {out / 'quarantine.csv'}")
    if totals.missing:
        lines.append(f"{totals.missing:,} shards are missing; run again")
    return [*lines, f"summary: {out / 'index.html'}"]


@contextmanager
def _ends_on_sigterm() -> Iterator[list[int]]:
    """SIGTERM ends the run as Ctrl-C does, so that no worker is left behind."""
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Done], None]]:
    """A bar on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("[bold]videos"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[work]}"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )
    task = bar.add_task("", total=None, work="")

    def watch(now: Done) -> None:
        died = f", {now.died} workers died" if now.died else ""
        bar.update(task, completed=now.videos, total=now.of, work=f"{now.running} shards{died}")

    with bar:
        yield watch
