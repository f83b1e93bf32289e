"""A bundle's network in int8: one pair of ONNX files that ONNX Runtime and OpenVINO both run fast.

The ranges of the activations come from crops of real videos. What loses too much is kept in float:
each group of roundings (stem, products and attention of each layer, heads) is measured by itself,
and the worst ones go, one after the other, until the boxes are near enough. NNCF can do the
rounding instead (`by_nncf.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, EngineError
from ..models.mixformerv2 import MixFormerV2
from ..runtime.choice import int8_instructions
from ..runtime.onnx import OnnxEngine
from ..weights.bundle import (
    INT8_NAMES,
    BundleConfig,
    GraphInfo,
    file_sha256,
    find_bundle,
    load_model,
    read_config,
    write_config,
)
from .by_nncf import write_with_nncf
from .calibration import Answers, Crops, Run, answers, distance, of_engine, read_crops
from .graphs import Preprocess, SearchGraph, TemplateGraph
from .onnx import copy_rest, holds_other_weights, write_graph, written_whole
from .ordered import TOKENS, Call, OrderedGraphs
from .rounding import Mode

__all__ = ["LIMIT", "QUANTIZERS", "Int8Report", "export_int8", "record_auc"]

_logger = logging.getLogger(__name__)

LIMIT = 0.004
"""Median distance of a box from float, in parts of the search crop, above which groups are put
back into float: half a pixel of a crop of 128."""

_EXACT = 1e-4
"""Largest difference that the same network in another order may have before it is rounded."""


QUANTIZERS = ("own", "nncf")
"""Who may round."""


@dataclass(frozen=True, slots=True)
class Int8Report:
    """What rounding does to the boxes of the calibration crops.

    Distances are of the worst side of a box, in pixels of the search crop.

    Attributes:
        groups: Median distance with one group rounded alone; empty with NNCF.
        kept: Groups that stay in float.
        median: With all others rounded, in ONNX Runtime.
        high: Its 95th percentile.
        scores: Median difference of the scores.
    """

    groups: dict[str, float]
    kept: tuple[str, ...]
    median: float
    high: float
    scores: float


def export_int8(
    bundle: str | Path,
    out: str | Path | None = None,
    sources: Sequence[str | Path] = (),
    count: int = 96,
    limit: float = LIMIT,
    quantizer: str = "own",
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> Int8Report:
    """Write `template.int8.onnx` and `search.int8.onnx`.

    Args:
        bundle: Name of a shipped bundle, or a bundle folder.
        out: Folder for the whole bundle; the graphs join the bundle itself where None.
        sources: Videos to calibrate with, whatever `open_source` takes; the demo clip where empty.
        count: Crops to calibrate with.
        limit: Median distance of the boxes, in parts of the search crop, that is allowed.
        quantizer: "own", or "nncf" for NNCF's roundings, which engines run alike.
        overwrite: Replace a bundle with other weights that is in the folder already.
        tell: Called with what is done next, to show how far it is: minutes for a large network.

    Raises:
        WeightsError: no such bundle, or weights that do not fit its config.
        SourceError: a video that cannot be read.
        EngineError: a network of another family, graphs that do not answer as it does, or no NNCF.
        ConfigError: another quantizer.
        OutputError: the folder cannot be written, or holds a bundle with other weights.
    """
    if quantizer not in QUANTIZERS:
        raise ConfigError(f"quantizer must be one of {', '.join(QUANTIZERS)}, got {quantizer!r}")
    source = find_bundle(bundle)
    folder = source if out is None else Path(out)
    config = read_config(source)
    other = holds_other_weights(folder, config, overwrite)
    model = load_model(source)
    prepare = Preprocess(config.mean, config.std)
    tell("reading crops to calibrate with")
    crops = read_crops(config.tracker, sources, count)
    if not isinstance(model, MixFormerV2):
        raise EngineError(
            f"{config.name} is a {type(model).__name__}; only MixFormerV2 networks go into int8, "
            "for they are the ones to run in real time; export it without --int8"
        )
    graphs = OrderedGraphs(model, prepare).eval()
    true = _torch(TemplateGraph(model, prepare).eval(), SearchGraph(model, prepare).eval())
    tell(f"{len(crops.search)} crops in fp32")
    with torch.inference_mode():
        expected = answers(true, crops)
    alone: dict[str, float] = {}
    kept: list[str] = []
    with written_whole(folder, *INT8_NAMES) as paths:
        if quantizer == "nncf":
            tell("rounding by NNCF")
            write_with_nncf(graphs, paths, crops, config)
            rounded = expected
        else:
            with torch.inference_mode():
                alone, kept = _choose(graphs, crops, expected, limit, tell)
                graphs.packed = not any(group.startswith("attention") for group in kept)
                rounded = answers(_torch(graphs.encode, graphs.step), crops)
            _write(graphs, paths, crops, config)
        tell("checking the graphs against PyTorch")
        template, search = paths
        written = answers(of_engine(OnnxEngine(template, search)), crops)
        _check(written, rounded, expected, limit)
    boxes, scores = distance(written, expected)
    infos = {
        name: GraphInfo(
            file_sha256(folder / name), config.weights_sha256, "int8", float(np.median(boxes))
        )
        for name in INT8_NAMES
    }
    copy_rest(source, folder, *INT8_NAMES, anew=other)
    write_config(folder, replace(config, graphs={**config.graphs, **infos}))
    side = config.tracker.search_size
    return Int8Report(
        {name: value * side for name, value in alone.items()},
        tuple(kept),
        float(np.median(boxes)) * side,
        float(np.quantile(boxes, 0.95)) * side,
        float(np.median(scores)),
    )


def record_auc(folder: str | Path, loss: float) -> None:
    """Note in `config.json` how much AUC the int8 graphs lose against fp32.

    Args:
        folder: A bundle with int8 graphs.
        loss: AUC of fp32 less that of int8, over sequences with known boxes.
    """
    config = read_config(folder)
    graphs = {
        name: replace(info, auc_loss=loss) if name in INT8_NAMES else info
        for name, info in config.graphs.items()
    }
    write_config(folder, replace(config, graphs=graphs))


def _choose(
    graphs: OrderedGraphs,
    crops: Crops,
    expected: Answers,
    limit: float,
    tell: Callable[[str], None],
) -> tuple[dict[str, float], list[str]]:
    """Median distance of each group alone, and the groups to keep in float; switches the rest."""
    run = _torch(graphs.encode, graphs.step)
    groups = list(dict.fromkeys(rounding.group for rounding in graphs.roundings()))
    tell("watching the ranges of all values")
    _switch(graphs, "watch", groups)
    unrounded = float(distance(answers(run, crops), expected)[0].max())
    if not unrounded <= _EXACT:  # also refuses NaN
        raise EngineError(
            f"this network, put in order for int8, answers {unrounded:.2g} beside itself; "
            "its weights are too large for float32, train it further"
        )
    for rounding in graphs.roundings():
        rounding.settle()

    def median(chosen: Iterable[str]) -> float:
        _switch(graphs, "on", chosen)
        return float(np.median(distance(answers(run, crops), expected)[0]))

    alone: dict[str, float] = {}
    for number, group in enumerate(groups, 1):
        tell(f"what rounding costs: {group} alone, {number} of {len(groups)}")
        alone[group] = median([group])
    kept: list[str] = []
    tell("all of them together")
    while groups and median(groups) > limit:
        worst = max(groups, key=alone.__getitem__)
        groups.remove(worst)
        kept.append(worst)
        tell(f"without {', '.join(kept)}")
        _logger.info("%s stays in float: %.4f of the crop alone", worst, alone[worst])
    return alone, kept


def _switch(graphs: OrderedGraphs, mode: Mode, groups: Iterable[str]) -> None:
    chosen = set(groups)
    for rounding in graphs.roundings():
        rounding.mode = mode if rounding.group in chosen else "off"


def _torch(
    template: Callable[[Tensor], Tensor], search: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
) -> Run:
    def run(crops: Crops) -> tuple[Any, Any]:
        out = search(torch.from_numpy(crops.search), template(torch.from_numpy(crops.templates)))
        return out[0].numpy(), out[1].numpy()

    return run


def _check(written: Answers, rounded: Answers, expected: Answers, limit: float) -> None:
    """Refuse graphs that are further from the network than rounding explains.

    They cannot equal the rounded network in PyTorch digit for digit: where a sum differs in its
    last digit, a number falls on the other side of a step.
    """
    far = float(np.median(distance(written, expected)[0]))
    apart = float(np.median(distance(written, rounded)[0]))
    if not (far <= 2 * limit and apart <= 2 * limit):  # also refuses NaN
        raise EngineError(
            f"the int8 graphs differ from PyTorch by {far:.2g} of the search crop, from their own "
            f"rounding by {apart:.2g}; {2 * limit:g} is allowed; nothing was written{_overflow()}"
        )


def _overflow() -> str:
    """What may be the cause on this processor, and the way out."""
    if int8_instructions() is not None:
        return ""
    return (
        "; this processor has no instructions for int8, so that sums in engines overflow: "
        "export on one that has, or with NNCF (--quantizer nncf), whose weights have seven bits"
    )


def _write(graphs: OrderedGraphs, paths: list[Path], crops: Crops, config: BundleConfig) -> None:
    with torch.no_grad():
        templates, search = (torch.from_numpy(v[:2]) for v in (crops.templates, crops.search))
        memory = graphs.encode(templates)
    encode, step = Call(graphs, graphs.encode).eval(), graphs.written_step().eval()
    write_graph(encode, (templates,), paths[0], "template", config, TOKENS)
    write_graph(step, (search, memory), paths[1], "search", config, TOKENS)
