"""A bundle's network as two ONNX graphs, for any program that runs ONNX."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..errors import EngineError, OutputError, WeightsError
from ..models.assemble import assemble
from ..models.config import ModelConfig
from ..models.mixformerv2 import MixFormerV2
from ..weights.bundle import (
    INT8_NAMES,
    PAPERS,
    BundleConfig,
    GraphInfo,
    file_sha256,
    find_bundle,
    load_model,
    read_config,
    write_config,
)
from .branch import EARLY, branch
from .graphs import Preprocess, SearchGraph, TemplateGraph
from .half import bf16_parity
from .ordered import TOKENS, Call, OrderedGraphs
from .parity import Parity, check_parity

__all__ = [
    "OPSET",
    "copy_rest",
    "export_bundle",
    "holds_other_weights",
    "write_graph",
    "written_whole",
]

_logger = logging.getLogger(__name__)

OPSET = 17
"""The first with LayerNormalization in one node; every engine of today reads it."""

_HALF_FROM = 1024
"""Tensors of fewer numbers stay float32: their Casts would cost more than the bytes saved."""

_TIMES = (np.float32(1), np.float32(8))
"""Tensors are kept as they are, or times 8: weights of queries have 1 / sqrt(64) in them, which
takes the smallest below what float16 holds."""

_NAMES = ("template.onnx", "search.onnx")
_FIGURES = tuple(name for name in PAPERS if name != "LICENSE")
"""What tells how well a network tracks: of one that does less work it is not true."""

_ENDS = {
    "template": (["templates"], ["memory"]),
    "search": (["search", "memory"], ["boxes", "scores", "probs"]),
}
_AXES = {
    "templates": {0: "batch", 1: "templates"},
    "search": {0: "batch", 1: "side", 2: "side"},
    "boxes": {0: "batch"},
    "scores": {0: "batch"},
    "probs": {0: "batch"},
}


def export_bundle(
    bundle: str | Path,
    out: str | Path | None = None,
    keep: tuple[int, int] | None = None,
    early: tuple[int, float] | None = None,
    *,
    overwrite: bool = False,
) -> list[Parity]:
    """Write `template.onnx` and `search.onnx`, checked against PyTorch.

    MixFormerV2 is written in the order of `ordered.py`, which engines run faster; the check is
    against the network as it is.

    Args:
        bundle: Name of a shipped bundle, or a bundle folder.
        out: Folder for the whole bundle; the graphs join the bundle itself where None.
        keep: Search tokens that go on, and after which layer (`ModelConfig.keep_tokens`,
            `keep_after`), in place of what the bundle says; its int8 graphs are left out then, and
            so are, from another folder, its card, figures and plots, which tell of more work.
        early: Layer after which a frame may end, and from which score on (`exit_after`,
            `exit_score`), likewise.
        overwrite: Replace a bundle with other weights that is in the folder already.

    Returns what was measured, one entry for each batch and number of templates.

    Raises:
        WeightsError: no such bundle, or weights that do not fit its config.
        EngineError: the graphs differ from PyTorch by more than 1e-4.
        ConfigError: a number of tokens or a layer that the network does not have.
        OutputError: the folder cannot be written, or holds a bundle with other weights.
    """
    source = find_bundle(bundle)
    folder = source if out is None else Path(out)
    config = read_config(source)
    other = holds_other_weights(folder, config, overwrite)
    model = load_model(source)
    whole = model.config
    made: tuple[str, ...] = _NAMES
    if keep is not None or early is not None:
        arch = model.config
        if keep is not None:
            arch = replace(arch, keep_tokens=keep[0], keep_after=keep[1])
        if early is not None:
            arch = replace(arch, exit_after=early[0], exit_score=early[1])
        model = assemble(arch, model.state_dict())
        provenance = _provenance(config.provenance, arch)
        config = replace(config, arch=arch.to_dict(), graphs={}, provenance=provenance)
        made += INT8_NAMES
    prepare = Preprocess(config.mean, config.std)
    template, search = TemplateGraph(model, prepare).eval(), SearchGraph(model, prepare).eval()
    arch = model.config
    templates = torch.zeros(2, 2, arch.template_size, arch.template_size, 3, dtype=torch.uint8)
    crops = torch.zeros(2, arch.search_size, arch.search_size, 3, dtype=torch.uint8)
    encode: torch.nn.Module = template
    step: torch.nn.Module = search
    tokens = 4
    if isinstance(model, MixFormerV2):
        graphs = OrderedGraphs(model, prepare).eval()
        encode, step, tokens = Call(graphs, graphs.encode), graphs.written_step(), TOKENS
    with torch.no_grad():
        memory = encode(templates)
    with written_whole(folder, *_NAMES) as paths:
        write_graph(encode, (templates,), paths[0], "template", config, tokens)
        write_graph(step, (crops, memory), paths[1], "search", config, tokens)
        parity = check_parity(paths[0], paths[1], (template, search), tokens)
    worst = max(one.worst for one in parity)
    half = bf16_parity(folder, config.tracker, arch)
    infos = {
        name: GraphInfo(
            file_sha256(folder / name), config.weights_sha256, "fp32", worst, bf16_parity=half
        )
        for name in _NAMES
    }
    left_behind = _FIGURES if model.config != whole else ()
    copy_rest(source, folder, *made, anew=other, left_behind=left_behind)
    for name in set(made) - set(_NAMES):
        (folder / name).unlink(missing_ok=True)
    write_config(folder, replace(config, graphs={**config.graphs, **infos}))
    _logger.info("%s: graphs differ from PyTorch by at most %.2g", folder, worst)
    return parity


@contextmanager
def written_whole(folder: Path, *names: str) -> Iterator[list[Path]]:
    """Paths to write to; the files get their names together, at the end, or not at all.

    A folder that was made for them goes again where they are not written.
    """
    parts = [folder / f".{name}.part" for name in names]
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield parts
            for part, name in zip(parts, names, strict=True):
                os.replace(part, folder / name)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
            if made and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise OutputError(f"cannot write graphs to {folder}: {error.strerror or error}") from error


def holds_other_weights(folder: Path, config: BundleConfig, overwrite: bool) -> bool:
    """Whether a bundle with other weights is in the way of one.

    Raises:
        OutputError: it is, and is not to be replaced.
    """
    if not (folder / "config.json").is_file():
        return False
    try:
        if read_config(folder).weights_sha256 == config.weights_sha256:
            return False
    except WeightsError:
        pass  # damaged, or of a later version: it may hold weights all the same
    if not overwrite:
        raise OutputError(
            f"{folder} holds a bundle with other weights already; give another folder, or "
            "--overwrite"
        )
    return True


def _provenance(before: dict[str, Any], arch: ModelConfig) -> dict[str, Any]:
    """What the weights were made from, and with how much less work they were exported."""
    out = {key: value for key, value in before.items() if key != "exported_with"}
    less: dict[str, Any] = {}
    if arch.keep_tokens:
        less |= {"keep_tokens": arch.keep_tokens, "keep_after": arch.keep_after}
    if arch.exit_score:
        less |= {"exit_score": arch.exit_score, "exit_after": arch.exit_after}
    return {**out, "exported_with": less} if less else out


def copy_rest(
    source: Path,
    folder: Path,
    *made: str,
    anew: bool = False,
    left_behind: Sequence[str] = (),
) -> None:
    """Weights, licence, card and graphs other than those just made travel along.

    Args:
        source: The bundle.
        folder: Where to.
        made: Files that are there already.
        anew: Remove what belongs to the weights that were there before.
        left_behind: Files that would not be true there; older ones of that name go too.
    """
    if source.resolve() == folder.resolve():
        return
    stays = {*made, *left_behind, "config.json", "training.safetensors"}
    try:
        old = {"training.safetensors", *_NAMES, *INT8_NAMES, *PAPERS} if anew else set()
        for name in (old | {*left_behind}) - {*made}:
            (folder / name).unlink(missing_ok=True)
        for path in source.iterdir():
            if path.is_file() and path.name not in stays:
                shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise OutputError(f"cannot copy the bundle to {folder}: {error.strerror}") from error


def write_graph(
    graph: torch.nn.Module,
    inputs: tuple[Any, ...],
    path: Path,
    name: Literal["template", "search"],
    config: BundleConfig,
    tokens: int = 4,
    half: bool = True,
) -> None:
    """Write one graph as ONNX, checked to be valid.

    Args:
        graph: Module to trace.
        inputs: Examples of what it takes.
        path: File to write.
        name: Which of the two it is.
        config: Of the bundle, for the metadata.
        tokens: Axis of the memory along which its tokens lie.
        half: Keep weights as float16 where that loses nothing.

    Raises:
        EngineError: the file is not valid ONNX.
    """
    given, answered = _ENDS[name]
    axes = {**_AXES, "memory": {2: "batch", tokens: "tokens"}}
    sure = float(config.arch.get("exit_score", 0.0)) if name == "search" else 0.0
    if sure:
        answered = [*EARLY, *answered]
        axes |= {early: {0: "batch"} for early in EARLY}
    with warnings.catch_warnings():
        # The exporter that traces says that it is the older one. It makes the same nodes in a
        # fifth of the time and needs no further package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            graph,
            inputs,
            str(path),
            input_names=given,
            output_names=answered,
            dynamic_axes={key: axes[key] for key in (*given, *answered)},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(path)
    if half:
        _halve(model.graph)
    if sure:
        branch(model, sure)
    helper.set_model_props(model, _metadata(name, config))
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise EngineError(f"the exported {name} graph is not valid ONNX: {error}") from error
    onnx.save(model, path)


def _halve(graph: Any) -> None:
    """Keep float32 tensors as float16 behind a Cast where that loses nothing.

    A bundle's weights were rounded to float16, so that it loses nothing for nearly all of them,
    and files are half as large. Engines undo it once, when they load the graph.
    """
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        full = numpy_helper.to_array(tensor)
        times = next((times for times in _TIMES if _fits_half(full * times)), None)
        if full.size < _HALF_FROM or times is None:
            continue
        name, whole = tensor.name, tensor.name if times == 1 else f"{tensor.name}.times"
        half = (full * np.float32(times)).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [whole], to=TensorProto.FLOAT))
        if times != 1:
            share = numpy_helper.from_array(np.array(1 / times, np.float32), f"{name}.share")
            graph.initializer.append(share)
            casts.append(helper.make_node("Mul", [whole, share.name], [name]))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _fits_half(full: NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore"):
        return np.array_equal(full.astype(np.float16).astype(np.float32), full)


def _metadata(name: str, config: BundleConfig) -> dict[str, str]:
    tracker = config.tracker
    return {
        "model": config.name,
        "graph": name,
        "format": "1",
        "input": "BGR, 8 bits, not normalised",
        "template_size": str(tracker.template_size),
        "search_size": str(tracker.search_size),
        "template_factor": str(tracker.template_factor),
        "search_factor": str(tracker.search_factor),
        "bins": str(config.bins),
        "has_score": str(config.has_score).lower(),
        "weights_sha256": config.weights_sha256,
        "licence": str(config.licence.get("weights", "not stated")),
    }
