"""`mixformerv2 vot`: trackers for the VOT toolkit, which is called from outside."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .chosen import LongTerm, Sets, chosen_settings

__all__ = ["app"]

app = typer.Typer(
    help="Trackers for the VOT toolkit (accuracy, robustness, EAO).",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_EPILOG = "Exit codes: 0 done, 2 wrong option or tracker, 5 output, 6 bundle, 7 engine."
_Engine = Annotated[str, typer.Option(help="auto, onnx, openvino or torch, for bundles.")]
_Threads = Annotated[int | None, typer.Option(help="Threads of the engine or of OpenCV.")]


@app.command(epilog=_EPILOG)
def init(
    trackers: Annotated[
        list[str],
        typer.Argument(metavar="TRACKER...", help="As for `mixformerv2 eval`, but results."),
    ],
    workspace: Annotated[
        Path, typer.Option(help="The toolkit's workspace, made where it is missing.")
    ] = Path(),
    engine: _Engine = "auto",
    threads: _Threads = None,
    long_term: LongTerm = False,
    sets: Sets = None,
) -> None:
    """Write trackers into a workspace's trackers.ini; what to type next is printed.

    The toolkit may live in another environment: trackers are started with this one's Python.
    """
    from ..evaluation.trackers import TrackerSpec
    from ..evaluation.vot import identifier, write_trackers
    from .eval_plan import refuse

    specs = [TrackerSpec(text, engine=engine, threads=threads) for text in trackers]
    settings = tuple(sorted(chosen_settings(sets, long_term=long_term).items()))
    if not any(one.is_bundle for one in specs):
        options = [f"--set {name}" for name, _ in settings]
        refuse(dict.fromkeys(options, True), f"for bundles, not for {', '.join(trackers)}")
    specs = [replace(one, settings=settings) if one.is_bundle else one for one in specs]
    file = write_trackers(workspace, specs)
    names = " ".join(identifier(spec) for spec in specs)
    typer.echo(f"{file}: {names}")
    typer.echo("With the toolkit (pip install vot-toolkit, in an environment of its own), there:")
    typer.echo(f"  vot test {identifier(specs[0])}")
    typer.echo("  vot initialize vot2022/shorttermbox     # once; downloads the sequences")
    typer.echo(f"  vot evaluate {names}")
    typer.echo(f"  vot analysis {names}")


@app.command(epilog=_EPILOG)
def serve(
    tracker: Annotated[str, typer.Argument(metavar="TRACKER", help="As for `vot init`.")],
    engine: _Engine = "auto",
    threads: _Threads = None,
    modules: Annotated[
        Path | None, typer.Option(help="Where MODULE:CLASS is looked for first.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Be the tracker of a toolkit: TraX on standard input and output.

    This is what `vot init` writes; nobody types it.
    """
    from ..evaluation.trackers import TrackerSpec
    from ..evaluation.vot import serve as answer

    if modules is not None:
        sys.path.insert(0, str(modules))
    settings = tuple(sorted(chosen_settings(sets).items()))
    spec = TrackerSpec(tracker, engine=engine, threads=threads, settings=settings)
    # Whatever a library prints must not get between the lines of the protocol.
    with os.fdopen(os.dup(1), "wb") as stdout:
        os.dup2(2, 1)
        answer(spec, sys.stdin.buffer, stdout, name=spec.label)
