"""Whether the stages of a plan fit each other, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

import torch

from ..errors import ConfigError, WeightsError
from ..models.config import ModelConfig
from ..training.config import TrainConfig
from ..video.address import is_remote
from ..weights.mae import choose_layers
from .plan import Plan
from .records import status

__all__ = ["check_plan"]

_BACKBONE = ("width", "hidden", "patch_size", "stem")
"""What two networks must share for one to take the other's layers."""


@dataclass(frozen=True)
class _Source:
    """What a stage, a run or a bundle has for the next one.

    Attributes:
        network: Its architecture.
        dense: Whether there is a dense head; None where nobody has looked.
        tracker: Whether there are heads at all; a pre-trained backbone has none.
    """

    network: ModelConfig
    dense: bool | None = None
    tracker: bool = True


def check_plan(plan: Plan) -> list[str]:
    """Hold each stage to its teacher and to what it begins with.

    Teachers from outside the plan are read where they are there; what is missing, data too, is
    returned as sentences.

    Raises:
        ConfigError: two that do not fit, and which setting changes it.
    """
    missing = []
    data: dict[str, list[str]] = {}
    known: dict[str, _Source] = {}
    for planned in plan.stages:
        config = planned.config
        try:
            missing += [f"stage {planned.name}: {one}" for one in _check_stage(config, known)]
        except ConfigError as error:
            raise ConfigError(f"stage {planned.name}: {error}") from error
        if status(planned) != "done":
            for one in _missing_data(config):
                data.setdefault(one, []).append(planned.name)
        outcome = planned.outcome
        dense = outcome.corner_head or (config.stage != "mae" and config.loss.has_dense)
        known[str(planned.folder)] = _Source(outcome, dense, config.stage != "mae")
    missing += [f"{one} (stage {', '.join(names)})" for one, names in data.items()]
    return missing


def _missing_data(config: TrainConfig) -> Iterator[str]:
    """What a run reads that is not there, with the setting that names it."""
    reads_bank = config.data.needs_bank(config.clips is not None)
    places: list[tuple[str, str | Path | None]] = [
        ("bank", config.bank if reads_bank else None),
        ("clips", config.clips),
        ("eval.root", config.eval.root),
    ]
    for number, one in enumerate(config.data.sets):
        places += [(f"data.sets[{number}].root", one.root)]
        places += [(f"data.sets[{number}].names", one.names)]
    for setting, place in places:
        if place is None or is_remote(str(place)) or has_magic(str(place)):
            continue
        if not Path(place).exists():
            yield f"{setting} {place} is not there"


def _check_stage(config: TrainConfig, known: dict[str, _Source]) -> list[str]:
    """What of a stage's init and teacher is not there."""
    from ..models.heads import bins_of_a_token
    from ..training.stage import make_stage
    from ..training.transfer import is_backbone
    from .depth_pruning import DepthPruningStage
    from .distill import DistillStage

    stage, student, missing = make_stage(config), config.network, []
    if config.stage == "score":
        _check_score(config, student)
    if config.stage == "mae":
        _check_mae(config)
    if config.stage != "mae" and config.loss.has_dense and student.prediction_tokens:
        bins_of_a_token(student)
    if config.init is not None:
        source = known.get(config.init)
        if source is None and is_backbone(config.init):
            _check_backbone(config, config.init, stage.layers_of(config.init))
        elif source is None:
            try:
                source = _Source(_network_of(config.init))
            except WeightsError as error:
                missing.append(str(error))
        if source is not None:
            _check_init(config, student, source)
            if isinstance(stage, DepthPruningStage) and not stage.drop:
                depth, pre_trained = source.network.depth, not source.tracker
                stage.check_source(config.init, depth, pre_trained=pre_trained)
    if isinstance(stage, DistillStage):
        name = config.distill.teacher
        try:
            teacher = known.get(name) or _given(config, name)
        except WeightsError as error:
            return [*missing, str(error)]
        _check_teacher(config, name, teacher, stage.prefers_dense)
        stage.match(teacher.network)
        if config.init is None and config.distill.start == "teacher":
            stage.check_start(teacher.network)
    return missing


