"""`mixformerv2 eval`: trackers side by side on a folder of sequences with truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..evaluation import Report, TrackerSpec

__all__ = ["run"]


def run(
    trackers: Annotated[
        list[str],
        typer.Argument(
            metavar="TRACKER...",
            help="A bundle's name or folder, still, opencv:mil, opencv:nano:FOLDER, "
            "python:MODULE:CLASS.",
        ),
    ],
    root: Annotated[
        Path,
        typer.Option(
            help="Folder of sequences: NAME/img and NAME/groundtruth.txt, clips with NAME.txt "
            "beside them, or any layout of `mixformerv2 data layouts`."
        ),
    ],
    max_frames: Annotated[
        int, typer.Option(help="Use at most so many frames of each sequence; 0 for all.")
    ] = 300,
    names: Annotated[str, typer.Option(help="Only these sequences, parted by commas.")] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="Keep boxes, scores and times here; a second run does what is missing."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes; speeds then share the machine.")] = 1,
    engine: Annotated[str, typer.Option(help="auto, onnx, openvino or torch, for bundles.")] = (
        "auto"
    ),
    threads: Annotated[int | None, typer.Option(help="Threads of the engine or of OpenCV.")] = None,
    convention: Annotated[
        str,
        typer.Option(
            help="Frames that count: size (width and height above 0) or all-four (x, y too)."
        ),
    ] = "size",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
    presence: Annotated[
        bool,
        typer.Option(
            "--presence",
            help="Bundles: does the score tell the target from another sequence's? Its ROC AUC.",
        ),
    ] = False,
) -> None:
    """Measure trackers: AUC, precision, normalized precision, frames a second."""
    from ..errors import OutputError
    from ..evaluation import TrackerSpec

    if json_file is not None and not json_file.parent.is_dir():
        raise OutputError(f"--json {json_file} cannot be written: its folder is not there")
    only = [name for name in names.split(",") if name] or None
    limit = max_frames or None
    figures = []
    for text in trackers:
        spec = TrackerSpec(text, engine=engine, threads=threads)
        if presence:
            figures.append(_presence(spec, root, limit, only))
        else:
            figures.append(_measure(spec, root, limit, only, out, jobs, convention))
    if json_file is not None:
        _write_json(json_file, figures)


def _measure(
    spec: TrackerSpec,
    root: Path,
    max_frames: int | None,
    names: list[str] | None,
    out: Path | None,
    jobs: int,
    convention: str,
) -> dict[str, object]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..evaluation import evaluate, read_sequences
    from ..evaluation.run import results_folder

    spec.identity()  # a tracker that cannot be had is said before an hour of others
    total = len(read_sequences(root, names))
    folder = None if out is None else results_folder(out, spec, root, max_frames)
    columns = (TextColumn(spec.label), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    console = Console(stderr=True)
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=total)
        report = evaluate(
            spec,
            root,
            max_frames=max_frames,
            names=names,
            out=folder,
            jobs=jobs,
            convention=convention,  # type: ignore[arg-type]  # checked where it is used
            progress=lambda _: bar.advance(task),
        )
    _print(report)
    if folder is not None:
        Console().print(f"boxes, scores and times: {folder}", highlight=False, soft_wrap=True)
    return report.as_dict()


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("sequence", no_wrap=True)
    for column in ("frames", "AUC", "prec.", "norm. prec.", "fps"):
        table.add_column(column, justify="right")
    for one in report.sequences:
        if one.error is not None:
            table.add_row(one.name, "failed", "0.000", "0.000", "0.000", "", style="red")
        else:
            table.add_row(one.name, str(one.updates), *_cells(one.figures), f"{one.fps:.0f}")
    if len(report.families) > 1:
        table.add_section()
        for name, family in report.families.items():
            table.add_row(f"{name} ({family.sequences})", "", *_cells(family), f"{family.fps:.0f}")
    table.add_section()
    mean = report.mean
    cells = ("", *_cells(mean), f"{mean.fps:.0f}")
    table.add_row(f"mean of {mean.sequences}", *cells, style="bold")
    console = Console()
    console.print(f"{report.tracker}: {_protocol(report)}", highlight=False, soft_wrap=True)
    console.print(table)
    for one in report.failed:
        console.print(
            f"{one.name} failed and counts with zeros: {one.error}", style="red", soft_wrap=True
        )


def _cells(one: object) -> tuple[str, str, str]:
    names = ("auc", "precision", "normalized_precision")
    auc, precision, normalized = (f"{getattr(one, name):.3f}" for name in names)
    return auc, precision, normalized


def _protocol(report: Report) -> str:
    length = "all frames" if report.max_frames is None else f"first {report.max_frames} frames"
    counted = {"size": "w, h > 0", "all-four": "x, y, w, h > 0"}[report.convention]
    return f"one pass, {length}, counting frames whose true {counted}"


def _presence(
    spec: TrackerSpec, root: Path, max_frames: int | None, names: list[str] | None
) -> dict[str, object]:
    import numpy as np
    from rich.console import Console

    from ..errors import ConfigError
    from ..evaluation import read_sequences
    from ..evaluation.presence import presence
    from ..runtime.select import load_engine

    if not spec.is_bundle:
        raise ConfigError(f"presence needs a bundle with a score, not {spec.spec}")
    engine, config = load_engine(spec.spec, engine=spec.engine, threads=spec.threads)
    if not config.has_score:
        raise ConfigError(f"{spec.spec} has no score head, so its score says nothing of presence")
    sequences = [one.first(max_frames) for one in read_sequences(root, names)]
    result = presence(engine, config.tracker, sequences)
    Console().print(
        f"{spec.label}: presence AUC {result.auc:.3f} "
        f"({len(result.present)} crops with the target, median score "
        f"{np.median(result.present):.2f}; {len(result.absent)} of other sequences, "
        f"median score {np.median(result.absent):.2f})",
        highlight=False,
        soft_wrap=True,
    )
    return {"tracker": spec.label, "presence_auc": result.auc}


def _write_json(file: Path, figures: list[dict[str, object]]) -> None:
    from ..errors import OutputError

    try:
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"figures cannot be written to {file}: {error}") from error
