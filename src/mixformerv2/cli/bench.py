"""`mixformerv2 bench`: updates a second of a bundle, engine by engine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..evaluation.speed import BatchRunner, BundleRunner, Clip, Clock, Pace, Part

__all__ = ["run"]

ASSETS = Path(__file__).resolve().parent.parent / "assets"

_PARTS: dict[str, Part] = {
    "update": "whole",
    "preprocessing": "crop",
    "network": "network",
    "rest": "rest",
}
"""What the figures call the parts of an update."""


class Name(NamedTuple):
    """One contestant."""

    model: str
    engine: str
    batch: int


def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Names of shipped models or bundle folders."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="onnx, openvino, openvino-fp32, openvino-bf16, onnx-int8, openvino-int8 or torch; "
            "several times for several. All that are installed and that the bundle has files for "
            "where it is not given.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="ENGINE", help="Race one engine against this one, and say the ratio."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="Time the network alone on batches, such as 1,2,4,8, for each crop."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each engine.", min=1)] = None,
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
            help="One thread, and the processor's time, for a machine that is busy.",
        ),
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="With --paper: write the tables to this file.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw the times, or with --paper Figure 1, to this PNG or SVG file."),
    ] = None,
) -> None:
    """Time whole updates on a moving target, in turns, in this machine's present state.

    Decoding and drawing are not part of an update. On a busy machine trust the ratios alone.
    """
    from .bench_paper import refuse_figure, refuse_missing_folder, run_paper
    from .eval_plan import refuse

    given = {"MODEL": models, "--engine": engine, "--against": against, "--batch": batch}
    refuse(
        given if paper else {"--markdown": markdown},
        "not with --paper, whose rows are fixed" if paper else "written with --paper alone",
    )
    for path in (json_file, markdown, figure):
        refuse_missing_folder(path)
    refuse_figure(figure)
    if cpu_time and threads not in (None, 1):
        refuse({f"--threads {threads}": threads}, "not with --cpu-time, which takes one")
    if paper:
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
    import time

    from ..evaluation.speed import Clip, decoding, machine, race

    clock = time.process_time if cpu_time else time.perf_counter
    threads = 1 if cpu_time else threads
    clip = Clip.moving(*_size(size))
    engines = _engines(engine, against)
    chosen = models or ["t"]
    names = [(model, one) for model in chosen for one in engines or _installed(model)]
    runners = _runners(names, _batches(batch), threads, clip, clock)
    paces = race(runners, frames=len(clip.frames), rounds=rounds)
    rows = [_figures(name, runners[name], pace, paces) for name, pace in paces.items()]
    _print(rows, size, rounds, in_batches=batch is not None)
    decoded = _spread(decoding(ASSETS / "demo.mp4", clock))
    typer.echo(
        f"decoding a frame of the demo clip: {decoded['median']:.2f} ms "
        f"({decoded['p5']:.2f} to {decoded['p95']:.2f}), in its own thread"
    )
    if against is not None:
        _print_against(paces)
    if json_file is not None:
        settings: dict[str, Any] = {
            "size": size,
            "threads": threads,
            "rounds": rounds,
            "batch": batch,
        }
        settings |= {"clock": "processor" if cpu_time else "wall", "decoding_ms": decoded}
        _write(json_file, {"machine": machine(), **settings, "runs": rows})
    if figure is not None:
        _draw(figure, rows)


def _engines(engine: list[str] | None, against: str | None) -> list[str]:
    """Those that were asked for; none where all are to run."""
    from ..errors import ConfigError

    if against is None:
        return engine or []
    engines = [*(engine or ["auto"]), against]
    if len(engines) != 2 or engines[0] == engines[1]:
        raise ConfigError(
            f"--against races two different engines, got {' and '.join(engines)}; "
            "give --engine once, or leave it out for auto"
        )
    return engines


def _batches(text: str | None) -> list[int] | None:
    from ..errors import ConfigError

    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isdigit() and 1 <= int(part) <= 1024 for part in parts):
        raise ConfigError(f"--batch is whole numbers from 1 to 1024 such as 1,2,4, got {text!r}")
    return sorted({int(part) for part in parts})


def _size(text: str) -> tuple[int, int]:
    from ..errors import ConfigError

    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 160 and int(height) >= 120):
        raise ConfigError(f"--size is WIDTHxHEIGHT, 160x120 or larger, got {text!r}")
    if int(width) > 8192 or int(height) > 8192:
        raise ConfigError(f"--size is at most 8192x8192, got {text!r}")
    return int(width), int(height)


def _installed(model: str) -> list[str]:
    """Engines of the processor that are installed and that a bundle has files for."""
    from importlib.util import find_spec

    from ..errors import ConfigError
    from ..weights.bundle import INT8_NAMES, find_bundle, read_config

    graphs = read_config(find_bundle(model)).graphs
    found = []
    if "search.onnx" in graphs:
        found += ["onnx", "openvino-fp32", "openvino"]
    if INT8_NAMES[1] in graphs:
        found += ["onnx-int8", "openvino-int8"]
    there = {"onnx": True} | {name: find_spec(name) is not None for name in ("openvino", "torch")}
    out = [one for one in [*found, "torch"] if there[one.partition("-")[0]]]
    if not out:
        raise ConfigError(
            f"{model} has no graphs, and PyTorch, which runs it without, is not installed: pip "
            "install 'mixformerv2[torch]', or `mixformerv2 export` it where PyTorch is"
        )
    return out


def _runners(
    names: list[tuple[str, str]],
    batches: list[int] | None,
    threads: int | None,
    clip: Clip,
    clock: Clock,
) -> dict[Name, BatchRunner | BundleRunner]:
    """By model, engine and batch; without batches whole updates of one target."""
    from ..evaluation.speed import BatchRunner, BundleRunner

    out: dict[Name, BatchRunner | BundleRunner] = {}
    for model, engine in names:
        for size in batches or ():
            runner = BatchRunner(model, clip, engine, size, threads, clock)
            out[Name(model, engine, size)] = runner
        if batches is None:
            out[Name(model, engine, 1)] = BundleRunner(model, clip, engine, threads, clock)
    return out


def _spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """Median, 5th and 95th percentile."""
    import numpy as np

    low, middle, high = (float(v) for v in np.percentile(milliseconds, [5, 50, 95]))
    return {"median": round(middle, 3), "p5": round(low, 3), "p95": round(high, 3)}


def _figures(
    name: Name, runner: BatchRunner | BundleRunner, pace: Pace, paces: dict[Name, Pace]
) -> dict[str, Any]:
    return {
        "model": name.model,
        "engine": name.engine,
        "batch": name.batch,
        "device": runner.info.device,
        "precision": runner.info.precision,
        "threads": runner.info.threads,
        "milliseconds": round(pace.milliseconds, 3),
        "p5": round(pace.percentile(5), 3),
        "p95": round(pace.percentile(95), 3),
        "updates_per_second": round(pace.per_second, 1),
        "network_ms": round(pace.milliseconds - pace.outside_milliseconds, 3),
        "outside_network_ms": round(pace.outside_milliseconds, 3),
        "times_faster_than_first": round(pace.times_faster(next(iter(paces.values()))), 2),
        "parts_ms": {name: _spread(pace.every_part(part)) for name, part in _PARTS.items()},
    }


def _labels(models: Iterable[str]) -> dict[str, str]:
    """A short name of each model; all that was given where two would be called alike."""
    short = {model: Path(os.path.abspath(model)).name for model in models}
    names = list(short.values())
    return {model: name if names.count(name) == 1 else model for model, name in short.items()}


def _print_against(paces: dict[Name, Pace]) -> None:
    """How many times as fast each first engine is as its second, round by round."""
    from statistics import quantiles

    engines = list(dict.fromkeys(name.engine for name in paces))
    labels = _labels(name.model for name in paces)
    for first in (name for name in paces if name.engine == engines[0]):
        second = first._replace(engine=engines[1])
        pairs = zip(paces[first].updates, paces[second].updates, strict=True)
        ratios = [b / a for a, b in pairs]
        low, *_, high = quantiles(ratios, n=20) if len(ratios) > 1 else (*ratios, *ratios)
        batch = f", batches of {first.batch}" if first.batch > 1 else ""
        typer.echo(
            f"{labels[first.model]}{batch}: {first.engine} is "
            f"{paces[first].times_faster(paces[second]):.2f} times as fast as {second.engine} "
            f"(5 to 95 % of the rounds: {low:.2f} to {high:.2f})"
        )


def _draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Bars of the medians, with the 5th and 95th percentile."""
    from matplotlib.figure import Figure

    from ..errors import OutputError

    figure = Figure(figsize=(8, 1.2 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    labels = _labels(r["model"] for r in rows)
    names = [f"{labels[r['model']]} {r['engine']} x{r['batch']}" for r in rows][::-1]
    middle = [r["milliseconds"] for r in rows][::-1]
    spread = [
        [max(0.0, r["milliseconds"] - r["p5"]) for r in rows][::-1],
        [max(0.0, r["p95"] - r["milliseconds"]) for r in rows][::-1],
    ]
    axes.barh(names, middle, xerr=spread, color="#4c78a8", ecolor="#555555", capsize=3)
    axes.set_xlabel("milliseconds for each target: median, 5th and 95th percentile")
    axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise OutputError(f"the figure cannot be written to {path}: {error}") from error


def _print(figures: list[dict[str, Any]], size: str, rounds: int, in_batches: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    what = "The network alone, for each crop" if in_batches else f"Whole updates on {size} frames"
    table = Table(
        title=f"{what}, median of {rounds} turn{'s' * (rounds != 1)}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.padding = (0, 1, 0, 0)
    table.add_column("model", overflow="fold")
    table.add_column("engine", no_wrap=True)
    own = ("batch",) if in_batches else ("crop", "rest")
    for column in ("ms", "5 to 95 %", "a second", *own, "ratio"):
        table.add_column(column, justify="right", no_wrap=True)
    labels = _labels(row["model"] for row in figures)
    for row in figures:
        around = [row["parts_ms"][part]["median"] for part in ("preprocessing", "rest")]
        table.add_row(
            escape(labels[row["model"]]),
            _said(row),
            f"{row['milliseconds']:.1f}",
            f"{row['p5']:.1f} to {row['p95']:.1f}",
            f"{row['updates_per_second']:.0f}",
            *([str(row["batch"])] if in_batches else (f"{v:.2f}" for v in around)),
            f"{row['times_faster_than_first']:.2f} x",
        )
    console = Console(highlight=False)
    console.print(table)
    parts = "" if in_batches else "crop, rest: ms before and after the network. "
    console.print(f"{parts}ratio: against the first row")


def _said(row: dict[str, Any]) -> str:
    """The engine of a row, with its precision, and a device that its name does not tell."""
    engine, words = row["engine"], row["engine"].split("-")
    if not engine.endswith(row["precision"]):
        engine += f" {row['precision']}"
    return engine if row["device"] in ("cpu", *words) else f"{engine} {row['device']}"


def _write(path: Path, figures: dict[str, Any]) -> None:
    from ..errors import OutputError

    try:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"figures cannot be written to {path}: {error.strerror}") from error
