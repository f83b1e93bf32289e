"""`mixformerv2 train`: train a tracker, or carry a run on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[
        str | None, typer.Argument(help="Settings, a YAML file such as configs/t.yaml.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings to change, as optim.lr=1e-4.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The run's folder: checkpoint, log, curves, contact sheet.")
    ] = Path("runs/train"),
    minutes: Annotated[
        float | None, typer.Option(help="End with a checkpoint after this long.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Bundle, by name or folder, or run whose weights a fresh run starts from."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print settings, plan, memory and the time of two steps; leave nothing.",
        ),
    ] = False,
    pieces: Annotated[
        bool,
        typer.Option(
            "--pieces", help="Cut the bundle's files into pieces under 16 MiB at the end."
        ),
    ] = False,
) -> None:
    """Train a tracker. A folder that holds a checkpoint is carried on where it stopped.

    Example: mixformerv2 train configs/t.yaml optim.batch=32 --out runs/t --minutes 60
    """
    from ..errors import EngineError
    from ..training.config import load_config, show_config

    pairs = list(overrides or [])
    file = None if config is None else Path(config)
    if config is not None and file is not None and "=" in config and not file.is_file():
        pairs.insert(0, config)  # a setting comes first, and there is no file
        file = None
    settings = load_config(file, pairs)
    first = os.environ.get("RANK", "0") == "0"  # under torchrun it speaks, and cuts, for all
    if first:
        typer.echo(show_config(settings), err=not dry_run)
    try:
        from ..training.loop import train
        from ..training.rehearsal import rehearse
    except ModuleNotFoundError as error:
        raise EngineError(
            f"training needs {error.name}, which is not installed; "
            "run `pip install 'mixformerv2[train]'`"
        ) from error
    if dry_run:
        plan, figures = rehearse(settings, init)
        typer.echo("\n".join(["", *plan, *figures.lines(settings)]))
        return
    try:
        path = train(settings, out, minutes=minutes, init=init)
    except KeyboardInterrupt:
        typer.echo(f"\nstopped; `--out {out}` carries on from here", err=True)
        raise
    if not first:
        return
    if pieces and not (out / "bundle").is_dir():
        typer.echo(f"\nstage {settings.stage} leaves no bundle to be cut into pieces", err=True)
    elif pieces:
        from ..weights.pieces import split

        for piece in split(out / "bundle"):
            typer.echo(str(piece), err=True)
    typer.echo(f"\n{path}")
    _say_tracker(out / "bundle", settings.optim.steps)


def _say_tracker(bundle: Path, steps: int) -> None:
    """Where the tracker lies, and of how much training it is."""
    from ..weights.bundle import read_config

    if not (bundle / "config.json").is_file():  # this stage trains none
        return
    done = read_config(bundle).provenance.get("steps", steps)
    rest = "; the same command carries on" if done < steps else ""
    what = "the tracker"
    if not (bundle / "model.safetensors").exists():
        what = "pieces of the tracker"
        rest += f"; `python -m mixformerv2.weights.pieces join {bundle}` puts them together"
    typer.echo(f"{what}: {bundle}, after {done:,} of {steps:,} steps{rest}", err=True)
