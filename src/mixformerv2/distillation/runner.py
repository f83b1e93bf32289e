"""Carry a plan out: what is done is skipped, what was stopped goes on."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..models.count import multiply_adds, parameters
from ..training.checkpoint import load_checkpoint
from ..training.loop import train
from .plan import Plan, PlannedStage, check_plan

__all__ = ["Row", "rows", "run_plan", "status"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A line of the table of stages.

    Attributes:
        name: Of the stage.
        kind: Of training.
        inputs: What it takes: stages, bundles or runs.
        output: Folder of its run.
        network: What comes out, in words.
        steps: Of its schedule.
        status: "done", "step 40 of 100" or "to do".
    """

    name: str
    kind: str
    inputs: str
    output: str
    network: str
    steps: int
    status: str


def status(stage: PlannedStage) -> str:
    """How far a stage is: "done", "step 40 of 100" or "to do"."""
    checkpoint = stage.folder / "checkpoint.pt"
    if not checkpoint.exists():
        return "to do"
    state = load_checkpoint(stage.folder, lazy=True)
    assert state is not None
    steps = stage.config.optim.steps
    if state["step"] >= steps:
        return "done"
    return f"step {state['step']} of {steps}"


def rows(plan: Plan) -> Iterator[Row]:
    """The table of stages."""
    for stage in plan.stages:
        config, out = stage.config, stage.outcome
        inputs = []
        for word, source in (("init", config.init), ("teacher", config.distill.teacher)):
            if source:
                known = {str(one.folder): f"@{one.name}" for one in plan.stages}
                inputs.append(f"{word} {known.get(source, source)}")
        network = (
            f"{out.depth} layers, MLP {out.mlp_ratio:g}, {parameters(out) / 1e6:.1f} M, "
            f"{multiply_adds(out) / 1e9:.2f} G"
        )
        yield Row(
            stage.name,
            config.stage,
            ", ".join(inputs) or "random weights",
            str(stage.folder),
            network,
            config.optim.steps,
            status(stage),
        )


def run_plan(
    plan: Plan,
    *,
    minutes: float | None = None,
    say: Callable[[str], None] = _logger.info,
) -> Path | None:
    """Run the stages that are not done, in order, and write the report.

    Args:
        plan: What to do.
        minutes: Wall-clock budget of all stages together; the stage in hand ends with a checkpoint.
        say: Told of each stage as it begins.

    Returns:
        The report, or None where time was over before the last stage was done.

    Raises:
        ConfigError: a teacher and a student that do not fit, or a teacher that is missing.
        MixFormerError: as `train`.
    """
    from .report import write_report

    missing = check_plan(plan)
    if missing:
        raise ConfigError("; ".join(missing))
    began = time.monotonic()
    for stage in plan.stages:
        _refuse_other_settings(stage)
        state = status(stage)
        if state == "done":
            say(f"{stage.name}: done, skipped")
            continue
        left = None if minutes is None else minutes - (time.monotonic() - began) / 60
        if left is not None and left <= 0:
            return None
        say(f"{stage.name}: {'goes on at ' + state if state != 'to do' else 'begins'}")
        train(stage.config, stage.folder, minutes=left)
        _remember(stage)
        if status(stage) != "done":
            return None
    if int(os.environ.get("RANK", "0")):
        return plan.out / "report.html"  # the first process writes it
    return write_report(plan)


def _settings(stage: PlannedStage) -> dict[str, object]:
    """What decides the numbers of a run, apart from its length and its devices."""
    config = stage.config
    return {
        "stage": config.stage,
        "init": config.init,
        "teacher": config.distill.teacher,
        "network": config.network.to_dict(),
    }


def _remember(stage: PlannedStage) -> None:
    text = json.dumps(_settings(stage), indent=1, default=str)
    if int(os.environ.get("RANK", "0")) == 0:
        (stage.folder / "stage.json").write_text(text + "\n", encoding="utf-8")


def _refuse_other_settings(stage: PlannedStage) -> None:
    """A stage that is done with another teacher or network is not this plan's stage."""
    path = stage.folder / "stage.json"
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return
    now = json.loads(json.dumps(_settings(stage), default=str))
    changed = sorted(key for key in now if before.get(key) != now[key])
    if changed:
        raise ConfigError(
            f"stage {stage.name} was run with another {', '.join(changed)}; remove "
            f"{stage.folder} to run it again, or give the plan another --out"
        )
