"""What each stage of a plan was begun with, how far it is, and whether both still hold.

`stage.json` in a stage's folder is written before its first step, and holds from its first
checkpoint on: before that there is nothing that other settings could be mixed with. It has the
settings that decide the numbers, and which weights the stage takes: by what they are, not by where
they lie, so that a plan's folder may be moved, and a teacher that was trained anew is noticed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import ConfigError, WeightsError
from ..training.checkpoint import load_checkpoint
from ..training.log import read_log
from ..training.origin import THRESHOLDS, identity_of
from ..training.stage import make_stage
from ..weights.bundle import read_config
from ..weights.files import make_folder, write_whole
from .plan import Plan, PlannedStage

__all__ = ["check_records", "last_evaluation", "remember", "status"]

_UNDER_WAY = ("to do", "step ")

_FREE = (
    "model", "init", "distill.teacher",  # compared as the network, and by their weights
    "bank", "clips", "data.sets",  # places, which differ between machines
    "tracker", "eval", "precision", "device", "strategy", "threads", "workers", "log_every",
    "save_minutes",
    "data.at_once", "optim.steps", "optim.batch", "optim.accumulate", "optim.compile",
    "optim.fused", "optim.channels_last", "optim.blend",
)  # fmt: skip
"""Settings that may change while a stage is under way, or that are compared in another form."""
_SAMPLES = "samples of a step"
_NEAR = 0.1
"""A step's samples cannot always be divided evenly among devices."""


def status(stage: PlannedStage) -> str:
    """How far a stage is: "done", "step 40 of 100", "bundle to do", "to do" and the like."""
    if not _has_checkpoint(stage):
        return "to do"
    state = load_checkpoint(stage.folder, lazy=True)
    assert state is not None
    steps = stage.config.optim.steps
    if state["step"] < steps:
        return f"step {state['step']} of {steps}"
    is_tracker = make_stage(stage.config).network(state["step"]) is not None
    if is_tracker and not _has_bundle(stage):
        return "bundle to do"
    if is_tracker and stage.config.eval.root is not None and last_evaluation(stage) is None:
        return "evaluation to do"
    return "done"


def last_evaluation(stage: PlannedStage) -> float | None:
    """AUC of what came out; None where it was not tracked after the last step, or on other videos.

    Where the plan names no videos, that of those which it was tracked on last.
    """
    state = load_checkpoint(stage.folder, lazy=True)
    last = 0 if state is None else state["step"]
    config = stage.config.eval
    found = [
        row["eval_auc"]
        for row in read_log(stage.folder)
        if "eval_auc" in row
        and row["step"] >= last
        and (config.root is None or row.get("evaluated", config.what) == config.what)
    ]
    return found[-1] if found else None


def remember(stage: PlannedStage) -> None:
    """Write what a stage begins with.

    Raises:
        OutputError: it cannot be written.
    """
    path = make_folder(stage.folder) / "stage.json"
    if (path.exists() and _has_checkpoint(stage)) or os.environ.get("RANK", "0") != "0":
        return
    text = json.dumps({"settings": _settings(stage), "weights": _weights(stage)}, indent=1)
    write_whole(path, (text + "\n").encode())


def check_records(plan: Plan) -> None:
    """Refuse stages that were begun with something else than the plan has now.

    Raises:
        ConfigError: which stage, what differs, and the ways out.
    """
    waiting: set[str] = set()
    for stage in plan.stages:
        before = _read(stage)
        if before is not None:
            _compare(stage, before)
            late = [name for name in stage.needs if name in waiting]
            if late:
                raise ConfigError(
                    f"stage {stage.name} was begun when {late[0]} was done, which it is no longer; "
                    f"remove {stage.folder} too, to train it anew after {late[0]}"
                )
            _compare_weights(stage, before)
        # Where a bundle or a figure alone is to do, the weights are those that others took.
        if status(stage).startswith(_UNDER_WAY):
            waiting.add(stage.name)


def _compare(stage: PlannedStage, before: Mapping[str, Any]) -> None:
    now = _settings(stage)
    changed = []
    for name, old in before["settings"].items():
        new = now.get(name, old)
        if name == _SAMPLES and abs(new - old) <= _NEAR * old:
            continue
        if new != old:
            changed.append(f"{name} {old!r}, now {new!r}")
    if changed:
        raise ConfigError(
            f"stage {stage.name} was begun with {'; '.join(changed[:4])}; remove {stage.folder} to "
            f"train it anew, {stage.folder / 'stage.json'} alone to leave what was trained so, or "
            "give the plan another --out"
        )


def _compare_weights(stage: PlannedStage, before: Mapping[str, Any]) -> None:
    now = _weights(stage)
    for name, old in before["weights"].items():
        if now.get(name, "nothing") != old:
            raise ConfigError(
                f"stage {stage.name} was begun with other weights as {name} ({old}, now "
                f"{now.get(name, 'nothing')}); remove {stage.folder} to train it anew"
            )


def _settings(stage: PlannedStage) -> dict[str, Any]:
    """What decides the numbers of a run, apart from its length, its places and its devices."""
    config = stage.config
    values = {
        name: value
        for name, value in _flat(asdict(config))
        if not any(name == free or name.startswith(f"{free}.") for free in _FREE)
    }
    values |= dict(_flat({"model": config.network.to_dict()}))
    values[_SAMPLES] = stage.samples_of_a_step
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def _weights(stage: PlannedStage) -> dict[str, str]:
    """Which weights a stage takes."""
    named = {"init": stage.config.init, "teacher": stage.config.distill.teacher}
    return {name: identity_of(source) for name, source in named.items() if source}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read(stage: PlannedStage) -> dict[str, Any] | None:
    """What a stage was begun with; None where that is not known, or nothing came of it."""
    path: Path = stage.folder / "stage.json"
    if not _has_checkpoint(stage):
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(found, dict) and {"settings", "weights"} <= set(found)
    return found if known else None


def _has_bundle(stage: PlannedStage) -> bool:
    """Whether there is a bundle that tracks as the plan says now."""
    try:
        found = asdict(read_config(stage.folder / "bundle").tracker)
    except WeightsError:
        return False
    # Thresholds may be others: those of the first weights, or found out since.
    left = {name: value for name, value in found.items() if name in THRESHOLDS}
    return found == asdict(stage.config.tracker_settings(left))


def _has_checkpoint(stage: PlannedStage) -> bool:
    return (stage.folder / "checkpoint.pt").exists()
