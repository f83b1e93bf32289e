"""What a network is made of: one frozen value, checked, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from ..errors import ConfigError

__all__ = ["HEAD_WIDTH", "BoxHeadKind", "ModelConfig", "Stem", "stem_channels"]

HEAD_WIDTH = 64
"""Width of one attention head, as in the published code."""

Stem = Literal["patch", "conv"]
BoxHeadKind = Literal[
    "four_tokens_shared",
    "four_tokens_own",
    "one_token_four",
    "one_token_direct",
    "corner",
    "corner_pyramid",
]


def stem_channels(width: int, patch_size: int) -> tuple[int, ...]:
    """Channels after each convolution of a conv stem; each halves the resolution."""
    steps = patch_size.bit_length() - 1
    return tuple(max(16, (2 * width // 3) >> (steps - 1 - step)) for step in range(steps))


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Architecture of a MixFormerV2 network, or of its teacher MixViT.

    Attributes:
        width: Channels of a token, a multiple of 64 (one attention head is 64 wide).
        depth: Number of layers (P-MAM, eq. 1).
        mlp_ratio: Hidden width of a layer's MLP over `width`.
        patch_size: Pixels of a token's side.
        template_size: Side of the template crop, pixels.
        search_size: Side of the search crop, pixels.
        bins: Bins of each side's distribution; bin i stands at i/bins of the crop. A corner head
            sets it itself: the side of its maps.
        stem: "patch" is one strided projection, as published; "conv" is a stack of 3x3
            convolutions of stride 2, which learns faster from little data (our own models).
        box_head: "four_tokens_shared" (T4, the default), and the alternatives of Tables 3a and 8a:
            "four_tokens_own" (four MLPs), "one_token_four" (one token, four MLPs) and
            "one_token_direct" (T1: one token regresses the box). "corner" and "corner_pyramid"
            make it a MixViT, without prediction tokens.
        head_channels: Channels of a corner head's first convolution; later ones have fewer.
        keep_tokens: While tracking, only so many search tokens go on after layer `keep_after`:
            those that the prediction tokens attend to most there. 0 keeps all. Training sees all.
        keep_after: Number of that layer, counted from 1; 0 with `keep_tokens` 0.
        exit_after: While tracking, the heads also read the prediction tokens of this layer, counted
            from 1, and where the score there is at least `exit_score`, that is the answer. 0 never.
        exit_score: That score; 0 with `exit_after` 0.
        score_head: Whether there is a score head; the score prediction module in a MixViT.
        drop_path: Stochastic depth of the last layer while training; earlier layers get less.
        layer_gain: Factor on both branches of a layer, `{layer: value}`, for fading layers out
            (eq. 8 and 9); layers that are not named have 1.

    Raises:
        ConfigError: a value that cannot work, named with what was found.

    Example:
        >>> ModelConfig(width=256).heads
        4
    """

    width: int = 768
    depth: int = 8
    mlp_ratio: float = 4.0
    patch_size: int = 16
    template_size: int = 128
    search_size: int = 288
    bins: int = 96
    stem: Stem = "patch"
    box_head: BoxHeadKind = "four_tokens_shared"
    score_head: bool = True
    drop_path: float = 0.0
    layer_gain: Mapping[int, float] = field(default_factory=dict)
    head_channels: int = 384
    keep_tokens: int = 0
    keep_after: int = 0
    exit_after: int = 0
    exit_score: float = 0.0

    def __post_init__(self) -> None:
        whole = (
            "width",
            "depth",
            "patch_size",
            "template_size",
            "search_size",
            "bins",
            "head_channels",
        )
        for name in whole:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number above 0, got {value!r}")
        if self.width % HEAD_WIDTH:
            raise ConfigError(f"width must be a multiple of {HEAD_WIDTH}, got {self.width}")
        crop = max(self.template_size, self.search_size)
        if self.width > 4096 or self.depth > 64 or crop > 2048 or self.bins > 4096:
            raise ConfigError(
                "the largest network is width 4096, depth 64, crops 2048, bins 4096; got "
                f"width {self.width}, depth {self.depth}, crops {crop}, bins {self.bins}"
            )
        for name in ("template_size", "search_size"):
            if getattr(self, name) % self.patch_size:
                raise ConfigError(
                    f"{name} must be a multiple of patch_size {self.patch_size}, "
                    f"got {getattr(self, name)}"
                )
        if not 0 < self.mlp_ratio <= 16:
            raise ConfigError(f"mlp_ratio must be above 0 and at most 16, got {self.mlp_ratio!r}")
        if self.stem not in get_args(Stem):
            raise ConfigError(f"stem must be one of {get_args(Stem)}, got {self.stem!r}")
        if self.stem == "conv" and self.patch_size not in (4, 8, 16, 32):
            raise ConfigError(f"a conv stem needs patch_size 4, 8, 16 or 32, got {self.patch_size}")
        if self.box_head not in get_args(BoxHeadKind):
            raise ConfigError(
                f"box_head must be one of {get_args(BoxHeadKind)}, got {self.box_head!r}"
            )
        if self.corner_head:
            self._check_corner_head()
        self._check_kept()
        self._check_exit()
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path must be from 0 to below 1, got {self.drop_path!r}")
        try:
            gains = {int(layer): float(gain) for layer, gain in self.layer_gain.items()}
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"layer_gain must be a table of layers and factors, got {self.layer_gain!r}"
            ) from error
        object.__setattr__(self, "layer_gain", gains)
        wrong = [layer for layer in gains if not 0 <= layer < self.depth]
        if wrong:
            raise ConfigError(f"layer_gain names layers {wrong}, but depth is {self.depth}")

    def _check_kept(self) -> None:
        if self.keep_tokens == self.keep_after == 0:
            return
        if self.corner_head:
            raise ConfigError("a corner head needs all search tokens; keep_tokens must be 0")
        if not 1 <= self.keep_tokens <= self.search_grid**2:
            raise ConfigError(
                f"keep_tokens must be from 1 to the {self.search_grid**2} search tokens, or 0 with "
                f"keep_after 0, got {self.keep_tokens} after layer {self.keep_after}"
            )
        if not 1 <= self.keep_after < self.depth:
            raise ConfigError(
                f"keep_after must be a layer from 1 to {self.depth - 1}, for the last one needs "
                f"tokens to look at, got {self.keep_after}"
            )

    def _check_exit(self) -> None:
        if self.exit_after == self.exit_score == 0:
            return
        if self.corner_head or not self.score_head:
            raise ConfigError(
                "an early exit needs prediction tokens and a score head; exit_after must be 0"
            )
        if not 1 <= self.exit_after < self.depth:
            raise ConfigError(
                f"exit_after must be a layer from 1 to {self.depth - 1}, or 0 with exit_score 0, "
                f"got {self.exit_after}"
            )
        if not 0 < self.exit_score <= 1:
            raise ConfigError(f"exit_score must be above 0 and at most 1, got {self.exit_score!r}")

    def _check_corner_head(self) -> None:
        if self.head_channels % 8 or self.head_channels > 4096:
            raise ConfigError(
                "head_channels must be a multiple of 8 and at most 4096, for a corner head halves "
                f"them three times, got {self.head_channels}"
            )
        times = 4 if self.box_head == "corner_pyramid" else 1
        object.__setattr__(self, "bins", times * self.search_grid)

    @property
    def corner_head(self) -> bool:
        """Whether this is a MixViT: corner maps from the search tokens, no prediction tokens."""
        return self.box_head.startswith("corner")

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return self.width // HEAD_WIDTH

    @property
    def hidden(self) -> int:
        """Hidden units of a layer's MLP."""
        return int(self.width * self.mlp_ratio)

    @property
    def template_grid(self) -> int:
        """Tokens along one side of a template."""
        return self.template_size // self.patch_size

    @property
    def search_grid(self) -> int:
        """Tokens along one side of the search crop."""
        return self.search_size // self.patch_size

    @property
    def prediction_tokens(self) -> int:
        """Number of learnable prediction tokens: 4 or 1, and none with a corner head."""
        if self.corner_head:
            return 0
        return 4 if self.box_head.startswith("four") else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; `from_dict` takes them back."""
        values = asdict(self)
        if not self.corner_head:
            # Says nothing of such a network, whose settings are as they were before there were
            # corner heads: checkpoints compare them.
            del values["head_channels"]
        if not self.keep_tokens:
            del values["keep_tokens"], values["keep_after"]
        if not self.exit_after:
            del values["exit_after"], values["exit_score"]
        values["layer_gain"] = {str(layer): gain for layer, gain in self.layer_gain.items()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Make a configuration from plain values.

        Raises:
            ConfigError: an unknown name, or a value that cannot work.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown model settings {unknown}; known are {sorted(known)}")
        try:
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"model settings do not fit: {error}") from error
