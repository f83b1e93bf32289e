"""`mixformerv2 distill`: run all stages of a plan, from a teacher to a small tracker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ..distillation.plan import Plan

EPILOG = "A plan to begin with: configs/plans/small.yaml. What a plan may say: docs/distill.md"


def run(
    plan: Annotated[Path, typer.Argument(help="The plan, such as configs/plans/small.yaml.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings to change: optim.lr=1e-4, or STAGE.optim.steps=100."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of all runs and the report; else the plan's own.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="paper, published or none, instead of the plan's own.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="End with a checkpoint after this long; run again to go on."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the plan and show its stages; run nothing.")
    ] = False,
) -> None:
    """Run the stages of a plan; what is done is skipped, what was stopped goes on.

    Example: mixformerv2 distill configs/plans/small.yaml --minutes 60
    """
    from rich.console import Console

    from ..distillation.checks import check_plan
    from ..distillation.plan import read_plan
    from ..distillation.records import check_records

    read = read_plan(plan, overrides or [], preset=preset, out=out)
    # Under torchrun the first process speaks for all.
    console = Console(stderr=not dry_run, quiet=os.environ.get("RANK", "0") != "0")
    console.print(_table(read))
    if dry_run:
        missing = check_plan(read)
        if not missing:
            check_records(read)
        for sentence in missing:
            console.print(f"not there yet: {sentence}", soft_wrap=True, markup=False)
        if not missing:
            console.print("every stage fits its teacher")
        return
    from ..distillation.runner import run_plan

    try:
        report = run_plan(
            read,
            minutes=minutes,
            say=lambda text: console.print(text, style="bold", markup=False, soft_wrap=True),
        )
    except KeyboardInterrupt:
        typer.echo(f"\nstopped; the same command carries on from {read.out}", err=True)
        raise
    console.print(_table(read))
    if report is None:
        typer.echo("time is over; the same command goes on from here", err=True)
    else:
        typer.echo(str(report))


def _table(plan: Plan) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ..distillation.runner import rows

    table = Table(
        title=f"{plan.name}, preset {plan.preset}, in {plan.out}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for heading in ("stage", "kind", "from", "what comes out", "steps", "status"):
        narrow = heading in ("stage", "kind", "steps")
        table.add_column(heading, justify="right" if heading == "steps" else "left", no_wrap=narrow)
    for row in rows(plan):
        table.add_row(row.name, row.kind, row.inputs, row.network, f"{row.steps:,}", row.status)
    return table
