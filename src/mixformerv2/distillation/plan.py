"""Plans: the stages from a teacher to a small tracker, in one file (no PyTorch here).

```yaml
name: small
preset: paper            # or published, or none
common: {bank: pictures, optim: {batch: 32}}     # settings of every stage
stages:
  - name: sparse                                 # its run is OUT/sparse
    stage: dense_to_sparse                       # and any other setting of `mixformerv2 train`
    epochs: 500                                  # or optim.steps
    distill: {teacher: weights/mixvit_b}         # a bundle or a run,
  - name: shallow
    stage: depth_pruning
    distill: {teacher: "@sparse"}                # or a stage above
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from ..errors import ConfigError, MixFormerError
from ..models.config import ModelConfig
from ..settings import build, merge, parse_overrides, read_yaml
from ..training.config import TrainConfig, check_sizes
from .presets import (
    EPOCH,
    JOINT_BATCH,
    PresetName,
    epochs_of,
    expand,
    settings_of,
    special_settings,
)

__all__ = ["Plan", "PlannedStage", "read_plan"]

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class PlannedStage:
    """One run of a plan.

    Attributes:
        name: Of the stage; its run's folder is called so.
        config: The run's settings, references to other stages resolved to folders.
        folder: The run's folder.
        needs: Names of stages whose outcome it takes.
    """

    name: str
    config: TrainConfig
    folder: Path
    needs: tuple[str, ...] = ()

    @property
    def outcome(self) -> ModelConfig:
        """The network that comes out."""
        from ..training.outcome import without_layers
        from ..training.stage import make_stage

        removed = make_stage(self.config).removed(self.config.optim.steps)
        return without_layers(self.config.network, removed) if removed else self.config.network


@dataclass(frozen=True)
class Plan:
    """Stages in the order in which they run.

    Attributes:
        name: For the report.
        preset: Whose recipe.
        out: Folder of all runs and the report.
        stages: The runs.
        about: The file's first comment, for the report.
    """

    name: str
    preset: PresetName
    out: Path
    stages: tuple[PlannedStage, ...]
    about: str = ""

    def stage(self, name: str) -> PlannedStage:
        """A stage by its name."""
        return next(one for one in self.stages if one.name == name)


@dataclass(frozen=True)
class _File:
    """The file's own keys."""

    name: str
    preset: PresetName = "none"
    out: Path | None = None
    common: dict[str, Any] = field(default_factory=dict)
    joint_batch: int = 0


def read_plan(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    preset: str | None = None,
    out: Path | None = None,
) -> Plan:
    """Read a plan and check every setting of every stage.

    Args:
        path: The YAML file.
        overrides: `key=value` for every stage, or `STAGE.key=value` for one.
        preset: Instead of the file's.
        out: Folder of the runs, instead of the file's; else `runs/NAME`.

    Raises:
        ConfigError: what is wrong, in which stage.
    """
    values = read_yaml(path)
    stages = values.get("stages")
    if not isinstance(stages, list) or not stages:
        raise ConfigError(f"{path} must have a list `stages` with at least one stage")
    values = {"name": path.stem, **{k: v for k, v in values.items() if k != "stages"}}
    if preset is not None:
        if preset not in get_args(PresetName):
            raise ConfigError(
                f"preset must be one of {', '.join(get_args(PresetName))}, got {preset!r}"
            )
        values["preset"] = preset
    file = build(_File, values)
    folder = out or file.out or Path("runs") / file.name
    entries = expand(file.preset, [_entry(stage, path) for stage in stages])
    names = [entry["name"] for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path} has two stages called {twice[0]}; their runs would be one")
    general, special = _divide(overrides, names)
    made: list[PlannedStage] = []
    for entry in entries:
        try:
            made.append(_stage(entry, file, general, special.get(entry["name"], {}), folder, made))
        except ConfigError as error:
            raise ConfigError(f"{path}, stage {entry['name']}: {error}") from error
    return Plan(file.name, file.preset, folder, tuple(made), _about(path))


def _entry(stage: Any, path: Path) -> dict[str, Any]:
    if not isinstance(stage, Mapping) or not isinstance(stage.get("name"), str):
        raise ConfigError(f"{path}: each of `stages` is a table with a name, got {stage!r}")
    if not _NAME.fullmatch(stage["name"]):
        raise ConfigError(
            f"{path}: a stage's name is the name of a folder, of letters, digits, _ and -, got "
            f"{stage['name']!r}"
        )
    return dict(stage)


