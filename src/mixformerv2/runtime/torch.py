"""PyTorch: for bundles without graphs, and for CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..export.graphs import Preprocess, SearchGraph, TemplateGraph
from ..weights.bundle import BundleConfig, load_model
from .base import MEMORY_BATCH, EngineInfo, Memory, StepOutput

__all__ = ["TorchEngine"]


class TorchEngine:
    """Runs a bundle's network as it is, in fp32, on CUDA where there is one.

    Args:
        folder: The bundle.
        config: What its `config.json` says.
        threads: For the whole process, as PyTorch has it; unchanged where None.
        reason: Why this engine was taken, for `info`.
    """

    def __init__(
        self, folder: Path, config: BundleConfig, threads: int | None = None, reason: str = ""
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = load_model(folder).to(self._device)
        prepare = Preprocess(config.mean, config.std).to(self._device)
        self._template = TemplateGraph(model, prepare).eval()
        self._search = SearchGraph(model, prepare).eval()
        used = torch.get_num_threads()
        self.info = EngineInfo("torch", "fp32", used, self._device.type, reason)

    @torch.inference_mode()
    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """Turn templates `[B, N, T, T, 3]`, BGR, into keys and values for `step`."""
        return self._template(torch.from_numpy(templates).to(self._device))

    @torch.inference_mode()
    def join(self, memories: Sequence[Memory]) -> Memory:
        """Memories of several targets as that of a batch of them."""
        return torch.cat(list(memories), dim=MEMORY_BATCH)

    @torch.inference_mode()
    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        """Find the target in search crops `[B, S, S, 3]`, BGR."""
        out = self._search(torch.from_numpy(search).to(self._device), memory)
        return StepOutput(*(tensor.cpu().numpy() for tensor in out))
