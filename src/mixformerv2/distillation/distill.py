"""A student under a teacher: logits and features (eq. 5, 6 and 10)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.config import ModelConfig
from ..training.learner import Learner
from ..training.losses import Predictions, box_iou, kl_to_sides, mean_over_present, total_loss
from ..training.origin import identity_of
from ..training.stage import Batch
from ..training.stages import BoxStage
from ..training.transfer import fit_bins
from .config import Pairs
from .sides import resample_sides
from .teacher import Taught, Teacher, load_teacher

__all__ = ["DistillStage", "Student", "check_pairs", "feature_loss"]

_logger = logging.getLogger(__name__)

_INNER = "net.backbone."
_COMPARED = {
    "template_grid": "template tokens along a side",
    "search_grid": "search tokens along a side",
    "prediction_tokens": "prediction tokens",
}


class Student(Learner):
    """A learner whose tokens can be compared with a wider or narrower teacher's.

    Where widths differ, `project` takes the student's tokens to the teacher's width; it is
    dropped with the dense head.
    """

    def __init__(
        self, config: ModelConfig, keep: Sequence[int], teacher_width: int, dense: bool = True
    ) -> None:
        super().__init__(config, dense)
        self.keep = tuple(keep)
        if teacher_width != config.width:
            self.project = nn.ModuleList(nn.Linear(config.width, teacher_width) for _ in keep)

    def forward(self, template: Tensor, online: Tensor, search: Tensor) -> Predictions:
        """As a learner's; features are of the teacher's width."""
        out = super().forward(template, online, search)
        if not hasattr(self, "project"):
            return out
        pairs = zip(self.project, out.features, strict=True)
        return out._replace(features=tuple(linear(tokens) for linear, tokens in pairs))


class DistillStage(BoxStage):
    """Boxes from the truth, distributions and tokens from a teacher.

    With `distill.start: teacher` and no `--init` the student begins with whatever of the teacher's
    weights fits it.
    """

    prefers_dense = False

    teacher: Teacher
    pairs: Pairs

    def build(self) -> nn.Module:
        """The student; the teacher is read first, for the student has to fit it."""
        distill, network = self.config.distill, self.config.network
        self.teacher = load_teacher(distill.teacher, distill.head, self.prefers_dense)
        self.match(self.teacher.network)
        self.teacher.keep(tuple(theirs for _, theirs in self.pairs))
        return self.make_student(network, tuple(ours for ours, _ in self.pairs))

    def match(self, teacher: ModelConfig) -> None:
        """Choose the pairs of layers, and refuse a teacher that does not fit the student.

        Raises:
            ConfigError: what does not fit, and which setting changes it.
        """
        student = self.config.network
        wanted = self.config.distill.pairs or self.default_pairs(student, teacher)
        self.pairs = wanted if self.config.loss.features else ()
        self.check_fit(student, teacher)

    def make_student(self, network: ModelConfig, keep: tuple[int, ...]) -> Learner:
        """The student's network and heads."""
        return Student(network, keep, self.teacher.network.width, self.config.loss.has_dense)

    def default_pairs(self, student: ModelConfig, teacher: ModelConfig) -> Pairs:
        """Matched layers where the settings name none: none at all."""
        return ()

    def check_fit(self, student: ModelConfig, teacher: ModelConfig) -> None:
        """Refuse what cannot be learnt, before a step is taken.

        Raises:
            ConfigError: what does not fit, and which setting changes it.
        """
        check_pairs(self.pairs, student, teacher, self.config.distill.tokens)
        if self.config.distill.maps == "corners":
            kinds = (student.box_head, student.search_grid), (teacher.box_head, teacher.search_grid)
            if not student.corner_head or kinds[0] != kinds[1]:
                raise ConfigError(
                    "distill.maps corners needs two corner heads of one kind on equal grids; the "
                    f"student has {kinds[0][0]} on {kinds[0][1]}, the teacher {kinds[1][0]} on "
                    f"{kinds[1][1]}; set distill.maps to sides"
                )
        if student.box_head == "one_token_direct" and self.config.loss.logits:
            raise ConfigError(
                "a student that regresses the box directly has no distributions to teach; set "
                "loss.logits to 0 or choose another model.box_head"
            )

    def check_start(self, teacher: ModelConfig) -> None:
        """Refuse to begin with the weights of a teacher of which none would fit.

        Raises:
            ConfigError: its width is another.
        """
        width = self.config.network.width
        if teacher.width != width:
            raise ConfigError(
                f"a student of width {width} cannot start from its teacher's weights of width "
                f"{teacher.width}; give it others as init, or set distill.start to random"
            )

    def start(self, learner: nn.Module, source: str | Path | None) -> None:
        """Weights of `source`, else what fits of the teacher's."""
        if source is not None:
            super().start(learner, source)
        elif self.config.distill.start == "teacher":
            self.check_start(self.teacher.network)
            self.start_from_teacher(learner)

    def begins_with(self, source: str | Path | None) -> str | Path | None:
        """The teacher where no other source is named."""
        distill = self.config.distill
        return source or (distill.teacher if distill.start == "teacher" else None)

    def start_from_teacher(self, learner: nn.Module) -> None:
        """Give the student the teacher's weights, as far as they fit."""
        self.copy_fitting(learner, self.teacher.outcome.state)

    def copy_fitting(self, learner: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Copy each tensor that has the name and shape of one of the student's.

        The last layers of the box MLPs are read at the student's bins.
        """
        ours = learner.state_dict()
        fitting = {
            name: tensor
            for name, tensor in fit_bins(state, self.config.network.bins).items()
            if name in ours and ours[name].shape == tensor.shape
        }
        learner.load_state_dict(fitting, strict=False)
        left = [name for name in ours if name not in fitting and not name.startswith("project.")]
        _logger.info("%d of %d tensors start from the teacher", len(fitting), len(ours))
        inner = [name for name in left if name.startswith(_INNER) and "prediction" not in name]
        if inner:
            _logger.warning(
                "%d tensors of the backbone do not fit and start from random weights: %s",
                len(inner),
                ", ".join(inner[:6]),
            )
        elif left:
            _logger.info("random at the start: %s", ", ".join(left[:6]))

    def place(self, device: torch.device) -> None:
        """The teacher goes where the student is."""
        self.teacher.to(device)

    def compile(self) -> None:
        """The teacher too."""
        self.teacher.compile()

    def teachers(self) -> tuple[nn.Module, ...]:
        """One."""
        return (self.teacher,)

    def describe(self) -> dict[str, Any]:
        """A run goes on under the teacher that it began with."""
        teacher = identity_of(self.config.distill.teacher)
        return {**super().describe(), "teacher": teacher, "head": self.teacher.head}

    def losses(self, learner: nn.Module, batch: Batch, count: Tensor) -> tuple[Tensor, Batch]:
        """Eq. 10: box terms, and logits and features of the teacher."""
        config, present = self.config, batch["present"].float()
        inputs = self.inputs(batch)
        with torch.autocast(present.device.type, torch.bfloat16, enabled=self._half):
            taught: Taught = self.teacher(*inputs)
        out = cast(Predictions, learner(*inputs))
        loss, terms = total_loss(out, batch["box"], present, config.loss, count)
        if config.loss.logits:
            value = mean_over_present(self.divergence(out, taught), present, count)
            loss = loss + config.loss.logits * value
            terms["logits"] = value.detach()
        if self.pairs:
            cuts = None
            if config.distill.tokens == "search":
                cuts = _search_tokens(config.network), _search_tokens(self.teacher.network)
            value = feature_loss(out.features, taught.features, cuts)
            loss = loss + config.loss.features * value
            terms["features"] = value.detach()
        terms["teacher_iou"] = mean_over_present(
            box_iou(taught.boxes, batch["box"]), present, count
        )
        return loss, terms

    def divergence(self, out: Predictions, taught: Taught) -> Tensor:
        """KL of each sample `[B]` from the teacher: four sides (eq. 5), or two maps of corners."""
        if self.config.distill.maps == "corners":
            assert out.corners is not None
            assert taught.corners is not None
            target, parts = taught.corners.flatten(2).float().softmax(-1), 2
            divergence = kl_to_sides(out.corners.flatten(2), target)
        else:
            assert out.logits is not None
            target, parts = resample_sides(taught.sides, out.logits.shape[-1]), 4
            divergence = kl_to_sides(out.logits, target)
        return divergence / parts if self.config.distill.sides == "mean" else divergence

    @property
    def _half(self) -> bool:
        return self.config.precision == "bf16-mixed"

    def plan(self) -> list[str]:
        """Teacher, and what is held to it."""
        teacher = getattr(self, "teacher", None)
        head = f"'s {teacher.head}" if teacher is not None else ""
        distill, weight = self.config.distill, self.config.loss.logits
        what, count = "sides", "four"
        if distill.maps == "corners":
            what, count = "corner maps", "two"
        lines = [
            f"{what} of {distill.teacher}{head} (weight {weight:g}, {distill.sides} of {count})"
        ]
        pairs = getattr(self, "pairs", ())
        if pairs:
            shown = ", ".join(f"{ours}-{theirs}" for ours, theirs in pairs)
            lines.append(f"tokens of layers {shown} (weight {self.config.loss.features:g})")
        return lines


def check_pairs(
    pairs: Pairs, student: ModelConfig, teacher: ModelConfig, tokens: str = "all"
) -> None:
    """Refuse pairs of layers whose tokens cannot be compared.

    Raises:
        ConfigError: a layer that is not there, or another number of the tokens that are compared.
    """
    for ours, theirs in pairs:
        if ours >= student.depth or theirs >= teacher.depth:
            raise ConfigError(
                f"distill.pairs matches layers {ours} and {theirs}, but the student has "
                f"{student.depth} layers and the teacher {teacher.depth}, counted from 0"
            )

    names = ("search_grid",) if tokens == "search" else _COMPARED
    other = [name for name in names if getattr(student, name) != getattr(teacher, name)]
    if pairs and other:
        counts = " and ".join(
            f"{getattr(student, name)} {_COMPARED[name]} in the student, "
            f"{getattr(teacher, name)} in the teacher"
            for name in other
        )
        ways = "set loss.features to 0"
        if "search_grid" not in other:
            ways += ", or distill.tokens to search"
        if other != ["prediction_tokens"]:
            ways += ", or equal crop sizes"
        raise ConfigError(
            f"tokens can be matched only where teacher and student have as many: {counts}; {ways}"
        )


def _search_tokens(network: ModelConfig) -> slice:
    """Which tokens of a layer are those of the search crop: after both templates'."""
    first: int = 2 * network.template_grid**2
    return slice(first, first + network.search_grid**2)


def feature_loss(
    ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], cuts: tuple[slice, slice] | None = None
) -> Tensor:
    """Mean squared difference of tokens, summed over the matched layers (eq. 6).

    Args:
        ours: The student's tokens `[B, N, C]` of each matched layer: templates, search, prediction.
        theirs: The teacher's.
        cuts: Which tokens of both are compared; all where None.
    """
    own, other = cuts or (slice(None), slice(None))
    values = [
        (a[:, own].float() - b[:, other].float()).pow(2).mean()
        for a, b in zip(ours, theirs, strict=True)
    ]
    return torch.stack(values).sum()
