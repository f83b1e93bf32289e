"""The one training loop, on Lightning Fabric."""

from __future__ import annotations

import copy
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ..errors import TrainingError, WeightsError
from .batches import batch_stream
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig
from .learner import Learner, moving_average, parameter_groups
from .losses import Predictions, total_loss
from .monitor import Monitor
from .schedule import lr_factor
from .transfer import start_from

__all__ = ["Run", "train"]

_logger = logging.getLogger(__name__)

Batch = dict[str, Tensor]


def train(
    config: TrainConfig,
    folder: Path,
    *,
    minutes: float | None = None,
    init: str | Path | None = None,
) -> Path:
    """Train until the last step of the schedule, or until the minutes are over.

    A folder that holds a checkpoint is carried on: weights, optimizer, moving average and the
    place in the stream of samples are those of the moment it was written.

    Args:
        config: The run.
        folder: Where checkpoint, log, curves and contact sheets go.
        minutes: Wall-clock budget; the run ends with a checkpoint when it is over.
        init: Bundle, by name or folder, or run folder whose weights start a fresh run.

    Returns:
        The path of the last checkpoint.

    Raises:
        TrainingError: the loss is no longer finite.
        WeightsError: a checkpoint or bundle that does not fit.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the checkpoint is written by then.
    """
    run = Run(config, folder, init)
    try:
        with _stopped_between_steps(run):
            run.go(minutes)
    finally:
        run.monitor.close()
    path = run.save()
    if run.interrupted:
        raise KeyboardInterrupt
    return path


class Run:
    """A run in progress: what is trained, where it stands, and where it writes."""

    def __init__(self, config: TrainConfig, folder: Path, init: str | Path | None = None) -> None:
        self.config = config
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.fabric = Fabric(accelerator=config.device, devices=1, precision=config.precision)
        learner = Learner(config.network)
        state = load_checkpoint(folder)
        if state is None and init is not None:
            start_from(learner, init)
        if config.stage == "score":
            learner.freeze_all_but_score()
        average = copy.deepcopy(learner)
        optimizer = torch.optim.AdamW(
            parameter_groups(learner, config.optim.weight_decay), lr=config.optim.lr, fused=True
        )
        self.step = 0
        self.seconds = 0.0
        self.interrupted = False
        if state is not None:
            self._restore(state, learner, average, optimizer)
        self.average = self.fabric.to_device(average).requires_grad_(False).eval()
        self.learner, self.optimizer = self.fabric.setup(learner, optimizer)
        self.batch: Batch = {}
        self.monitor = Monitor(folder, config, start=self.step)

    def _restore(
        self,
        state: dict[str, Any],
        learner: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        if state["network"] != self.config.network.to_dict():
            raise WeightsError(
                f"{self.folder} holds a run of another network ({state['network']}); give another "
                "folder, or the same model settings"
            )
        learner.load_state_dict(state["learner"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> Path:
        """Write a checkpoint of this moment."""
        return save_checkpoint(
            self.folder,
            {
                "step": self.step,
                "seconds": self.seconds,
                "samples": self.step * self.config.optim.batch * self.config.optim.accumulate,
                "network": self.config.network.to_dict(),
                "stage": self.config.stage,
                "optim": asdict(self.config.optim),
                "learner": _plain(self.learner.state_dict()),
                "average": _plain(self.average.state_dict()),
                "optimizer": self.optimizer.state_dict(),
                "rng": torch.get_rng_state(),
            },
        )

    def go(self, minutes: float | None) -> None:
        """Take steps until the schedule or the time is over."""
        config = self.config.optim
        started = saved = time.monotonic()
        before = self.seconds
        per_step = config.accumulate
        stream = batch_stream(self.config, first=self.step * per_step)
        while self.step < config.steps:
            try:
                self._one(stream)
            finally:
                self.seconds = before + time.monotonic() - started
            now = time.monotonic()
            if now - saved > 60 * self.config.save_minutes:
                self.save()
                self.monitor.look(self.average, self.batch)
                saved = now
            if self.interrupted or (minutes is not None and now - started > 60 * minutes):
                break
        if self.batch:
            self.monitor.look(self.average, self.batch)

    def _one(self, stream: Iterator[Batch]) -> None:
        """One optimizer step."""
        config = self.config.optim
        rate = config.lr * lr_factor(self.step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._train_mode()
        terms: dict[str, Tensor] = {}
        batch: Batch = {}
        for _ in range(config.accumulate):
            self.batch = batch = self.fabric.to_device(next(stream))
            out: Predictions = self.learner(batch["template"], batch["online"], batch["search"])
            loss, terms = total_loss(out, batch["box"], batch["present"].float(), self.config.loss)
            self.fabric.backward(loss / config.accumulate)
            terms["loss"] = loss.detach()
        norm = self.fabric.clip_gradients(
            self.learner, self.optimizer, max_norm=config.clip, error_if_nonfinite=False
        )
        if not torch.isfinite(terms["loss"]) or (norm is not None and not torch.isfinite(norm)):
            self._stop_on_nan(batch, terms)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        moving_average(self.average, _unwrap(self.learner), config.ema, self.step)
        self.monitor.log(self.step, rate, terms)

    def _train_mode(self) -> None:
        if self.config.stage == "score":
            self.learner.eval()  # batch norms keep what the box stage learnt
        else:
            self.learner.train()

    def _stop_on_nan(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        path = self.folder / f"bad_batch_{self.step}.pt"
        torch.save({k: v.cpu() for k, v in batch.items()}, path)
        values = {k: float(v) for k, v in terms.items()}
        raise TrainingError(
            f"the loss or its gradient is not finite at step {self.step} ({values}); the batch is "
            f"in {path}, the last checkpoint is untouched. Lower optim.lr and start again."
        )


@contextmanager
def _stopped_between_steps(run: Run) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run after the step in hand, so that nothing is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number: int, frame: object) -> None:
        run.interrupted = True

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unwrap(module: Any) -> nn.Module:
    inner: nn.Module = getattr(module, "module", module)
    return inner


def _plain(state: dict[str, Any]) -> dict[str, Tensor]:
    return {k: v.detach().cpu() for k, v in state.items()}
