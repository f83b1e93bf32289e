"""What the weights that a run takes bring along beside themselves, and which ones they are.

Weights made from weights are under the same terms, and their scores lie where those lay: a bundle
of a fine-tuned model that forgot both would be shipped against its licence, and would call targets
tracked that are lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..weights.bundle import find_bundle, list_bundles, read_config
from ..weights.files import file_sha256
from .checkpoint import load_checkpoint

__all__ = ["THRESHOLDS", "identity_of", "is_shipped", "read_origin", "run_in", "thresholds_of"]

THRESHOLDS = (
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
    if source is None or (Path(source).is_file() and not is_shipped(source)):
        return {}
    try:
        state = run_in(source)
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
        "thresholds": {name: tracker[name] for name in THRESHOLDS},
    }


def thresholds_of(origin: Mapping[str, Any]) -> dict[str, float]:
    """The thresholds of an origin; none where it has none."""
    return dict(origin.get("thresholds", {}))


def run_in(source: str | Path) -> dict[str, Any] | None:
    """The checkpoint of a source that is a run; None where it is something else.

    A shipped bundle's name is that bundle, as for `find_bundle`, whatever else is called so.

    Raises:
        WeightsError: a damaged checkpoint.
    """
    return None if is_shipped(source) else load_checkpoint(Path(source), lazy=True)


def is_shipped(source: str | Path) -> bool:
    """Whether this is the name of a shipped bundle."""
    return isinstance(source, str) and source in list_bundles()


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
    if path.is_file() and not is_shipped(source):
        return f"file {file_sha256(path)[:12]}"
    state = run_in(source)
    if state is not None:
        share = state.get("optim", {}).get("blend", 1.0)
        mixed = f", blended {share:g}" if state.get("begun") and share != 1 else ""
        return f"run {state.get('run', 'without a name')} at step {state['step']}{mixed}"
    return f"bundle {read_config(find_bundle(source)).weights_sha256[:12]}"
