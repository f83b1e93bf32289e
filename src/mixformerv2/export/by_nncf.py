"""int8 by NNCF, the quantiser of OpenVINO's makers: the same pair of files, other roundings.

Unlike `rounding.py` it shifts weights between layers (smooth quantisation) and corrects biases; it
rounds no keys and values, so that the memory stays float32, and puts nothing back into float.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from ..errors import EngineError
from ..runtime._reports import silence_reports
from ..runtime.onnx import OnnxEngine
from ..weights.bundle import BundleConfig
from .calibration import Crops
from .onnx import write_graph
from .ordered import TOKENS, Call, OrderedGraphs

__all__ = ["write_with_nncf"]

_IN_FLOAT = r".*/ask_attention/.*"
"""The last layer's attention: ONNX Runtime refuses its weights, which have three axes, with steps
of their own. It is a hundredth of the work."""


def write_with_nncf(
    graphs: OrderedGraphs, paths: list[Path], crops: Crops, config: BundleConfig
) -> None:
    """Write both graphs in int8, calibrated on crops.

    Args:
        graphs: The network, nothing in it rounded.
        paths: Files to write, of templates and of search.
        crops: To calibrate with.
        config: Of the bundle, for the metadata.

    Raises:
        EngineError: NNCF is not installed or fails, or a network that ends frames early.
    """
    if graphs.config.exit_after:
        raise EngineError(
            "NNCF leaves branches in float, and this network has one (exit_score); "
            "export it with our own quantiser, or with --exit-score 0"
        )
    nncf = _import()
    templates, search = (torch.from_numpy(v[:2]) for v in (crops.templates, crops.search))
    with torch.no_grad():
        memory = graphs.encode(templates)
    encode = Call(graphs, graphs.encode).eval()
    write_graph(encode, (templates,), paths[0], "template", config, TOKENS, half=False)
    step = graphs.written_step().eval()
    write_graph(step, (search, memory), paths[1], "search", config, TOKENS, half=False)
    inputs = list(_inputs(OnnxEngine(paths[0], paths[1]), crops))
    _quantise(nncf, paths[0], [{"templates": one["templates"]} for one in inputs])
    searches = [{key: one[key] for key in ("search", "memory")} for one in inputs]
    _quantise(nncf, paths[1], searches, [_IN_FLOAT])


def _import() -> ModuleType:
    os.environ.setdefault("NNCF_CI", "1")  # else it reports each use to its makers
    silence_reports()  # and so does OpenVINO, which it imports
    try:
        return importlib.import_module("nncf")
    except ImportError as error:
        raise EngineError(
            f"NNCF cannot be imported ({error}); pip install 'mixformerv2[nncf]'"
        ) from error


def _inputs(engine: OnnxEngine, crops: Crops) -> Iterator[dict[str, NDArray[Any]]]:
    """What both graphs take, one crop at a time."""
    for one in crops.parts(1):
        memory = np.asarray(engine.encode_templates(one.templates))
        yield {"templates": one.templates, "search": one.search, "memory": memory}


def _quantise(
    nncf: ModuleType,
    path: Path,
    inputs: list[dict[str, NDArray[Any]]],
    in_float: Sequence[str] = (),
) -> None:
    """A graph's file, in place; nodes of those patterns stay in float."""
    # Not its set_log_level, which also silences handlers that others hung there.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    advanced = importlib.import_module("nncf.quantization.advanced_parameters")
    # Weights in seven bits: without VNNI, sums of two products overflow sixteen, and boxes were
    # thrice as far off. ONNX Runtime takes activations with one step each, no others.
    options = advanced.AdvancedQuantizationParameters(
        overflow_fix=advanced.OverflowFix.ENABLE,
        activations_quantization_params=advanced.QuantizationParameters(per_channel=False),
    )
    model = onnx.load(path)
    try:
        rounded = nncf.quantize(
            model,
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(patterns=list(in_float)),
            advanced_parameters=options,
        )
    except Exception as error:  # its errors have no common class of their own
        raise EngineError(
            f"NNCF cannot make int8 of this network: {error}; export it with our own quantiser"
        ) from error
    onnx.helper.set_model_props(rounded, {one.key: one.value for one in model.metadata_props})
    onnx.save(rounded, path)
