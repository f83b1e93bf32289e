"""Start a run from weights that exist: of another run, of a bundle, of another input size."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..models.config import ModelConfig
from ..models.registry import build
from .checkpoint import load_checkpoint
from .learner import Learner
from .origin import is_shipped, run_in
from .outcome import Outcome, read_outcome

__all__ = [
    "backbone_depth",
    "check_backbone",
    "fit_bins",
    "is_backbone",
    "resample_bins",
    "start_from",
]

_logger = logging.getLogger(__name__)
_LATER = ("dense.", "net.score_head.")
"""Heads that a stage may add to weights that lack them."""
_OF_TEACHER = "project."
"""Layers that hold a student to a teacher of another width, each time anew."""
_MAY_DIFFER = ("template_size", "search_size", "bins", "score_head", "drop_path", "layer_gain")
"""Settings of a network that its weights do not depend on, or are fitted to."""


def resample_bins(rows: Tensor, bins: int) -> Tensor:
    """Rows that belong to bins `[K, ...]` for another number of bins, `[bins, ...]`.

    Bin i stands at i/K of the crop (fact 3), so row j of the result is read between the rows on
    either side of j K / bins; what lies beyond the last row repeats it.

    Example:
        >>> resample_bins(torch.tensor([0.0, 1.0, 2.0]), 6)
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000, 2.0000])
    """
    count = rows.shape[0]
    place = torch.arange(bins, dtype=torch.float64) * count / bins
    low = place.long().clamp(max=count - 1)
    high = (low + 1).clamp(max=count - 1)
    share = (place - low).to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))
    return rows[low] * (1 - share) + rows[high] * share


def start_from(learner: nn.Module, source: str | Path, layers: str = "first") -> None:
    """Take the weights that a run folder's `bundle/` has, or those of a bundle.

    The input sizes may differ (progressive sizes: small crops first): position embeddings belong
    to the size and are computed, and the box head's rows are resampled to the new bins. Of a MixViT
    a MixFormerV2 takes the backbone, and the other way round. A score head that the network here
    does not have is left behind, and so is a dense head whose tokens have another number of bins.

    Args:
        learner: What is trained.
        source: Run folder or bundle. A run of masked-autoencoder pre-training or a published MAE
            checkpoint (a file) gives its backbone alone.
        layers: Which layers of such a backbone, or of the other family's, are taken where the
            network has fewer, as `weights.mae.choose_layers` takes it.

    Raises:
        WeightsError: weights of another network.
        ConfigError: layers that are not there.
    """
    if isinstance(learner, Learner) and is_backbone(source):
        _start_backbone(learner, Path(source), layers)
        return
    outcome = read_outcome(source)
    if (
        isinstance(learner, Learner)
        and outcome.network.corner_head != learner.net.config.corner_head
    ):
        _take_backbone(learner, outcome, layers)
        return
    wanted = outcome.state
    # What only held a student to its teacher is of no use without that teacher.
    wanted = {name: t for name, t in wanted.items() if not name.startswith(_OF_TEACHER)}
    if getattr(learner, "dense", None) is None:
        wanted = {name: t for name, t in wanted.items() if not name.startswith("dense.")}
    if isinstance(learner, Learner) and not learner.net.config.score_head:
        wanted = {name: t for name, t in wanted.items() if not name.startswith("net.score_head.")}
    if isinstance(learner, Learner):
        wanted = _with_dense_that_fits(fit_bins(wanted, learner.net.config.bins), learner)
    try:
        missing, unexpected = learner.load_state_dict(wanted, strict=False)
    except RuntimeError as error:  # shapes that differ
        where = str(error).partition("size mismatch for ")[2].partition(". ")[0]
        raise _of_another(outcome, learner, f"sizes of {where} differ") from error
    if unexpected or any(not name.startswith((*_LATER, _OF_TEACHER)) for name in missing):
        what = f"missing {missing[:3]}, unexpected {unexpected[:3]}"
        raise _of_another(outcome, learner, what)
    for head in sorted(
        {prefix for prefix in _LATER for name in missing if name.startswith(prefix)}
    ):
        _logger.warning("%s has no %s* that fit; they start from random weights", source, head)


def _of_another(outcome: Outcome, learner: nn.Module, what: str) -> WeightsError:
    """What to say of weights that do not fit: the settings in which the networks differ."""
    if isinstance(learner, Learner):
        ours, theirs = learner.net.config.to_dict(), outcome.network.to_dict()
        # Heads and sizes that may differ are not what it is about.
        names = [name for name in theirs if name not in _MAY_DIFFER and theirs[name] != ours[name]]
        if names:
            what = ", ".join(f"{name} {theirs[name]} there, {ours[name]} here" for name in names)
            what += "; set " + " ".join(f"model.{name}={theirs[name]}" for name in names)
    return WeightsError(f"{outcome.source} holds weights of another network: {what}")


def _with_dense_that_fits(state: Mapping[str, Tensor], learner: Learner) -> dict[str, Tensor]:
    """Without the dense head's sides where a token has another number of bins there."""
    ours = learner.state_dict()
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith("dense.sides.") or ours[name].shape == tensor.shape
    }


def _take_backbone(learner: Learner, outcome: Outcome, layers: str) -> None:
    """Stem and layers of a network of the other family; its heads are of no use here."""
    from ..weights.mae import init_backbone

    theirs = outcome.part("net.backbone.")
    report = init_backbone(learner.net, theirs, layers, source=outcome.source)
    _logger.info(
        "the backbone is that of %s, layers %s; heads start from random weights",
        outcome.source,
        report.layers,
    )


def is_backbone(source: str | Path) -> bool:
    """Whether a source is a pre-trained backbone alone: a MAE checkpoint, or a run of stage mae."""
    if Path(source).is_file():
        return not is_shipped(source)
    state = run_in(source)
    return state is not None and state.get("stage") == "mae"


def backbone_depth(source: str | Path) -> int:
    """Layers of a pre-trained backbone.

    Raises:
        WeightsError: it cannot be read.
    """
    from ..weights.mae import depth_of

    return depth_of(_read_backbone(Path(source)))


def check_backbone(network: ModelConfig, source: str | Path, layers: str) -> None:
    """Refuse a pre-trained backbone that `start_from` would refuse for this network.

    Raises:
        WeightsError: it cannot be read, or is another backbone.
        ConfigError: layers that are not there.
    """
    from ..weights.mae import match_backbone

    with torch.device("meta"):
        net = build(network)
    match_backbone(net, _read_backbone(Path(source)), layers, source=str(source))


def _read_backbone(source: Path) -> dict[str, Tensor]:
    from ..weights.mae import read_mae

    state = None if source.is_file() else load_checkpoint(source, lazy=True)
    return read_mae(source if state is None else state["average"])


def _start_backbone(learner: Learner, source: Path, layers: str) -> None:
    """Layers of a pre-trained backbone."""
    from ..weights.mae import init_backbone

    report = init_backbone(learner.net, _read_backbone(source), layers, source=str(source))
    _logger.info("%s: the backbone starts from layers %s", source, report.layers)


def fit_bins(state: Mapping[str, Tensor], bins: int) -> dict[str, Tensor]:
    """The same state with the last layer of each side's MLP at another number of bins."""
    out = dict(state)
    for name, value in state.items():
        if ".mlps." in name and name.split(".")[-2] in ("fc2", "norm2"):
            out[name] = resample_bins(value, bins) if value.shape[0] != bins else value
    return out
