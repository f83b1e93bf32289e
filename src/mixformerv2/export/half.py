"""How far bf16 moves a bundle's boxes, where the processor multiplies it."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..models.config import ModelConfig
from ..tracking.settings import TrackerSettings
from .calibration import answers, distance, of_engine, read_crops

__all__ = ["bf16_parity"]

_logger = logging.getLogger(__name__)

_CROPS = 32


def bf16_parity(folder: Path, settings: TrackerSettings, arch: ModelConfig) -> float | None:
    """Median distance of a box's worst side from fp32, both in OpenVINO, in parts of the crop.

    None where OpenVINO is not installed, does not take bf16 by itself on this processor, or gives
    no finite answer in it.

    Args:
        folder: With `template.onnx` and `search.onnx`.
        settings: Sizes and factors of the crops, which are of the demo clip.
        arch: Of the network.
    """
    from ..runtime.openvino import OpenVinoEngine, own_precision

    paths = folder / "template.onnx", folder / "search.onnx"
    sizes = settings.search_size, arch.patch_size
    try:
        if own_precision() != "bf16":
            return None
        crops = read_crops(settings, count=_CROPS)
        full, half = (
            answers(of_engine(OpenVinoEngine(*paths, None, "", name, *sizes)), crops)
            for name in ("fp32", "bf16")
        )
    except EngineError as error:
        _logger.info("bf16 was not measured: %s", error)
        return None
    far = float(np.median(distance(half, full)[0]))
    return far if math.isfinite(far) else None
