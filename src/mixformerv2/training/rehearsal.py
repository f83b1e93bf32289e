"""What a run would be: its plan, its size, and the time of two steps, without starting it."""

from __future__ import annotations

import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..models.count import multiply_adds, parameters
from .config import TrainConfig
from .loop import Run
from .monitor import duration
from .stage import Stage

__all__ = ["Rehearsal", "describe_plan", "rehearse"]


@dataclass(frozen=True)
class Rehearsal:
    """Two steps of a run that leave nothing behind.

    Attributes:
        samples: Of one step.
        making: Seconds to make the second step's samples, in one process.
        step: Seconds of the second step without them.
        first: Seconds of the first step, compilation included.
        learnt: Parameters with a gradient.
        held: Parameters of the learner and of teachers altogether.
        state_bytes: Weights, gradients, moments, average and teachers.
        kept_bytes: What a batch keeps for its backward pass.
        peak_bytes: Measured on a GPU; 0 on a CPU.
    """

    samples: int
    making: float
    step: float
    first: float
    learnt: int
    held: int
    state_bytes: int
    kept_bytes: int
    peak_bytes: int

    def lines(self, config: TrainConfig) -> list[str]:
        """The figures for people."""
        each = max(self.step, self.making / max(1, config.workers))
        steps = config.optim.steps
        total = self.state_bytes + self.kept_bytes
        peak = f"; measured peak {_size(self.peak_bytes)}" if self.peak_bytes else ""
        return [
            f"parameters: {self.learnt:,} learn, {self.held - self.learnt:,} do not",
            f"memory: about {_size(total)} ({_size(self.state_bytes)} weights, gradients, moments, "
            f"average and teachers; {_size(self.kept_bytes)} of a batch){peak}",
            f"two steps of {self.samples} samples: {self.first:.2f} s, then {self.step:.2f} s; "
            f"samples made in {self.making:.2f} s by one process, {config.workers} will make them",
            f"about {self.samples / each:.0f} samples a second, "
            f"{duration(steps * each)} for {steps:,} steps",
        ]


def describe_plan(config: TrainConfig, stage: Stage) -> list[str]:
    """What a run learns, from what, with which steps."""
    optim, network = config.optim, config.network
    lines = [f"stage {config.stage}: {'; '.join(stage.plan()) or 'see the settings'}"]
    out = stage.network(optim.steps)
    if out is not None:
        removed = stage.removed(optim.steps)
        kept = f", of which {network.depth - len(removed)} stay" if removed else ""
        lines.append(
            f"network: {network.depth} layers{kept}, width {network.width}, search "
            f"{network.search_size} px, {network.bins} bins; {parameters(network) / 1e6:.2f} M "
            f"parameters, {multiply_adds(network) / 1e9:.2f} G multiply-adds a frame"
        )
    joint = optim.batch * optim.accumulate
    lines.append(
        f"{optim.steps:,} steps of {joint} samples on each device"
        f"{f' in {optim.accumulate} batches' if optim.accumulate > 1 else ''}: "
        f"{optim.steps * joint:,} samples; AdamW, rate {optim.lr:g}, {optim.schedule}, warm-up "
        f"{optim.warmup:,}, decay {optim.weight_decay:g}"
    )
    if config.init or config.distill.teacher:
        lines.append(f"from {config.init or 'nothing'}; teacher {config.distill.teacher or 'none'}")
    if config.eval.root is not None:
        lines.append(f"evaluated on {config.eval.root} every {config.eval.every_minutes:g} minutes")
    return lines


def rehearse(config: TrainConfig, init: str | Path | None = None) -> tuple[list[str], Rehearsal]:
    """Set up a run in a folder that is thrown away, and take two steps.

    Returns:
        Lines of the plan, and the figures.

    Raises:
        MixFormerError: whatever would keep the run from starting.
    """
    config = replace(config, init=config.init if init is None else str(init))
    quiet = replace(config, workers=0, log_every=max(3, config.log_every))
    with tempfile.TemporaryDirectory(prefix="mixformerv2-") as folder:
        run = Run(quiet, Path(folder))
        try:
            lines = describe_plan(config, run.stage)
            return lines, _two_steps(run, quiet)
        finally:
            run.monitor.close()


def _two_steps(run: Run, config: TrainConfig) -> Rehearsal:
    stream = run.stream()
    times = []
    kept = _Kept()
    for number in range(min(2, config.optim.steps)):
        began = time.perf_counter()
        batches = [next(stream) for _ in range(config.optim.accumulate)]
        made = time.perf_counter()
        # Counting costs time, so the second step, which is the one that is shown, goes without.
        with kept.watch() if number == 0 else nullcontext():
            run._one(iter(batches))
        _wait(run.fabric.device)
        times.append((made - began, time.perf_counter() - made))
    learner, teachers = run.inner, run.stage.teachers()
    learnt = sum(p.numel() for p in learner.parameters() if p.requires_grad)
    own = sum(p.numel() for p in learner.parameters())
    taught = sum(p.numel() for one in teachers for p in one.parameters())
    cuda = run.fabric.device.type == "cuda"
    return Rehearsal(
        samples=config.optim.batch * config.optim.accumulate * run.fabric.world_size,
        making=times[-1][0],
        step=times[-1][1],
        first=times[0][1],
        learnt=learnt,
        held=own + taught,
        state_bytes=4 * (2 * own + taught + 3 * learnt),
        kept_bytes=kept.bytes // config.optim.accumulate,
        peak_bytes=torch.cuda.max_memory_allocated() if cuda else 0,
    )


class _Kept:
    """Bytes that the forward passes of a step keep for the backward pass."""

    def __init__(self) -> None:
        self.bytes = 0
        self._seen: set[int] = set()

    def watch(self) -> AbstractContextManager[None]:
        """Count while the context lasts."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda value: value)

    def _pack(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._seen:
                self._seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
        return tensor


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
