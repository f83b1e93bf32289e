"""What a run leaves for the next one: a network and its weights, without what was dropped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import WeightsError
from ..models.config import ModelConfig
from ..models.registry import build
from ..weights.bundle import (
    BundleConfig,
    find_bundle,
    load_training_state,
    read_config,
    save_bundle,
)
from .blend import blended
from .origin import run_in, thresholds_of

if TYPE_CHECKING:
    from .config import TrainConfig

__all__ = [
    "Outcome",
    "read_network",
    "read_outcome",
    "remove_layers",
    "save_run_bundle",
    "without_layers",
]

_LAYER = re.compile(r"\blayers\.(\d+)\.")


@dataclass(frozen=True)
class Outcome:
    """A network and the learner's weights for it.

    Attributes:
        network: Its architecture.
        state: Tensors under the learner's names: `net.` for the network, `dense.` and others for
            heads that only help in training.
        source: Where it was read.
        finished: Whether its run reached the last step; True for bundles.
    """

    network: ModelConfig
    state: dict[str, Tensor]
    source: str
    finished: bool = True

    def weights(self) -> dict[str, Tensor]:
        """The network's own tensors under its own names."""
        return {name[4:]: t for name, t in self.state.items() if name.startswith("net.")}

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of one part, such as `dense.`, without the prefix."""
        cut = len(prefix)
        return {name[cut:]: t for name, t in self.state.items() if name.startswith(prefix)}


def without_layers(network: ModelConfig, removed: Iterable[int]) -> ModelConfig:
    """The architecture without some layers.

    Raises:
        WeightsError: a layer that is not there, or none would be left.
    """
    gone = set(removed)
    kept = [layer for layer in range(network.depth) if layer not in gone]
    if not kept or not gone <= set(range(network.depth)):
        raise WeightsError(
            f"layers {sorted(gone)} cannot be dropped from a network of {network.depth} layers"
        )
    gains = {kept.index(k): gain for k, gain in network.layer_gain.items() if k in kept}
    return replace(network, depth=len(kept), layer_gain=gains)


def remove_layers(state: Mapping[str, Tensor], removed: Iterable[int]) -> dict[str, Tensor]:
    """The same tensors without those of some layers, the others numbered anew.

    Example:
        >>> sorted(remove_layers({"layers.0.w": 1, "layers.1.w": 2, "x": 3}, [0]))
        ['layers.0.w', 'x']
    """
    gone = set(removed)
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        found = _LAYER.search(name)
        if found is None:
            out[name] = tensor
            continue
        number = int(found[1])
        if number not in gone:
            new = number - sum(1 for layer in gone if layer < number)
            out[name[: found.start(1)] + str(new) + name[found.end(1) :]] = tensor
    return out


def read_outcome(source: str | Path) -> Outcome:
    """The network and weights of a run, or of a bundle.

    Of a run those that its `bundle/` has: the moving average, with the rest of `optim.blend` from
    the weights that it began with.

    Raises:
        WeightsError: neither a run nor a bundle, a damaged one, or a run whose layers still fade.
    """
    state = run_in(source)
    if state is None:
        network = read_network(source)
        return Outcome(network, load_training_state(source), str(source))
    removed = state.get("removed", [])
    if state.get("drop") and not removed:
        raise WeightsError(
            f"{source} is a run whose layers {', '.join(map(str, state['drop']))} still fade (step "
            f"{state['step']}); let it go on until they are dropped"
        )
    network = ModelConfig.from_dict(state["network"])
    if removed:
        network = without_layers(network, removed)
    share = float(state.get("optim", {}).get("blend", 1.0))
    tensors = remove_layers(blended(state["average"], state.get("begun", {}), share), removed)
    return Outcome(network, tensors, str(source), bool(state.get("finished", True)))


def read_network(source: str | Path) -> ModelConfig:
    """The architecture of a run's outcome or of a bundle.

    Raises:
        WeightsError: neither.
    """
    if run_in(source) is not None:
        return read_outcome(source).network
    try:
        return ModelConfig.from_dict(read_config(find_bundle(source)).arch)
    except WeightsError as error:
        raise WeightsError(f"{source} is neither a run nor a bundle: {error}") from error


def save_run_bundle(
    config: TrainConfig,
    network: ModelConfig,
    state: Mapping[str, Tensor],
    folder: Path,
    *,
    training: bool = True,
    step: int = 0,
    seconds: float = 0.0,
    origin: Mapping[str, Any] | None = None,
) -> BundleConfig:
    """Write a bundle of weights in training, for tracking with PyTorch and for going on.

    Args:
        config: The run; the tracker takes its crop factors and `tracker`.
        network: The architecture of `state`.
        state: Tensors under the learner's names.
        folder: Where the bundle goes.
        training: Keep the parts that only help in training too.
        step: Steps taken, for its provenance.
        seconds: Time taken, for its provenance.
        origin: What the first weights brought along, as `read_origin` answers it.

    Raises:
        WeightsError: weights that are not finite.
        OutputError: the folder cannot be written.
    """
    arch = replace(network, drop_path=0.0)
    with torch.random.fork_rng():  # the run draws on as if nothing had been saved
        model = build(arch)
    model.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("net.")})
    provenance: dict[str, Any] = {
        "stage": config.stage,
        "steps": step,
        "minutes": round(seconds / 60, 1),
    }
    licence = None
    if origin:
        provenance["init"] = {key: origin[key] for key in ("name", "weights_sha256")}
        licence = {"weights": origin["licence"], "file": None}
    return save_bundle(
        model.eval(),
        folder,
        tracker=config.tracker_settings(thresholds_of(origin or {})),
        licence=licence,
        provenance=provenance,
        training=dict(state) if training else None,
    )
