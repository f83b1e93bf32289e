"""Deep to shallow (section 3.2.2): layers fade out while the rest takes over their work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ..errors import ConfigError, WeightsError
from ..models.attention import Layer
from ..models.config import ModelConfig
from ..models.network import Network
from ..training.config import TrainConfig
from ..training.learner import Learner
from ..training.outcome import Outcome, read_outcome, remove_layers
from ..training.transfer import backbone_depth, is_backbone
from ..weights.mae import choose_layers
from .config import DEFAULT_DROPS, Pairs, kept_layers, matched_layers
from .distill import DistillStage

__all__ = ["DepthPruningStage", "FadingLayer", "fade_layers", "fading_gain"]


def fading_gain(step: int, steps: int) -> float:
    """Gain of the fading layers (eq. 9), with t and m counted in steps.

    Example:
        >>> [round(fading_gain(t, 4), 3) for t in (0, 1, 2, 4, 9)]
        [1.0, 0.854, 0.5, 0.0, 0.0]
    """
    if step >= steps:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * step / steps))


class FadingLayer(Layer):
    """A layer on its way to the identity; it keeps the weights and names of the layer it takes on.

    With the form "branches", as in the published code,
    x1 = x + g ATTN(LN x) and x2 = x1 + g FFN(LN x1).
    With "block", as eq. 8 is printed, x2 = x + g (FFN(ATTN(x) + x) + ATTN(x)): the feed-forward
    part sees the attention in full.

    At gain 0 it computes nothing but the keys and values that a memory must have.
    """

    fade: Tensor

    def __init__(self, layer: Layer, form: Literal["branches", "block"] = "branches") -> None:
        nn.Module.__init__(self)
        self.norm1, self.attn = layer.norm1, layer.attn
        self.norm2, self.mlp = layer.norm2, layer.mlp
        self.drop, self.gain, self.form = 0.0, 1.0, form
        self.gone = False
        # A buffer, so that a compiled step takes a new gain without being compiled again.
        device = layer.norm1.weight.device
        self.register_buffer("fade", torch.ones((), device=device), persistent=False)

    def set_gain(self, gain: float) -> None:
        """Fade to a gain from 1, the layer as it was, to 0, the identity."""
        self.fade.fill_(gain)
        self.gone = gain == 0.0

    def templates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Template tokens through what is left of the layer, and the layer's keys and values."""
        if self.gone:
            with torch.no_grad():
                _, k, v = self.attn.split(self.norm1(t))
            return t, k, v
        attended, k, v = self.attn.templates(self.norm1(t))
        return self._fade(t, attended), k, v

    def search(self, x: Tensor, k_t: Tensor, v_t: Tensor) -> Tensor:
        """Search and prediction tokens through what is left of the layer."""
        return x if self.gone else self._fade(x, self.attn.search(self.norm1(x), k_t, v_t))

    def ask(self, x: Tensor, k_t: Tensor, v_t: Tensor, first: int) -> Tensor:
        """As `search`, for the tokens from `first` on alone."""
        if self.gone:
            return x[:, first:]
        return self._fade(x[:, first:], self.attn.ask(self.norm1(x), k_t, v_t, first))

    def _fade(self, x: Tensor, attended: Tensor) -> Tensor:
        gain = self.fade.to(x.dtype)
        if self.form == "branches":
            x = x + gain * attended
            added: Tensor = self.mlp(self.norm2(x))
        else:
            added = self.mlp(self.norm2(x + attended)) + attended
        return x + gain * added


def fade_layers(
    net: Network, layers: Sequence[int], form: Literal["branches", "block"] = "branches"
) -> None:
    """Make layers of a network fadeable, in place; they do not learn any more."""
    for index in layers:
        layer = net.backbone.layers[index]
        assert isinstance(layer, Layer)
        fading = FadingLayer(layer, form)
        fading.requires_grad_(False)
        net.backbone.layers[index] = fading


