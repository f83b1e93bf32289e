"""What the weights that a run takes bring along beside themselves, and which ones they are.

Weights made from weights are under the same terms, and their scores lie where those lay: a bundle
of a fine-tuned model that forgot both would be shipped against its licence, and would call targets
tracked that are lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..tracking.settings import TrackerSettings
from ..weights.bundle import find_bundle, read_config
from ..weights.files import file_sha256
from .checkpoint import load_checkpoint

__all__ = ["identity_of", "read_origin", "with_thresholds"]

_THRESHOLDS = (
    "update_threshold",
    "lost_below",
    "lost_until",
    "uncertain_below",
    "uncertain_until",
)


def read_origin(source: str | Path | None) -> dict[str, Any]:
    """Of a bundle its name, the hash and licence of its weights, and its thresholds.

    Of a run what it began with itself; of anything else, as of a published MAE checkpoint, nothing.

    Args:
        source: What `--init` names.

    Example:
        >>> read_origin("t")["name"]
        't'
    """
    if source is None or Path(source).is_file():
        return {}
    try:
        state = load_checkpoint(Path(source), lazy=True)
        if state is not None:
            return dict(state.get("origin", {}))
        config = read_config(find_bundle(source))
    except WeightsError:
        return {}  # whether the weights fit is said where they are read
    tracker = asdict(config.tracker)
    return {
        "name": config.name,
        "weights_sha256": config.weights_sha256,
        "licence": str(config.licence.get("weights", "not stated")),
        "thresholds": {name: tracker[name] for name in _THRESHOLDS},
    }


def with_thresholds(settings: TrackerSettings, origin: Mapping[str, Any]) -> TrackerSettings:
    """The settings with the thresholds of the origin, where it has any."""
    return replace(settings, **origin.get("thresholds", {}))


def identity_of(source: str | Path) -> str:
    """Which weights these are, wherever they lie: equal for a copy, another one after training.

    Args:
        source: Run, bundle, or file of a pre-trained backbone.

    Raises:
        WeightsError: none of these.

    Example:
        >>> identity_of("t").startswith("bundle ")
        True
    """
    path = Path(source)
    if path.is_file():
        return f"file {file_sha256(path)[:12]}"
    state = load_checkpoint(path, lazy=True)
    if state is not None:
        return f"run {state.get('run', 'without a name')} at step {state['step']}"
    return f"bundle {read_config(find_bundle(source)).weights_sha256[:12]}"
