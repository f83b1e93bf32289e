"""PyTorch: for bundles without graphs, and for CUDA."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import EngineError
from ..export.graphs import Preprocess, SearchGraph, TemplateGraph
from ..weights.bundle import BundleConfig, load_model
from .base import MEMORY_BATCH, EngineInfo, Memory, StepOutput
from .torch_crop import take_crops

if TYPE_CHECKING:
    from ..tracking.crop import Crop

__all__ = ["TorchEngine"]


class TorchEngine:
    """Runs a bundle's network as it is, in fp32, on CUDA where there is one.

    Args:
        folder: The bundle.
        config: What its `config.json` says.
        threads: For the whole process, as PyTorch has it; unchanged where None.
        reason: Why this engine was taken, for `info`.
        options: Any of "bf16", the backbone in bf16, heads and norms in float32; "compiled", the
            step through `torch.compile`, on CUDA as CUDA graphs (`reduce-overhead`): the first
            frame of each number of targets then takes a minute; "crops", the frame goes to the
            device whole and is cropped there.

    Raises:
        EngineError: the device has no room for the network, or does not start; later, from each
            call, what PyTorch cannot compile or has no memory for.
    """

    def __init__(
        self,
        folder: Path,
        config: BundleConfig,
        threads: int | None = None,
        reason: str = "",
        options: Sequence[str] = (),
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._half, self._compiled = "bf16" in options, "compiled" in options
        model = load_model(folder)
        if self._half:
            _keep_float32(model, self._device.type)
        with self._refusals():
            model = model.to(self._device)
            prepare = Preprocess(config.mean, config.std).to(self._device)
        self._template = TemplateGraph(model, prepare).eval()
        graph = SearchGraph(model, prepare).eval()
        self._search: Callable[[Tensor, Tensor], tuple[Tensor, ...]] = graph
        if self._compiled:
            mode = "reduce-overhead" if self._device.type == "cuda" else "default"
            self._search = torch.compile(graph, mode=mode, dynamic=False)
        if "crops" in options:
            self.take = self._take
        used = torch.get_num_threads()
        precision = "bf16" if self._half else "fp32"
        extras = "".join(f"-{one}" for one in options if one != "bf16")
        self.info = EngineInfo(f"torch{extras}", precision, used, self._device.type, reason)

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """Turn templates `[B, N, T, T, 3]`, BGR, into keys and values for `step`."""
        with self._refusals(), torch.inference_mode(), self._precision():
            return self._template(torch.from_numpy(templates).to(self._device))

    @torch.inference_mode()
    def join(self, memories: Sequence[Memory]) -> Memory:
        """Memories of several targets as that of a batch of them."""
        with self._refusals():
            return torch.cat(list(memories), dim=MEMORY_BATCH)

    def step(self, search: NDArray[np.uint8] | Tensor, memory: Memory) -> StepOutput:
        """Find the target in search crops `[B, S, S, 3]`, BGR; a tensor where `take` made them."""
        crops = torch.from_numpy(search) if isinstance(search, np.ndarray) else search
        with self._refusals(), torch.inference_mode(), self._precision():
            if self._compiled and self._device.type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            out = self._search(crops.to(self._device), memory)
            return StepOutput(*(tensor.float().cpu().numpy() for tensor in out))

    def _take(
        self, frame: NDArray[np.uint8], crops: Sequence[Crop], channels: str = "bgr"
    ) -> Tensor:
        """Crops of a frame `[H, W, 3]`, cut on the device: `[B, S, S, 3]` uint8, BGR."""
        plain = np.ascontiguousarray(frame)
        if not plain.flags.writeable:  # PyTorch has no arrays that may only be read
            plain = plain.copy()
        with self._refusals():
            return take_crops(torch.from_numpy(plain).to(self._device), crops, channels)

    def _precision(self) -> Any:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._half)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """What PyTorch raises, as the error of an engine."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{self._device.type} has not enough memory left ({_line(error)}); follow fewer "
                "targets at once, or end what else runs there"
            ) from error
        except RuntimeError as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise EngineError(
                    f"PyTorch cannot compile the step ({_line(error)}); `compiled` needs a C++ "
                    "compiler, and Triton on CUDA: install them, or take the engine without "
                    "`-compiled`"
                ) from error
            raise EngineError(f"PyTorch fails on {self._device.type}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _keep_float32(model: nn.Module, device: str) -> None:
    """Products of the backbone in bf16, the heads in float32: bf16 moves a side by a tenth of a
    bin.

    Weights are rounded now, once; autocast would do so in every frame.
    """
    backbone = model.get_submodule("backbone")
    for module in backbone.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(torch.bfloat16)
    for name, head in model.named_children():
        if name != "backbone":
            _in_float32(head, device)


def _in_float32(head: nn.Module, device: str) -> None:
    for name in ("forward", "remember"):  # the latter of a MixViT's score module
        method = getattr(head, name, None)
        if method is not None:
            setattr(head, name, partial(_run_in_float32, method, device))


def _run_in_float32(method: Callable[..., Any], device: str, *given: Any) -> Any:
    with torch.autocast(device, enabled=False):
        return method(*map(_float, given))


def _float(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_float, value))
    return value.float() if isinstance(value, Tensor) else value
