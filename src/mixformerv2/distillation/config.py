"""What steers distillation, as frozen dataclasses (no PyTorch here)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ConfigError

__all__ = ["DEFAULT_DROPS", "DistillConfig", "PruneConfig", "kept_layers", "matched_layers"]

Pairs = tuple[tuple[int, int], ...]

DEFAULT_DROPS = {12: (0, 3, 6, 9), 8: (0, 2, 4, 6), 6: (0, 3), 4: (0, 2)}
"""Layers that are dropped by a network's depth. 12 is published, the others are our choice."""


def kept_layers(depth: int, drop: tuple[int, ...]) -> tuple[int, ...]:
    """Layers that stay, in the numbering before the drop.

    Example:
        >>> kept_layers(12, (0, 3, 6, 9))
        (1, 2, 4, 5, 7, 8, 10, 11)
    """
    return tuple(layer for layer in range(depth) if layer not in drop)


def matched_layers(depth: int, drop: tuple[int, ...]) -> tuple[int, ...]:
    """Layers whose tokens are matched: the last ones before a dropped layer or the end.

    Example:
        >>> matched_layers(12, (0, 3, 6, 9))
        (2, 5, 8, 11)
        >>> matched_layers(8, (0, 2, 4, 6))
        (1, 3, 5, 7)
    """
    return tuple(
        layer for layer in kept_layers(depth, drop) if layer + 1 == depth or layer + 1 in drop
    )


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """The teacher, and how the student is held to it.

    Attributes:
        teacher: Run folder, bundle folder or name of a shipped bundle.
        head: Which of the teacher's heads is asked: its prediction "tokens", its "dense" head, or
            "auto": a dense head where the teacher has one and the stage is dense-to-sparse.
        sides: "sum" adds the divergences of the four sides (eq. 5), or of the two corner maps;
            "mean" averages them, as the published code does, with `loss.logits` at 5.
        maps: What "logits" compares: the four "sides" (eq. 5), or the two "corners", whole maps of
            a MixViT teacher and a MixViT student (Tables 3d to 3f).
        pairs: Layers whose tokens are matched, `[[student, teacher], ...]`, counted from 0 in the
            student before anything is dropped. Empty: chosen by the stage.
        tokens: Match all tokens, as published, or those of the "search" crop alone.
        start: Where the student's weights come from when no `--init` is given: "teacher" copies
            what fits, "random" begins anew.
    """

    teacher: str = ""
    head: Literal["auto", "tokens", "dense"] = "auto"
    sides: Literal["sum", "mean"] = "sum"
    maps: Literal["sides", "corners"] = "sides"
    pairs: Pairs = ()
    tokens: Literal["all", "search"] = "all"
    start: Literal["teacher", "random"] = "teacher"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", _pairs(self.pairs))


@dataclass(frozen=True, slots=True)
class PruneConfig:
    """What is taken away.

    Attributes:
        method: "fade" lets layers fade out while the rest learns (progressive depth pruning,
            eq. 8 and 9); "skip" drops them at once (Tea-skip of Tables 3e and 8b); "first" keeps
            the first layers instead (Tea-fir, MAE-fir).
        layers: Layers to drop, in the teacher's numbering. Empty: by the teacher's depth, see
            `DEFAULT_DROPS`; for "first", all but the student's.
        fade: Share of the run's steps over which layers fade: m over all epochs, 40 of 500.
        form: "branches" scales both branches of a layer, as the published code; "block" is eq. 8
            as it is printed. Both end in the identity.
        units: Which hidden units of an MLP stay where the student has fewer: the "first", as
            published (w[:d1', :d2']), or the most "important" by the size of their weights.
    """

    method: Literal["fade", "skip", "first"] = "fade"
    layers: tuple[int, ...] = ()
    fade: float = 0.08
    form: Literal["branches", "block"] = "branches"
    units: Literal["first", "important"] = "first"

    def __post_init__(self) -> None:
        if not 0 <= self.fade <= 1:
            raise ConfigError(f"prune.fade is a share of the run, 0 to 1, got {self.fade}")
        if len(set(self.layers)) != len(self.layers) or any(n < 0 for n in self.layers):
            raise ConfigError(f"prune.layers must be different layers from 0, got {self.layers}")
        object.__setattr__(self, "layers", tuple(sorted(self.layers)))


def _pairs(values: Any) -> Pairs:
    try:
        pairs = tuple((int(student), int(teacher)) for student, teacher in values)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"distill.pairs must be a list of [student layer, teacher layer], got {values!r}"
        ) from error
    if any(layer < 0 for pair in pairs for layer in pair):
        raise ConfigError(f"distill.pairs counts layers from 0, got {values!r}")
    return pairs