class DepthPruningStage(DistillStage):
    """A shallower student of a deeper teacher, by one of the ways of Tables 3e and 8b.

    - "fade": the student is the whole teacher; `prune.layers` fade over `prune.fade` of the run
      and are then no part of what comes out. `model.depth` is the teacher's.
    - "skip": the student begins with the teacher's layers that are not in `prune.layers`.
    - "first": the student begins with the teacher's first layers.

    With `--init` the layers that "skip" and "first" take are those of that network instead, which
    may be an encoder of masked pictures; `init_layers` names other ones of such an encoder.

    Raises:
        ConfigError: settings that the method does not know.
    """

    drop: tuple[int, ...] = ()

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        prune = self.config.prune
        if prune.method == "fade":
            self.drop = self._layers_of(self.config.network.depth)
        elif prune.form != "branches":
            raise ConfigError(f"prune.form is of layers that fade; prune.method is {prune.method}")
        if prune.method == "first" and prune.layers:
            raise ConfigError(
                f"prune.layers {list(prune.layers)} says which layers go, but prune.method first "
                "keeps the first ones; set prune.method to skip, or leave prune.layers out"
            )

    def _layers_of(self, depth: int) -> tuple[int, ...]:
        drop = self.config.prune.layers or DEFAULT_DROPS.get(depth, ())
        stay = self.config.network.depth
        if self._evenly(depth, stay, drop):
            chosen = choose_layers(depth, stay, "skip")  # Tea-skip4 of 8b: 2, 5, 8, 11 of 12
            drop = tuple(n for n in range(depth) if n not in chosen)
        if not drop:
            raise ConfigError(
                f"which of {depth} layers to drop is not known; set prune.layers, as in [0, 2]"
            )
        if max(drop) >= depth or len(drop) >= depth:
            raise ConfigError(
                f"prune.layers {list(drop)} cannot be dropped from {depth} layers, counted from 0"
            )
        return drop

    def _evenly(self, depth: int, stay: int, drop: tuple[int, ...]) -> bool:
        """Whether "skip" has to choose, for nothing is given and what is usual leaves others."""
        prune = self.config.prune
        return prune.method == "skip" and not prune.layers and stay < depth != stay + len(drop)

    @property
    def fading_steps(self) -> int:
        """m of eq. 9, in steps."""
        return round(self.config.prune.fade * self.config.optim.steps)

    def default_pairs(self, student: ModelConfig, teacher: ModelConfig) -> Pairs:
        """Fact 5: the last layers of each group that stays."""
        method = self.config.prune.method
        if method == "fade":
            return tuple((n, n) for n in matched_layers(teacher.depth, self.drop))
        if method == "skip":
            drop = self._layers_of(teacher.depth)
            kept = kept_layers(teacher.depth, drop)
            return tuple((kept.index(n), n) for n in matched_layers(teacher.depth, drop))
        ends = [(n + 1) * teacher.depth // student.depth - 1 for n in range(student.depth)]
        return tuple(enumerate(ends))

    def check_fit(self, student: ModelConfig, teacher: ModelConfig) -> None:
        """The student must be the teacher, or the teacher without its dropped layers."""
        method = self.config.prune.method
        expected = teacher.depth
        if method == "skip":
            expected = len(kept_layers(teacher.depth, self._layers_of(teacher.depth)))
        if method == "first":
            expected = min(student.depth, teacher.depth - 1)
        if student.depth != expected:
            raise ConfigError(
                f"prune.method {method} of a teacher of {teacher.depth} layers needs "
                f"model.depth={expected}, got {student.depth}"
            )
        super().check_fit(student, teacher)
        lost = [[ours, theirs] for ours, theirs in self.pairs if ours in self.drop]
        if lost:
            raise ConfigError(
                f"distill.pairs matches {lost}, but layers {list(self.drop)} fade, learn nothing "
                "and are dropped; match layers that stay"
            )

    def check_start(self, teacher: ModelConfig) -> None:
        """Refuse a student whose layers cannot be the teacher's.

        Raises:
            ConfigError: what of the network differs.
        """
        super().check_start(teacher)
        names = ["hidden", "patch_size", "stem"]
        if self.config.prune.method == "fade":  # the student is the whole teacher
            names += ["box_head", "head_channels"] if teacher.corner_head else ["box_head"]
        student = self.config.network
        for name in names:
            ours, theirs = getattr(student, name), getattr(teacher, name)
            if ours != theirs:
                setting = "mlp_ratio" if name == "hidden" else name
                raise ConfigError(
                    f"prune.method {self.config.prune.method} takes the teacher's layers as they "
                    f"are, but {name} is {theirs} in the teacher and {ours} in the student; set "
                    f"model.{setting} as in the teacher, and change it in another stage"
                )

    def make_student(self, network: ModelConfig, keep: tuple[int, ...]) -> Learner:
        """The student, its layers ready to fade."""
        learner = super().make_student(network, keep)
        fade_layers(learner.net, self.drop, self.config.prune.form)
        return learner

    def start(self, learner: nn.Module, source: str | Path | None) -> None:
        """All layers of the teacher, those that stay, or the first ones; or of `source`."""
        method = self.config.prune.method
        if source is None or method == "fade" or is_backbone(source):
            super().start(learner, source)
            return
        outcome = read_outcome(source)
        self.check_source(outcome.source, outcome.network.depth, pre_trained=False)
        self._start_shorter(learner, outcome)

    def layers_of(self, source: str | Path) -> str:
        """Of a pre-trained backbone by the method too, where `init_layers` does not say more."""
        named, method = super().layers_of(source), self.config.prune.method
        if named != "first" or method != "skip" or not is_backbone(source):
            return named
        depth = backbone_depth(source)
        gone = self.left_out(depth)
        return ",".join(str(layer) for layer in range(depth) if layer not in gone)

    def start_from_teacher(self, learner: nn.Module) -> None:
        """All layers, those that stay, or the first ones."""
        if self.config.prune.method == "fade":
            super().start_from_teacher(learner)
        else:
            self._start_shorter(learner, self.teacher.outcome)

    def _start_shorter(self, learner: nn.Module, outcome: Outcome) -> None:
        depth, state = outcome.network.depth, outcome.state
        state = remove_layers(state, self.left_out(depth))
        _refuse_other_layers(cast(Learner, learner), state, outcome.source)
        self.copy_fitting(learner, state)

    def check_source(self, source: str, depth: int, *, pre_trained: bool) -> None:
        """Refuse weights, other than the teacher's, of which the layers cannot be taken.

        Raises:
            ConfigError: the layers that stay are not as many as the student has, or `init_layers`
                is given for weights that are no pre-trained backbone.
        """
        prune, named = self.config.prune, self.config.init_layers
        if named != "first" and not pre_trained:
            raise ConfigError(
                f"init_layers={named} is for pre-trained backbones, and {source} is a tracker; "
                "prune.method and prune.layers say which of its layers stay"
            )
        if not pre_trained or (prune.method == "skip" and named == "first"):
            self.left_out(depth)

    def left_out(self, depth: int) -> Sequence[int]:
        """Layers that "skip" or "first" do not take of a network so deep; none of its own depth.

        Raises:
            ConfigError: the others are not as many as the student has.
        """
        stay = self.config.network.depth
        if self.config.prune.method == "first" or depth == stay:
            return range(stay, depth)
        drop = self._layers_of(depth)
        if depth - len(drop) != stay:
            raise ConfigError(
                f"of {depth} layers without {list(drop)} there stay {depth - len(drop)}, but the "
                f"student has {stay}; set prune.layers, or give other weights as init"
            )
        return drop

    def freeze(self, learner: nn.Module) -> None:
        """Fading layers do not learn."""
        for layer in _fading(learner):
            layer.requires_grad_(False)

    def before_step(self, learners: Sequence[nn.Module], step: int) -> None:
        """Set the gain of eq. 9."""
        gain = fading_gain(step, self.fading_steps)
        for learner in learners:
            for layer in _fading(learner):
                layer.set_gain(gain)

    def removed(self, step: int) -> tuple[int, ...]:
        """The faded layers, once their gain is zero."""
        return self.drop if step >= self.fading_steps else ()

    def network(self, step: int) -> ModelConfig | None:
        """With the gains of the step; None where layers fade in a form that no tracker knows."""
        network, gain = self.config.network, fading_gain(step, self.fading_steps)
        if not self.drop or gain == 1.0:
            return network
        if gain > 0 and self.config.prune.form == "block":
            return None
        return replace(network, layer_gain=dict.fromkeys(self.drop, gain))

    def describe(self) -> dict[str, Any]:
        """What a resumed run must have in common with its checkpoint: m of eq. 9 too.

        Were m another one, layers that have faded would come back.
        """
        shape = {"drop": list(self.drop)}
        if not self.drop:
            return {**super().describe(), **shape}
        fading = {"fading_steps": self.fading_steps, "form": self.config.prune.form}
        return {**super().describe(), **shape, **fading}

    def plan(self) -> list[str]:
        """What is dropped, and how."""
        prune, depth = self.config.prune, self.config.network.depth
        if prune.method != "fade":
            source = self.begins_with(self.config.init)
            way = "random weights" if source is None else f"of {source}, by {prune.method}"
            return [f"{depth} layers {way}", *super().plan()]
        return [
            f"layers {', '.join(map(str, self.drop))} of {depth} fade over {self.fading_steps:,} "
            f"steps ({prune.form}) and are dropped",
            *super().plan(),
        ]


def _refuse_other_layers(learner: Learner, state: Mapping[str, Tensor], source: str) -> None:
    """Layers are taken whole or not at all.

    Raises:
        WeightsError: a tensor of the backbone that is not there, or has another shape.
    """
    for name, tensor in learner.net.backbone.state_dict().items():
        if "prediction" in name:
            continue
        theirs = state.get(f"net.backbone.{name}")
        if theirs is None or theirs.shape != tensor.shape:
            found = "missing" if theirs is None else f"{tuple(theirs.shape)}"
            raise WeightsError(
                f"{source} holds another backbone: {name} is {found} there and "
                f"{tuple(tensor.shape)} in the student"
            )


def _fading(learner: nn.Module) -> Iterator[FadingLayer]:
    for layer in cast(Learner, learner).net.backbone.layers:
        if isinstance(layer, FadingLayer):
            yield layer
