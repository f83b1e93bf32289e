"""How well the teachers that a plan was given track: the first row of Tables 3h and 3i."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import WeightsError
from ..training.config import EvalConfig
from ..training.judge import Judge
from ..training.origin import identity_of
from ..weights.bundle import find_bundle
from ..weights.files import make_folder, write_whole
from .plan import Plan

__all__ = ["auc_of", "given_teachers", "measure_given"]


def given_teachers(plan: Plan) -> Iterator[str]:
    """The teachers from outside a plan, each once."""
    made = {str(one.folder) for one in plan.stages}
    named = (one.config.distill.teacher for one in plan.stages)
    yield from dict.fromkeys(name for name in named if name and name not in made)


def measure_given(plan: Plan, say: Callable[[str], None]) -> bool:
    """Track with each of them on what the stages were evaluated on, once, and keep the AUC.

    Each has its own crops and tracks as its own bundle says.

    Returns:
        Whether there is a figure that was not there before.

    Raises:
        DataError: the sequences cannot be read.
        OutputError: the figures cannot be kept.
    """
    measured = False
    for name in given_teachers(plan):
        config = _evaluation(plan, name)
        if config.root is None or auc_of(plan, name) is not None:
            continue
        try:
            bundle = find_bundle(name)
        except WeightsError:  # a run that was stopped has a checkpoint alone
            say(f"{name}: has no bundle, so that its AUC is not measured")
            continue
        say(f"{name}: tracking {config.root}, for the first row of the table")
        figures = Judge(config).figures(bundle)
        if "auc" in figures:
            known = {**_read(plan), _key(name, config): figures["auc"]}
            make_folder(plan.out)
            write_whole(_path(plan), (json.dumps(known, indent=1) + "\n").encode())
            measured = True
    return measured


def auc_of(plan: Plan, name: str) -> float | None:
    """What `measure_given` found, for these weights and this evaluation; else None."""
    value = _read(plan).get(_key(name, _evaluation(plan, name)))
    return value if isinstance(value, float) else None


def _evaluation(plan: Plan, name: str) -> EvalConfig:
    """Of the first stage under that teacher that is evaluated, if one is."""
    found = [s.config.eval for s in plan.stages if s.config.distill.teacher == name]
    return next((one for one in found if one.root is not None), found[0])


def _key(name: str, config: EvalConfig) -> str:
    return f"{identity_of(name)} on {config.what}"


def _path(plan: Plan) -> Path:
    return plan.out / "given.json"


def _read(plan: Plan) -> dict[str, object]:
    try:
        found = json.loads(_path(plan).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
