"""`mixformerv2 distill`: run all stages of a plan, from a teacher to a small tracker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

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

    from ..distillation.plan import read_plan

    read = read_plan(plan, overrides or [], preset=preset, out=out)
    # Under torchrun the first process speaks for all.
    console = Console(stderr=not dry_run, quiet=os.environ.get("RANK", "0") != "0")
    console.print(
        f"{read.name}: {len(read.stages)} stages, preset {read.preset}; "
        f"each tracker goes to {read.out}/STAGE/bundle",
        style="bold",
        markup=False,
        soft_wrap=True,
    )
    _show(read, console)
    if dry_run:
        _check(read, console)
    else:
        _run(read, console, minutes)


def _check(plan: Plan, console: Console) -> None:
    from ..distillation.checks import check_plan
    from ..distillation.records import check_records

    missing = check_plan(plan)
    check_records(plan)
    for sentence in missing:
        console.print(f"not there yet: {sentence}", soft_wrap=True, markup=False)
    if not missing:
        console.print("every stage fits its teacher")
    if all(stage.config.eval.root is None for stage in plan.stages):
        console.print("no stage is tracked with: set eval.root to sequences with truth, for AUC")


def _run(plan: Plan, console: Console, minutes: float | None) -> None:
    from ..distillation.runner import rows, run_plan

    before = list(rows(plan))
    try:
        report = run_plan(
            plan,
            minutes=minutes,
            say=lambda text: console.print(text, style="bold", markup=False, soft_wrap=True),
        )
    except KeyboardInterrupt:
        typer.echo(f"\nstopped{_where(plan)}; the same command goes on from there", err=True)
        raise
    if list(rows(plan)) != before:
        _show(plan, console)
    if report is None:
        typer.echo(f"time is over{_where(plan)}; the same command goes on from there", err=True)
        return
    if plan.result is not None:
        console.print(plan.result, markup=False, soft_wrap=True)
    typer.echo(str(report))


def _where(plan: Plan) -> str:
    """The stage in hand."""
    from ..distillation.records import status

    for stage in plan.stages:
        state = status(stage)
        if state != "done":
            return f" in {stage.name}, {state}"
    return ""


def _show(plan: Plan, console: Console) -> None:
    """The table of stages."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from ..distillation.runner import rows

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("from", overflow="fold")
    for heading in ("layers", "MLP", "M", "G", "steps"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in rows(plan):
        figures = f"{row.parameters / 1e6:.1f}", f"{row.multiply_adds / 1e9:.2f}"
        if row.kind == "mae":  # a backbone is no tracker yet
            figures = "", ""
        table.add_row(
            f"{row.name}\n[dim]{row.kind.replace('_', ' ')}[/dim]", escape(row.inputs),
            str(row.layers), f"{row.mlp_ratio:g}", *figures, f"{row.steps:,} x {row.batch}",
            row.status,
        )  # fmt: skip
    console.print(table)
    console.print(
        "M: million parameters; G: thousand million multiply-adds a frame; steps x samples of each",
        style="dim",
        soft_wrap=True,
    )