def _divide(
    overrides: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Overrides for all stages, and for single ones."""
    values = parse_overrides(overrides)
    special = {name: values.pop(name) for name in names if name in values}
    for name, value in special.items():
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is a stage; change its settings as {name}.optim.lr=1e-4")
    return values, special


def _stage(
    entry: dict[str, Any],
    file: _File,
    general: dict[str, Any],
    special: dict[str, Any],
    folder: Path,
    before: list[PlannedStage],
) -> PlannedStage:
    name, kind = entry["name"], entry.get("stage", "box")
    settings = {key: value for key, value in entry.items() if key not in ("name", "epochs")}
    for part in (file.common, settings, general, special):
        _refuse_unknown(part)
    values: dict[str, Any] = settings_of(file.preset)
    for part in (file.common, special_settings(file.preset, kind), settings, general, special):
        values = merge(values, part)
    # A stage that names its model takes nothing of a common one.
    if "model" in settings and "name" in settings["model"]:
        values["model"] = merge(
            merge(settings["model"], general.get("model", {})), special.get("model", {})
        )
    needs = []
    for where in (("init",), ("distill", "teacher")):
        reference = _find(values, where)
        if isinstance(reference, str) and reference.startswith("@"):
            known = {one.name: one for one in before}
            if reference[1:] not in known:
                raise ConfigError(
                    f"{'.'.join(where)} names {reference}, but the stages before it are "
                    f"{', '.join(known) or 'none'}"
                )
            needs.append(reference[1:])
            values = merge(values, _nested(where, str(known[reference[1:]].folder)))
    config = build(TrainConfig, values)
    chosen = ("steps" in general.get("optim", {})) or ("steps" in special.get("optim", {}))
    if chosen or ("steps" in values.get("optim", {}) and "epochs" not in entry):
        config = _with_joint_batch(config, file)
    else:
        epochs = entry.get("epochs") or epochs_of(file.preset, kind)
        config = _with_joint_batch(config, file, epochs)
    check_sizes(config)
    return PlannedStage(name, config, folder / name, tuple(dict.fromkeys(needs)))


def _refuse_unknown(part: Mapping[str, Any]) -> None:
    known = TrainConfig.__dataclass_fields__
    for key in part:
        if key not in known:
            raise ConfigError(f"unknown setting {key!r}; known here are {', '.join(known)}")


def _with_joint_batch(config: TrainConfig, file: _File, epochs: float | None = None) -> TrainConfig:
    """Accumulate until a step has the samples of the recipe, on however many devices."""
    joint = file.joint_batch or (JOINT_BATCH if file.preset != "none" else 0)
    optim = config.optim
    if joint:
        devices = int(os.environ.get("WORLD_SIZE", "1"))
        batch = min(optim.batch, max(1, joint // devices))
        optim = replace(optim, batch=batch, accumulate=max(1, round(joint / (batch * devices))))
    if epochs is not None:
        steps = max(1, round(epochs * EPOCH / (joint or optim.batch * optim.accumulate)))
        optim = replace(optim, steps=steps, warmup=min(optim.warmup, steps - 1))
    return replace(config, optim=optim)


def _find(values: Mapping[str, Any], where: tuple[str, ...]) -> Any:
    found: Any = values
    for key in where:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _nested(where: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(where):
        value = {key: value}
    out: dict[str, Any] = value
    return out


def _about(path: Path) -> str:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return "\n".join(lines)


def check_plan(plan: Plan) -> list[str]:
    """Hold each stage to its teacher before anything is trained.

    Teachers from outside the plan are read where they are there; what is missing is returned as
    sentences.

    Raises:
        ConfigError: a teacher and a student that do not fit.
    """
    from ..training.stage import make_stage
    from ..training.transfer import is_backbone
    from .distill import DistillStage

    missing = []
    outcomes: dict[str, ModelConfig] = {}
    for planned in plan.stages:
        stage = make_stage(planned.config)
        teacher = planned.config.distill.teacher
        try:
            if isinstance(stage, DistillStage):
                network = outcomes.get(teacher) or _network_of(teacher)
                stage.match(network)
                if planned.config.init is None and planned.config.distill.start == "teacher":
                    stage.check_start(network)
            init = planned.config.init
            if init is not None and init not in outcomes and not is_backbone(init):
                _network_of(init)
        except ConfigError as error:
            raise ConfigError(f"stage {planned.name}: {error}") from error
        except MixFormerError as error:
            missing.append(f"stage {planned.name}: {error}")
        outcomes[str(planned.folder)] = planned.outcome
    return missing


def _network_of(source: str) -> ModelConfig:
    """The architecture of a run or a bundle."""
    from ..training.outcome import read_network

    if not source:
        raise ConfigError("this stage needs a teacher; set distill.teacher to a run or a bundle")
    return read_network(source)
