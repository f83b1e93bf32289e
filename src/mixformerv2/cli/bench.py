"""`mixformerv2 bench`: updates a second of a bundle, engine by engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..evaluation.speed import BundleRunner, Clip, Pace

__all__ = ["run"]


def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Names of shipped models or bundle folders."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="onnx, openvino, openvino-fp32, openvino-bf16 or torch; several times for "
            "several. All that are installed where it is not given.",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each engine.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns that each gets.", min=1)] = 8,
    size: Annotated[str, typer.Option(help="Size of the frames.")] = "1280x720",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="Measure Tables 1 and 2 of the paper instead, with random weights."
        ),
    ] = False,
    cpu_time: Annotated[
        bool,
        typer.Option(
            "--cpu-time",
            help="With --paper: one thread, and the processor's time, for a machine that is busy.",
        ),
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="With --paper: write the tables to this file.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="With --paper: draw Figure 1 to this PNG or SVG file.")
    ] = None,
) -> None:
    """Time whole updates on a moving target, in turns, in this machine's present state.

    Decoding and drawing are not part of an update. On a busy machine trust the ratios alone.
    """
    if paper:
        from .bench_paper import run_paper

        run_paper(
            size=_size(size),
            threads=threads,
            rounds=rounds,
            cpu_time=cpu_time,
            json_file=json_file,
            markdown_file=markdown,
            figure=figure,
        )
        return
    from ..evaluation.speed import Clip, race

    clip = Clip.moving(*_size(size))
    runners = _runners(models or ["t"], engine or _installed(), threads, clip)
    paces = race(runners, frames=len(clip.frames), rounds=rounds)
    figures = [_figures(name, runners[name], pace, paces) for name, pace in paces.items()]
    _print(figures, size, rounds)
    if json_file is not None:
        _write(json_file, {"size": size, "threads": threads, "rounds": rounds, "runs": figures})


def _size(text: str) -> tuple[int, int]:
    from ..errors import ConfigError

    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 160 and int(height) >= 120):
        raise ConfigError(f"--size is WIDTHxHEIGHT, 160x120 or larger, got {text!r}")
    if int(width) > 8192 or int(height) > 8192:
        raise ConfigError(f"--size is at most 8192x8192, got {text!r}")
    return int(width), int(height)


def _installed() -> list[str]:
    from importlib.util import find_spec

    openvino = ["openvino-fp32", "openvino"] if find_spec("openvino") else []
    return ["onnx", *openvino]


def _runners(
    models: list[str], engines: list[str], threads: int | None, clip: Clip
) -> dict[str, BundleRunner]:
    from ..evaluation.speed import BundleRunner

    return {
        f"{model} {engine}": BundleRunner(model, clip, engine, threads)
        for model in models
        for engine in engines
    }


def _figures(name: str, runner: BundleRunner, pace: Pace, paces: dict[str, Pace]) -> dict[str, Any]:
    model, _, engine = name.rpartition(" ")
    return {
        "model": model,
        "engine": engine,
        "precision": runner.info.precision,
        "threads": runner.info.threads,
        "milliseconds": round(pace.milliseconds, 3),
        "updates_per_second": round(pace.per_second, 1),
        "outside_network_ms": round(pace.outside_milliseconds, 3),
        "times_faster_than_first": round(pace.times_faster(next(iter(paces.values()))), 2),
    }


def _print(figures: list[dict[str, Any]], size: str, rounds: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"Whole updates on {size} frames, median of {rounds} turns",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.padding = (0, 1, 0, 0)
    for column in ("model", "engine", "precision"):
        table.add_column(column, no_wrap=True)
    for column in ("ms", "a second", "outside", "times first"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in figures:
        table.add_row(
            Path(row["model"]).name,
            row["engine"],
            row["precision"],
            f"{row['milliseconds']:.1f}",
            f"{row['updates_per_second']:.0f}",
            f"{row['outside_network_ms']:.2f} ms",
            f"{row['times_faster_than_first']:.2f} x",
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "outside: what of an update is not the network. times first: against the first row"
    )


def _write(path: Path, figures: dict[str, Any]) -> None:
    from ..errors import OutputError

    try:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"figures cannot be written to {path}: {error.strerror}") from error
