"""Teachers: frozen networks that say where the sides are, and what their tokens look like."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError, WeightsError
from ..models.config import ModelConfig
from ..training.learner import Learner
from ..training.outcome import Outcome, read_outcome

__all__ = ["Taught", "Teacher", "load_teacher"]


class Taught(NamedTuple):
    """What a teacher says of one batch.

    Attributes:
        sides: `[B, 4, K]` distributions.
        boxes: `[B, 4]` their expectation.
        features: All tokens `[B, N, C]` after the layers that were asked for.
        corners: Logits of a corner head's maps, `[B, 2, K, K]`, or None.
    """

    sides: Tensor
    boxes: Tensor
    features: tuple[Tensor, ...]
    corners: Tensor | None = None


class Teacher(nn.Module):
    """A network of ours that does not learn.

    Args:
        outcome: Its weights.
        head: Which head answers; "dense" needs a dense head among the weights.

    Raises:
        WeightsError: weights that do not fit.
        ConfigError: a head that is not there.
    """

    def __init__(self, outcome: Outcome, head: Literal["tokens", "dense"]) -> None:
        super().__init__()
        self.source = outcome.source
        self.network: ModelConfig = outcome.network
        self.head = head
        self.outcome = outcome
        self.inner = Learner(outcome.network, dense=head == "dense")
        wanted = {k: v for k, v in outcome.state.items() if k.startswith(_parts(head))}
        try:
            missing, unexpected = self.inner.load_state_dict(wanted, strict=False)
        except RuntimeError as error:
            raise WeightsError(f"the teacher {self.source} cannot be loaded: {error}") from error
        lost = [name for name in missing if not name.startswith("dense.")]
        if lost or unexpected:
            raise WeightsError(
                f"the teacher {self.source} cannot be loaded: missing {lost[:3]}, unexpected "
                f"{unexpected[:3]}"
            )
        if outcome.network.corner_head:
            self.head = "dense"  # it has no other
        elif head == "dense" and missing:
            raise ConfigError(
                f"the teacher {self.source} has no dense head; set distill.head to tokens, or give "
                "a run or a bundle with training.safetensors"
            )
        if self.head == "tokens" and outcome.network.box_head == "one_token_direct":
            raise ConfigError(f"the teacher {self.source} answers no distributions")
        self.requires_grad_(False).eval()

    def keep(self, layers: tuple[int, ...]) -> None:
        """Answer the tokens of these layers too."""
        self.inner.keep = layers

    def train(self, mode: bool = True) -> Teacher:
        """A teacher stays as it is."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, template: Tensor, online: Tensor, search: Tensor) -> Taught:
        """BGR crops of 8 bits, `[B, T, T, 3]` twice and `[B, S, S, 3]`, of any size."""
        small, large = self.network.template_size, self.network.search_size
        out = self.inner(_resize(template, small), _resize(online, small), _resize(search, large))
        logits = out.logits if out.dense is None or self.head == "tokens" else out.dense
        assert logits is not None
        sides = logits.float().softmax(-1)
        places = torch.arange(sides.shape[-1], device=sides.device) / sides.shape[-1]
        return Taught(sides, (sides * places).sum(-1), out.features, out.corners)


def _parts(head: str) -> tuple[str, ...]:
    return ("net.", "dense.") if head == "dense" else ("net.",)


def load_teacher(
    source: str | Path, head: Literal["auto", "tokens", "dense"] = "auto", dense: bool = False
) -> Teacher:
    """Read a teacher.

    Args:
        source: Run folder, bundle folder or name of a shipped bundle.
        head: Which of its heads is asked.
        dense: Whether "auto" is the dense head where there is one.

    Raises:
        ConfigError: no teacher was named, or it lacks the head.
        WeightsError: it cannot be read.
    """
    if not str(source):
        raise ConfigError("this stage needs a teacher; set distill.teacher to a run or a bundle")
    outcome = read_outcome(source)
    if head == "auto":
        head = "dense" if dense and outcome.part("dense.") else "tokens"
    with torch.random.fork_rng(devices=[]):  # a teacher's own weights are read, not drawn
        return Teacher(outcome, head)


def _resize(images: Tensor, side: int) -> Tensor:
    """BGR crops `[B, H, W, 3]` to another size, still 0 to 255."""
    if images.shape[1] == side:
        return images
    x = images.permute(0, 3, 1, 2).float()
    smaller = side < images.shape[1]
    x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=smaller)
    return x.permute(0, 2, 3, 1)
