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

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..models.config import ModelConfig
from ..settings import build, merge, parse_overrides, read_yaml
from ..training.config import TrainConfig, check_sizes
from .presets import (
    EPOCH,
    FADE_EPOCHS,
    JOINT_BATCH,
    PresetName,
    epochs_of,
    fade_name,
    is_twofold,
    settings_of,
    special_settings,
    trained_on,
)

__all__ = ["Plan", "PlannedStage", "read_plan"]

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_REFERENCES = (("init",), ("distill", "teacher"))
"""Settings that may name another stage."""
_TABLES = ("model", "data", "optim", "loss", "distill", "prune", "eval", "mae")
MOST_EPOCHS = 1_000_000


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
    def samples_of_a_step(self) -> int:
        """On all devices together."""
        optim = self.config.optim
        return optim.batch * optim.accumulate * int(os.environ.get("WORLD_SIZE", "1"))

    @property
    def outcome(self) -> ModelConfig:
        """The network that comes out.

        Raises:
            ConfigError: layers to drop that are not there.
        """
        from ..training.outcome import without_layers
        from ..training.stage import make_stage

        try:
            removed = make_stage(self.config).removed(self.config.optim.steps)
        except ConfigError as error:
            raise ConfigError(f"stage {self.name}: {error}") from error
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

    @property
    def result(self) -> str | None:
        """The command that tracks with what comes out; None where no stage trains a tracker."""
        trackers = [one for one in self.stages if one.config.stage != "mae"]
        if not trackers:
            return None
        return f"mixformerv2 track clip.mp4 --box x,y,w,h --model {trackers[-1].folder / 'bundle'}"


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
        values["preset"] = preset
    file = _file(values, path)
    folder = out or file.out or Path("runs") / file.name
    entries = [_entry(stage, path) for stage in stages]
    names = [entry["name"] for entry in entries]
    _refuse_twice(names, path)
    general, special = _divide(overrides, names)
    file = replace(file, joint_batch=_joint_batch(general.pop("joint_batch", file.joint_batch)))
    made: list[PlannedStage] = []
    for entry in entries:
        try:
            for stage in _runs_of(entry, file, general, special):
                made.append(_planned(stage, file, folder, made))
        except ConfigError as error:
            raise ConfigError(f"{path}, stage {entry['name']}: {error}") from error
    _refuse_twice([one.name for one in made], path)
    return Plan(file.name, file.preset, folder, tuple(made), _about(path))