def _check_score(config: TrainConfig, student: ModelConfig) -> None:
    if not student.score_head:
        raise ConfigError("the score stage needs a network with a score head; set model.score_head")
    if config.init is None:
        raise ConfigError(
            "the score stage leaves the boxes as they are, and without init they are random; set "
            "init to the stage, run or bundle that gets the score"
        )


def _check_mae(config: TrainConfig) -> None:
    from ..models.mae import MaskedAutoencoder

    mae = config.mae
    with torch.device("meta"):
        MaskedAutoencoder(config.network, mae.share, mae.decoder_width, mae.decoder_depth)


def _is_mae(name: str) -> bool:
    """Whether a teacher from outside the plan is a run of pre-training."""
    from ..training.transfer import is_backbone

    return Path(name).is_dir() and is_backbone(name)


def _check_init(config: TrainConfig, student: ModelConfig, source: _Source) -> None:
    """As `training.transfer.start_from` takes it."""
    theirs = source.network
    names = list(_BACKBONE)
    # Fewer layers may be taken of a pre-trained backbone, and by the ways of Table 3e.
    shorter = config.stage == "depth_pruning" and config.prune.method != "fade"
    same_family = source.tracker and theirs.corner_head == student.corner_head
    if same_family and not shorter:
        names += ["depth", "box_head", *(["head_channels"] if student.corner_head else [])]
    for name in names:
        if getattr(theirs, name) != getattr(student, name):
            setting = "mlp_ratio" if name == "hidden" else name
            raise ConfigError(
                f"init has {name} {getattr(theirs, name)}, the model here "
                f"{getattr(student, name)}; set model.{setting}, or give other weights as init"
            )
    if theirs.depth < student.depth:
        raise ConfigError(
            f"init has {theirs.depth} layers, too few for model.depth={student.depth}"
        )
    if not source.tracker or theirs.corner_head != student.corner_head:
        choose_layers(theirs.depth, student.depth, config.init_layers)


def _check_backbone(config: TrainConfig, source: str, layers: str) -> None:
    """Of a pre-trained backbone that the plan did not make, as `start_from` takes it."""
    from ..training.transfer import check_backbone

    if config.stage == "mae":  # begins with runs of its own kind alone
        return
    try:
        check_backbone(config.network, source, layers)
    except WeightsError as error:
        raise ConfigError(str(error)) from error


def _check_teacher(config: TrainConfig, name: str, teacher: _Source, prefers_dense: bool) -> None:
    if not teacher.tracker:
        raise ConfigError(
            f"the teacher {name} is pre-trained on masked pictures and answers no boxes; it can be "
            "init, not distill.teacher"
        )
    if config.distill.head == "dense" and teacher.dense is False:
        raise ConfigError(
            f"the teacher {name} has or will have no dense head; set distill.head to tokens, or "
            "loss.dense where the teacher is trained"
        )
    asks_dense = config.distill.head == "dense" or (
        config.distill.head == "auto" and prefers_dense and teacher.dense is not False
    )
    if teacher.network.box_head == "one_token_direct" and not asks_dense:
        raise ConfigError(
            f"the teacher {name} regresses the box directly and answers no distributions; give "
            "another one, or one with a dense head and distill.head=dense"
        )


def _given(config: TrainConfig, name: str) -> _Source:
    """A teacher that the plan does not make; its weights are read where they decide."""
    from ..training.outcome import read_outcome

    network, dense = _network_of(name), None
    if config.distill.head == "dense" or network.box_head == "one_token_direct":
        dense = network.corner_head or bool(read_outcome(name).part("dense."))
    return _Source(network, dense, not _is_mae(name))


def _network_of(source: str) -> ModelConfig:
    """The architecture of a run or a bundle."""
    from ..training.outcome import read_network

    if not source:
        raise ConfigError("this stage needs a teacher; set distill.teacher to a run or a bundle")
    return read_network(source)
