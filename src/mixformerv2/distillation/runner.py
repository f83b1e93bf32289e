"""Carry a plan out: what is done is skipped, what was stopped goes on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..models.count import multiply_adds, parameters
from ..training.checkpoint import one_writer
from ..training.loop import train
from ..training.stops import check_minutes
from .checks import check_plan
from .given import measure_given
from .plan import Plan
from .records import check_records, remember, status

__all__ = ["Row", "rows", "run_plan"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A line of the table of stages.

    Attributes:
        name: Of the stage.
        kind: Of training.
        inputs: What it takes: stages, bundles or runs, a line each.
        layers: Of the network that comes out.
        mlp_ratio: Of its layers.
        parameters: Numbers in it.
        multiply_adds: Of a frame, templates cached.
        steps: Of its schedule.
        batch: Samples of a step.
        status: As `records.status` says it.
    """

    name: str
    kind: str
    inputs: str
    layers: int
    mlp_ratio: float
    parameters: int
    multiply_adds: int
    steps: int
    batch: int
    status: str


def rows(plan: Plan) -> Iterator[Row]:
    """The table of stages."""
    known = {str(one.folder): f"@{one.name}" for one in plan.stages}
    for stage in plan.stages:
        config, out = stage.config, stage.outcome
        sources = (("init", config.init), ("teacher", config.distill.teacher))
        inputs = [f"{word} {known.get(source, source)}" for word, source in sources if source]
        yield Row(
            stage.name,
            config.stage,
            "\n".join(inputs) or "random weights",
            out.depth,
            out.mlp_ratio,
            parameters(out),
            multiply_adds(out),
            config.optim.steps,
            stage.samples_of_a_step,
            status(stage),
        )


def run_plan(
    plan: Plan,
    *,
    minutes: float | None = None,
    say: Callable[[str], None] = _logger.info,
) -> Path | None:
    """Run the stages that are not done, in order, and write the report after each.

    Args:
        plan: What to do.
        minutes: Wall-clock budget of all stages together; the stage in hand ends with a checkpoint.
        say: Told of each stage as it begins.

    Returns:
        The report, or None where time was over before the last stage was done.

    Raises:
        ConfigError: a teacher and a student that do not fit, a teacher that is missing, or stages
            that were begun with something else.
        MixFormerError: as `train`.
    """
    check_minutes(minutes)
    missing = check_plan(plan)
    if missing:
        raise ConfigError("; ".join(missing))
    check_records(plan)
    began, report = time.monotonic(), None
    for stage in plan.stages:
        state = status(stage)
        if state == "done":
            say(f"{stage.name}: done, skipped")
            continue
        left = None if minutes is None else minutes - (time.monotonic() - began) / 60
        if left is not None and left <= 0:
            return None
        say(f"{stage.name}: {_goes_on(state)}")
        with one_writer(stage.folder):  # not over the record of another that trains there
            remember(stage)
        train(stage.config, stage.folder, minutes=left)
        report = _report(plan)
        state = status(stage)
        if state.startswith("step"):
            return None
        if state != "done":
            say(f"{stage.name}: {state}, for it failed")
    if _is_first() and measure_given(plan, say):
        report = None
    return _report(plan) if report is None else report


def _report(plan: Plan) -> Path:
    """Written by the first process alone."""
    from .report import write_report

    return write_report(plan) if _is_first() else plan.out / "report.html"


def _is_first() -> bool:
    """Whether this is the process that speaks for all, under torchrun."""
    return int(os.environ.get("RANK", "0")) == 0


def _goes_on(state: str) -> str:
    if state == "to do":
        return "begins"
    return f"goes on at {state}" if state.startswith("step") else state
