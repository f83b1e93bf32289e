"""`mixformerv2 export`: the two ONNX graphs of a bundle, checked against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import waiting

if TYPE_CHECKING:
    from ..evaluation.report import SequenceReport
    from ..export import Int8Report, Parity

__all__ = ["run"]


def run(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Name of a shipped bundle, or a bundle folder.")
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder for the bundle with graphs; may be BUNDLE."),
    ],
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write both graphs in int8, calibrated on crops.")
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VIDEO",
            help="Calibrate int8 with this video or folder of pictures; several times for "
            "several. The demo clip where it is not given.",
        ),
    ] = None,
    crops: Annotated[int, typer.Option(help="Crops to calibrate int8 with.", min=8)] = 96,
    quantizer: Annotated[
        str,
        typer.Option(help="own, or nncf: NNCF's int8, which needs the extra of that name."),
    ] = "own",
    keep_tokens: Annotated[
        int | None,
        typer.Option(
            help="Let only so many search tokens go on after an early layer, those that the "
            "prediction tokens attend to most; 0 lets all go on.",
            min=0,
        ),
    ] = None,
    keep_after: Annotated[
        int | None, typer.Option(help="That layer, counted from 1. [2]", min=1)
    ] = None,
    exit_score: Annotated[
        float | None,
        typer.Option(
            help="End a frame early where the score is at least this after an early layer; "
            "0 never does.",
            min=0.0,
            max=1.0,
        ),
    ] = None,
    exit_after: Annotated[
        int | None, typer.Option(help="That layer, counted from 1. [4]", min=1)
    ] = None,
    sequences: Annotated[
        Path | None,
        typer.Option(help="Measure what int8 loses in AUC over this folder of sequences."),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a bundle with other weights that is in OUT already."
        ),
    ] = False,
) -> None:
    """Write template.onnx and search.onnx, and check them against PyTorch.

    Both take crops of bytes as OpenCV has them: channel order and normalisation are inside the
    graphs. Batch and number of templates are free. Nothing is written where any output differs
    from PyTorch's by more than 1e-4.
    """
    from ..errors import ConfigError
    from ..evaluation import read_sequences
    from ..export import export_bundle, export_int8

    if not int8 and (calibrate or sequences or quantizer != "own"):
        raise ConfigError(
            "--calibrate, --sequences and --quantizer belong to --int8; add it or leave them out"
        )
    if keep_after is not None and keep_tokens is None:
        raise ConfigError("--keep-after belongs to --keep-tokens; add it or leave it out")
    if exit_after is not None and exit_score is None:
        raise ConfigError("--exit-after belongs to --exit-score; add it or leave it out")
    if sequences is not None:
        read_sequences(sequences)  # before minutes of rounding
    keep = None
    if keep_tokens is not None:
        keep = (keep_tokens, (keep_after or 2) if keep_tokens else 0)
    early = None
    if exit_score is not None:
        early = ((exit_after or 4) if exit_score else 0, exit_score)
    _print(out, export_bundle(bundle, out, keep, early, overwrite=overwrite))
    if int8:
        with waiting("int8") as tell:
            report = export_int8(
                out, sources=calibrate or (), count=crops, quantizer=quantizer, tell=tell
            )
        _print_int8(out, report)
    if sequences is not None:
        _measure(out, sequences)


def _print(out: Path, parity: list[Parity]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="largest difference from PyTorch, ONNX Runtime on the CPU", title_style="")
    for name in ("batch", "templates", "memory", "boxes", "scores", "probs"):
        table.add_column(name, justify="right")
    for one in parity:
        differences = (one.memory, one.boxes, one.scores, one.probs)
        table.add_row(str(one.batch), str(one.templates), *(f"{v:.1e}" for v in differences))
    console = Console(highlight=False)
    console.print(table)
    _print_files(out, "template.onnx", "search.onnx")


def _print_files(out: Path, *names: str) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for path in (out / name for name in names):
        console.print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True, markup=False)


def _print_int8(out: Path, report: Int8Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..weights.bundle import INT8_NAMES

    table = Table(
        title="int8: median distance of a box side from fp32, pixels of the search crop",
        title_style="",
    )
    table.add_column("rounded")
    table.add_column("pixels", justify="right")
    table.add_column("")
    for group, pixels in report.groups.items():
        stays = "stays in float" if group in report.kept else ""
        table.add_row(f"{group} alone", f"{pixels:.2f}", stays)
    rest = "all but those" if report.kept else "all"
    table.add_row(rest, f"{report.median:.2f}", f"95 % within {report.high:.2f}", style="bold")
    Console(highlight=False).print(table)
    _print_files(out, *INT8_NAMES)


def _measure(out: Path, sequences: Path) -> None:
    """AUC of both precisions, int8 in the engine that `auto` takes, printed and kept."""
    from rich.console import Console

    from ..evaluation.run import evaluate
    from ..evaluation.trackers import TrackerSpec
    from ..export.quantize import record_auc
    from ..runtime.choice import MAX_AUC_LOSS, int8_engine

    engine = int8_engine()
    with waiting("AUC") as tell:
        means = []
        for name in ("onnx", engine):
            tell(name)
            # By its whole path: a folder may be called as a shipped model is.
            spec = TrackerSpec(str(out.absolute()), engine=name)
            ended = partial(_ended, tell, name)
            means.append(evaluate(spec, sequences, progress=ended).mean)
    full, small = means
    record_auc(out, full.auc - small.auc)
    enough = "auto takes it" if full.auc - small.auc <= MAX_AUC_LOSS else "auto will not take it"
    Console(highlight=False).print(
        f"AUC over {full.sequences} sequences: onnx {full.auc:.4f}, {engine} {small.auc:.4f}, "
        f"{small.auc - full.auc:+.4f}: {enough}",
        soft_wrap=True,
    )


def _ended(tell: Callable[[str], None], engine: str, one: SequenceReport) -> None:
    tell(f"{engine}, {one.name} is done")
