"""The recipes of section 4.1 and of the released configs, as settings (no PyTorch here).

| | paper | published |
|---|---|---|
| learning rate | 1e-4 for all | 4e-4, backbone a tenth of it |
| KL of the logits | four sides summed, weight 1 | four sides averaged, weight 5 |
| largest norm of the gradient | not stated: 1 | 0.1 |
| depth pruning | one run of 500 epochs, 40 fading | 45 epochs, 40 fading, then 500 more |
| score head | 50 epochs | 40 epochs |
"""

from __future__ import annotations

from typing import Any, Literal

from ..errors import ConfigError
from ..settings import merge

__all__ = [
    "EPOCH",
    "JOINT_BATCH",
    "PresetName",
    "epochs_of",
    "expand",
    "settings_of",
    "special_settings",
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
_PAPER: dict[str, Any] = {
    "optim": {
        "batch": 32, "lr": 1e-4, "schedule": "step", "warmup": 0, "weight_decay": 1e-4, "clip": 1.0,
    },
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
_FADE_EPOCHS = 45


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


def expand(preset: PresetName, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stages as a preset runs them: published depth pruning is two runs, named NAME_fade and NAME.

    The first fades and drops the layers in 45 epochs; the second trains what is left under the
    same teacher for the epochs of the entry.
    """
    if preset != "published":
        return entries
    out: list[dict[str, Any]] = []
    for entry in entries:
        method = entry.get("prune", {}).get("method", "fade")
        if entry.get("stage") != "depth_pruning" or method != "fade":
            out.append(entry)
            continue
        name, drop = entry["name"], entry.get("prune", {}).get("layers")
        depth = entry.get("model", {}).get("depth")
        if depth is None:
            raise ConfigError(f"stage {name} must say model.depth, the layers before the drop")
        out.append({**entry, "name": f"{name}_fade", "epochs": _FADE_EPOCHS})
        out.append(_trained_on(entry, name, depth, tuple(drop or ())))
    return out


def _trained_on(
    entry: dict[str, Any], name: str, depth: int, drop: tuple[int, ...]
) -> dict[str, Any]:
    """The second run: 1, 3, 5, 7 of eight layers against 2, 5, 8, 11 of twelve."""
    from .config import DEFAULT_DROPS, kept_layers, matched_layers

    drop = drop or DEFAULT_DROPS.get(depth, ())
    kept = kept_layers(depth, drop)
    pairs = [[kept.index(n), n] for n in matched_layers(depth, drop)]
    rest = {key: value for key, value in entry.items() if key not in ("prune", "init")}
    return {
        **rest,
        "stage": "distill",
        "init": f"@{name}_fade",
        "model": {**entry["model"], "depth": len(kept)},
        "distill": {**entry.get("distill", {}), "pairs": pairs},
    }
