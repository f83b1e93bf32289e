"""The recipes of section 4.1 and of the released configs, as settings (no PyTorch here).

| | paper | published |
|---|---|---|
| learning rate | 1e-4 for all | 4e-4, backbone a tenth of it |
| KL of the logits | four sides summed, weight 1 | four sides averaged, weight 5 |
| largest norm of the gradient | not stated: 1 | 0.1 |
| depth pruning | one run of 500 epochs, 40 fading | 45 epochs, 40 fading, then 500 more |
| score head | 50 epochs | 40 epochs |

Where the paper says nothing both have what the released code does: of samples light, mirroring and
grey alone are changed, and no moving average is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..errors import ConfigError
from ..settings import merge

__all__ = [
    "EPOCH",
    "FADE_EPOCHS",
    "JOINT_BATCH",
    "PresetName",
    "epochs_of",
    "fade_name",
    "is_twofold",
    "settings_of",
    "special_settings",
    "trained_on",
]

PresetName = Literal["paper", "published", "none"]

EPOCH = 60_000
"""Samples of an epoch, as in the released configs."""
JOINT_BATCH = 256
"""Samples of a step on all devices together: eight of 32."""

_NO_OTHER_TERMS = {
    "sides": 0.0, "dense": 0.0, "dense_ciou": 0.0, "dense_to_sparse": 0.0, "inside": 0.0,
    "score": 0.0,
}  # fmt: skip
_OTHER_AUGMENTATIONS = (
    "rotation", "shape", "bend", "change", "colour", "shade", "blur", "detail", "noise", "jpeg",
    "look_alikes", "occluders", "camouflage", "cut_out",
)  # fmt: skip
_PAPER: dict[str, Any] = {
    "optim": {
        "batch": 32, "lr": 1e-4, "schedule": "step", "warmup": 0, "weight_decay": 1e-4, "clip": 1.0,
        "ema": 0.0,
    },
    "data": {"grey": 0.05, "augment": dict.fromkeys(_OTHER_AUGMENTATIONS, 0.0)},
    "tracker": {"update_interval": 200, "min_size": 10.0, "box_style": 0.0},
    "loss": {"l1": 5.0, "ciou": 2.0, "logits": 1.0, "features": 0.2, **_NO_OTHER_TERMS},
    "distill": {"sides": "sum"},
    "prune": {"fade": 40 / 500},
}  # fmt: skip
_PUBLISHED: dict[str, Any] = merge(
    _PAPER,
    {
        "optim": {"lr": 4e-4, "backbone": 0.1, "clip": 0.1},
        "loss": {"logits": 5.0},
        "distill": {"sides": "mean"},
        "prune": {"fade": 40 / 45},
    },
)
_SCORE = {"loss": {"score": 1.0}, "data": {"absent": 0.5, "sampling": {"mode": "trident"}}}
_EPOCHS = {
    "paper": {"score": 50},
    "published": {"score": 40},
}
FADE_EPOCHS = 45
"""Of the first run of published depth pruning."""


def settings_of(preset: PresetName) -> dict[str, Any]:
    """Settings of a preset for every stage, as a nested table of `TrainConfig`.

    Example:
        >>> settings_of("published")["loss"]["logits"]
        5.0
    """
    return {"paper": _PAPER, "published": _PUBLISHED, "none": {}}[preset]


def special_settings(preset: PresetName, stage: str) -> dict[str, Any]:
    """Settings of a preset for one kind of stage, which win over what is common to a plan."""
    return _SCORE if stage == "score" and preset != "none" else {}


def epochs_of(preset: PresetName, stage: str) -> int:
    """Epochs of a stage in a preset."""
    if preset == "none":
        raise ConfigError("a plan without a preset says epochs or optim.steps for each stage")
    return _EPOCHS[preset].get(stage, 500)


def fade_name(name: str) -> str:
    """Of the first of the two runs of published depth pruning."""
    return f"{name}_fade"


def is_twofold(preset: PresetName, values: Mapping[str, Any]) -> bool:
    """Whether a preset runs a stage in two: published depth pruning that fades."""
    method = values.get("prune", {}).get("method", "fade")
    return preset == "published" and values.get("stage") == "depth_pruning" and method == "fade"


def trained_on(name: str, values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """The second run of published depth pruning: what is left, trained under the same teacher.

    The first fades and drops the layers in 45 epochs, this one has the epochs of the stage. Matched
    layers are those of the first run: 1, 3, 5, 7 of eight layers against 2, 5, 8, 11 of twelve.

    Args:
        name: Of the stage.
        values: All its settings.
        depth: Layers before the drop.

    Raises:
        ConfigError: a pair of a layer that is dropped.
    """
    from .config import DEFAULT_DROPS, kept_layers, matched_layers

    drop = tuple(values.get("prune", {}).get("layers") or DEFAULT_DROPS.get(depth, ()))
    kept = kept_layers(depth, drop)
    distill = dict(values.get("distill", {}))
    pairs = distill.get("pairs") or [(n, n) for n in matched_layers(depth, drop)]
    lost = [ours for ours, _ in pairs if ours not in kept]
    if lost:
        raise ConfigError(
            f"distill.pairs matches layer {lost[0]} of the student, which prune.layers "
            f"{list(drop)} drops"
        )
    rest = {key: value for key, value in values.items() if key not in ("prune", "init")}
    return {
        **rest,
        "stage": "distill",
        "init": f"@{fade_name(name)}",
        "model": {**values.get("model", {}), "depth": len(kept)},
        "distill": {**distill, "pairs": [[kept.index(ours), theirs] for ours, theirs in pairs]},
    }