def _file(values: dict[str, Any], path: Path) -> _File:
    known = _File.__dataclass_fields__
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{path}: unknown key {key!r}; a plan has {', '.join(known)} and stages"
            )
    try:
        return build(_File, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _entry(stage: Any, path: Path) -> dict[str, Any]:
    if not isinstance(stage, Mapping) or not isinstance(stage.get("name"), str):
        raise ConfigError(f"{path}: each of `stages` is a table with a name, got {stage!r}")
    if not _NAME.fullmatch(stage["name"]):
        raise ConfigError(
            f"{path}: a stage's name is the name of a folder, of letters, digits, _ and -, got "
            f"{stage['name']!r}"
        )
    return dict(stage)


def _refuse_twice(names: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path} has two stages called {twice[0]}; their runs would be one")


def _divide(
    overrides: Sequence[str], stages: Sequence[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Overrides for all stages, and for single ones."""
    values = parse_overrides(overrides)
    names = dict.fromkeys([*stages, *map(fade_name, stages)])
    special = {name: values.pop(name) for name in names if name in values}
    for name, value in special.items():
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is a stage; change its settings as {name}.optim.lr=1e-4")
    for name in values:
        if name not in TrainConfig.__dataclass_fields__ and name != "joint_batch":
            raise ConfigError(
                f"{name} is neither a setting nor a stage; the stages are {', '.join(stages)}"
            )
    return values, special


@dataclass(frozen=True)
class _Stage:
    """A stage with all its settings laid over each other, before references are resolved.

    Attributes:
        name: Of the stage.
        values: Settings of `TrainConfig`.
        epochs: How long it trains; None where `optim.steps` says so, 0 where the preset does.
    """

    name: str
    values: dict[str, Any]
    epochs: float | None


def _runs_of(
    entry: dict[str, Any],
    file: _File,
    general: dict[str, Any],
    special: dict[str, dict[str, Any]],
) -> list[_Stage]:
    """The runs of a stage of the file: one, or two for published depth pruning.

    What the command line says of NAME counts for both, of NAME_fade for the first alone.
    """
    name = entry["name"]
    values = _values(entry, file, general, special.get(name, {}))
    epochs = _epochs(entry, values, (general, special.get(name, {})))
    if not is_twofold(file.preset, values):
        if fade_name(name) in special:
            raise ConfigError(f"there is no stage {fade_name(name)} in this plan")
        return [_Stage(name, values, epochs)]
    own = special.get(fade_name(name), {})
    _refuse_unknown(own)
    first = merge(values, own)
    depth = build(TrainConfig, first).network.depth
    if "steps" in own.get("optim", {}):
        fade_epochs = None
    else:
        fade_epochs = None if epochs is None else float(FADE_EPOCHS)
    return [
        _Stage(fade_name(name), first, fade_epochs),
        _Stage(name, trained_on(name, values, depth), epochs),
    ]


def _values(
    entry: dict[str, Any], file: _File, general: dict[str, Any], special: dict[str, Any]
) -> dict[str, Any]:
    """All settings of a stage, from those of the preset to those of the command line."""
    settings = {key: value for key, value in entry.items() if key not in ("name", "epochs")}
    for part in (file.common, settings, general, special):
        _refuse_unknown(part)
    values: dict[str, Any] = settings_of(file.preset)
    kind = settings.get("stage", "box")
    for part in (file.common, special_settings(file.preset, kind), settings, general, special):
        values = merge(values, part)
    # A stage that names its model takes nothing of a common one.
    if "name" in settings.get("model", {}):
        values["model"] = merge(
            merge(settings["model"], general.get("model", {})), special.get("model", {})
        )
    return values


def _epochs(
    entry: dict[str, Any],
    values: dict[str, Any],
    command: tuple[dict[str, Any], dict[str, Any]],
) -> float | None:
    """Epochs of a stage, 0 for those of the preset, or None where its steps are given.

    Raises:
        ConfigError: no number above 0, or both are given.
    """
    epochs = entry.get("epochs")
    if epochs is not None:
        wrong = isinstance(epochs, bool) or not isinstance(epochs, int | float)
        if wrong or not 0 < epochs <= MOST_EPOCHS:
            raise ConfigError(
                f"epochs must be a number above 0 and at most {MOST_EPOCHS}, got {epochs!r}"
            )
        if "steps" in entry.get("optim", {}):
            raise ConfigError("give either epochs or optim.steps, not both")
    if any("steps" in part.get("optim", {}) for part in command):
        return None
    if epochs is None and "steps" in values.get("optim", {}):
        return None
    return epochs or 0


def _planned(stage: _Stage, file: _File, folder: Path, before: list[PlannedStage]) -> PlannedStage:
    values, needs = stage.values, []
    for where in _REFERENCES:
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
    epochs = epochs_of(file.preset, config.stage) if stage.epochs == 0 else stage.epochs
    config = _with_joint_batch(config, file, epochs)
    check_sizes(config)
    return PlannedStage(stage.name, config, folder / stage.name, tuple(dict.fromkeys(needs)))


def _refuse_unknown(part: Mapping[str, Any]) -> None:
    known = TrainConfig.__dataclass_fields__
    for key, value in part.items():
        if key not in known:
            raise ConfigError(f"unknown setting {key!r}; known here are {', '.join(known)}")
        if key in _TABLES and not isinstance(value, Mapping):
            raise ConfigError(f"{key} must be a table of settings, got {value!r}")


def _joint_batch(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"joint_batch is the samples of a step, a whole number, got {value!r}")
    return value


def _with_joint_batch(config: TrainConfig, file: _File, epochs: float | None) -> TrainConfig:
    """Accumulate until a step has the samples of the recipe, on however many devices.

    Where they cannot be divided so, a step has as nearly as many as can.
    """
    joint = file.joint_batch or (JOINT_BATCH if file.preset != "none" else 0)
    optim, devices = config.optim, int(os.environ.get("WORLD_SIZE", "1"))
    if joint:
        share = joint / devices
        accumulate = max(1, math.ceil(share / optim.batch))
        batch = max(1, round(share / accumulate))
        optim = replace(optim, batch=batch, accumulate=accumulate)
    if epochs is not None:
        steps = max(1, round(epochs * EPOCH / (optim.batch * optim.accumulate * devices)))
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
