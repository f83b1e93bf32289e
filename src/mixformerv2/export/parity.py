"""How far the exported graphs are from PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import EngineError
from ..runtime.onnx import OnnxEngine
from .graphs import SearchGraph, TemplateGraph

__all__ = ["CASES", "TOLERANCE", "Parity", "check_parity"]

TOLERANCE = 1e-4
"""Largest difference that an export may have, in boxes, scores and probabilities alike."""

CASES = ((1, 2), (3, 2), (2, 1), (1, 3))
"""Batches and numbers of templates that are compared: shapes must not be frozen in the graphs."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences between the graphs in ONNX Runtime and PyTorch, for one case.

    Attributes:
        batch: Search crops at once.
        templates: Templates for each.
        memory: Of keys and values, over the largest of them where that is above 1.
        boxes: In parts of the search crop.
        scores: After the sigmoid.
        probs: Of the distributions.
    """

    batch: int
    templates: int
    memory: float
    boxes: float
    scores: float
    probs: float

    @property
    def worst(self) -> float:
        """The largest of all; NaN where one is NaN."""
        return float(np.max([self.memory, self.boxes, self.scores, self.probs]))


def check_parity(
    template: Path,
    search: Path,
    in_torch: tuple[TemplateGraph, SearchGraph],
    tokens: int = 4,
) -> list[Parity]:
    """Compare two exported graphs with what they were made from, case by case.

    Args:
        template: `template.onnx`.
        search: `search.onnx`.
        in_torch: What they were made from.
        tokens: Axis of the exported memory along which its tokens lie, 4 or 3.

    Raises:
        EngineError: a difference above `TOLERANCE`.
    """
    engine = OnnxEngine(template, search)
    config = in_torch[1].model.config
    found = []
    for batch, count in CASES:
        templates = _crops(config.template_size, batch * count)
        templates = templates.reshape(batch, count, *templates.shape[1:])
        found.append(
            _compare(engine, in_torch, templates, _crops(config.search_size, batch), tokens)
        )
    for one in found:
        if not one.worst <= TOLERANCE:  # also refuses NaN
            raise EngineError(
                f"the exported graphs differ from PyTorch by {one.worst:.2g} with batch "
                f"{one.batch} and {one.templates} templates, more than {TOLERANCE:g}; "
                "nothing was written"
            )
    return found


def _compare(
    engine: OnnxEngine,
    in_torch: tuple[TemplateGraph, SearchGraph],
    templates: NDArray[np.uint8],
    search: NDArray[np.uint8],
    tokens: int,
) -> Parity:
    with torch.inference_mode():
        memory = in_torch[0](torch.from_numpy(templates))
        expected = [t.numpy() for t in in_torch[1](torch.from_numpy(search), memory)]
    exported = engine.encode_templates(templates)
    out = engine.step(search, exported)
    if tokens == 3:
        exported = exported.swapaxes(3, 4)
    got = (out.boxes, out.scores, out.probs)
    size = max(1.0, float(memory.abs().max()))
    return Parity(
        len(search),
        templates.shape[1],
        float(np.abs(exported - memory.numpy()).max()) / size,
        *(float(np.abs(a - b).max()) for a, b in zip(got, expected, strict=True)),
    )


def _crops(size: int, count: int) -> NDArray[np.uint8]:
    """Crops with coarse shapes and fine noise, as pictures have them."""
    draw = np.random.default_rng(size + count)
    coarse = draw.integers(0, 200, (count, 8, 8, 3))
    steps = np.arange(size) * 8 // size
    fine = draw.integers(0, 56, (count, size, size, 3))
    return (coarse[:, steps][:, :, steps] + fine).astype(np.uint8)
