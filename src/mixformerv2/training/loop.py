"""The one training loop, on Lightning Fabric, for every stage."""

from __future__ import annotations

import copy
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import DataError, WeightsError
from ..weights.files import make_folder
from .batches import batch_stream
from .blend import blended, brought
from .checkpoint import load_checkpoint, one_writer, save_checkpoint
from .config import TrainConfig
from .devices import make_fabric, settle_precision
from .guard import LossGuard
from .judge import Judge
from .learner import moving_average, parameter_groups
from .monitor import Monitor
from .origin import read_origin, thresholds_of
from .outcome import remove_layers, save_run_bundle, without_layers
from .schedule import lr_factor
from .shards import divide_optimizer_state, whole, whole_optimizer_state, whole_state
from .stage import Batch, make_stage
from .stops import check_minutes, of_lost_process, stopped_between_steps

__all__ = ["Run", "train"]

_logger = logging.getLogger(__name__)


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
        init: Bundle, by name or folder, or run folder whose weights start a fresh run; instead of
            the settings' `init`.

    Returns:
        The path of the last checkpoint.

    Raises:
        ConfigError: a budget below zero.
        TrainingError: the loss is no longer finite, or it exploded; or a process that makes
            samples died.
        WeightsError: a checkpoint, bundle or teacher that does not fit.
        OutputError: the disk is full, and the last good checkpoint stays; or another process
            trains in the folder.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the checkpoint is written by then.
    """
    check_minutes(minutes)
    with one_writer(folder):
        run = Run(config, folder, init)
        try:
            with stopped_between_steps(run):  # a second Ctrl-C must not cost the first its save
                run.go(minutes)
                path = run.save()
            if not run.interrupted:
                run.end()
            run.fabric.barrier()  # nobody goes on before the files are there
        finally:
            run.monitor.close()
    if run.interrupted:
        raise KeyboardInterrupt
    return path


class Run:
    """A run in progress: what is trained, where it stands, and where it writes."""

    def __init__(self, config: TrainConfig, folder: Path, init: str | Path | None = None) -> None:
        self.config = config = settle_precision(config)
        self.folder = folder
        make_folder(folder)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.fabric = make_fabric(config)
        self.stage = make_stage(config)
        self.judge = Judge(config.eval)
        self.guard = LossGuard(folder, config.optim.explode, self.fabric.global_rank)
        self.step = 0
        self.seconds = 0.0
        self.interrupted = False
        torch.manual_seed(config.seed)
        learner = self.stage.build()
        state = load_checkpoint(folder, whole=True)
        drawn = {name: value.clone() for name, value in learner.state_dict().items()}
        if state is None:
            self.stage.start(learner, init or config.init)
        source = self.stage.begins_with(init or config.init)
        self.origin = self._origin_of(state, source)
        config.tracker_settings(thresholds_of(self.origin))  # refused now, not after the last step
        self.begun = self._first_weights(learner, state, source, drawn)
        self.name = (state or {}).get("run") or uuid.uuid4().hex[:12]
        self.stage.freeze(learner)
        if config.optim.channels_last:
            learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(learner)
        if state is not None:
            self._restore(state, learner, average)
        self._set_up(learner, average, None if state is None else state["optimizer"])
        self.batch: Batch = {}
        self.monitor = Monitor(
            folder, config, start=self.step, world=self.fabric.world_size, shown=self.is_first
        )

    @property
    def is_first(self) -> bool:
        """Whether this process writes; with one process, always."""
        return bool(self.fabric.is_global_zero)

    def _optimizer(self, learner: nn.Module) -> torch.optim.AdamW:
        optim = self.config.optim
        groups = parameter_groups(learner, optim.weight_decay, optim.layer_decay, optim.backbone)
        return torch.optim.AdamW(groups, lr=optim.lr, fused=optim.fused)

    def _set_up(self, learner: nn.Module, average: nn.Module, state: dict[str, Any] | None) -> None:
        self.stage.place(self.fabric.device)
        self.average = self.fabric.to_device(average).requires_grad_(False).eval()
        if self.config.optim.compile:
            learner.compile()  # in place: names of parameters stay as they are
            self.stage.compile()
        self.inner = learner  # what `learner` wraps for its device
        self.learner = self.fabric.setup_module(learner)
        optimizer = self._optimizer(learner)  # of what each process has of the parameters
        if state is not None:
            kept = [(group["scale"], group["weight_decay"]) for group in optimizer.param_groups]
            try:
                optimizer.load_state_dict(divide_optimizer_state(state, optimizer))
            except ValueError as error:
                raise WeightsError(
                    f"{self.folder} holds a run whose parameters are grouped otherwise; carry it "
                    "on with its own optim.layer_decay and optim.backbone, or give another folder"
                ) from error
            for group, (scale, decay) in zip(optimizer.param_groups, kept, strict=True):
                group["scale"], group["weight_decay"] = scale, decay
        self.optimizer: Any = self.fabric.setup_optimizers(optimizer)

    def _restore(self, state: dict[str, Any], learner: nn.Module, average: nn.Module) -> None:
        ours = self.stage.describe()
        theirs = {key: state.get(key, value) for key, value in ours.items()}
        if theirs["network"] != ours["network"]:
            raise WeightsError(
                f"{self.folder} holds a run of another network ({theirs['network']}); give another "
                "folder, or the same model settings"
            )
        if theirs != ours:
            changed = sorted(key for key in ours if theirs[key] != ours[key])
            raise WeightsError(
                f"{self.folder} holds a run with another {', '.join(changed)} "
                f"({', '.join(str(theirs[key]) for key in changed)}); give another folder"
            )
        extra = sorted(state["learner"].keys() ^ learner.state_dict().keys())
        try:
            learner.load_state_dict(state["learner"])
            average.load_state_dict(state["average"])
        except RuntimeError as error:
            what = f"{extra[0]} is in one of the two alone" if extra else "their sizes differ"
            raise WeightsError(
                f"{self.folder} holds a run with other parts than these settings ask for ({what}); "
                "carry it on with its own loss and mae settings, or give another folder"
            ) from error
        self.step, self.seconds = state["step"], state["seconds"]
        self.guard.mean, self.guard.seen = state.get("guard", (0.0, 0))

    def _origin_of(self, state: dict[str, Any] | None, source: str | Path | None) -> dict[str, Any]:
        """What the first weights brought along; says where those asked for are not these."""
        theirs = read_origin(source)
        if state is None:
            return theirs
        ours: dict[str, Any] = state.get("origin", {})
        if theirs not in ({}, ours) and self.is_first:
            _logger.warning(
                "%s holds a run at step %d, which is carried on; it began with other weights, and "
                "--init %s is left aside: for a fresh run give another folder (--out)",
                self.folder, state["step"], source,
            )  # fmt: skip
        return ours

    def _first_weights(
        self,
        learner: nn.Module,
        state: dict[str, Any] | None,
        source: str | Path | None,
        drawn: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """A copy of what the run began with, where its bundle is to be blended with it.

        Once it is kept it stays, also where a later call asks for the trained weights alone.
        """
        begun: dict[str, Tensor] = {} if state is None else state.get("begun", {})
        if begun or self.config.optim.blend == 1:
            return begun
        if state is None and source is not None:
            return brought(_plain(learner.state_dict()), drawn)
        if self.is_first:
            _logger.warning(
                "optim.blend %g has nothing to blend with: this run began without --init, or with "
                "optim.blend=1; its bundle gets the trained weights",
                self.config.optim.blend,
            )
        return begun

    def save(self) -> Path:
        """Write a checkpoint of this moment; every process must call it."""
        learner, optimizer = whole_state(self.inner), whole_optimizer_state(self.optimizer)
        if not self.is_first:
            return self.folder / "checkpoint.pt"
        optim = self.config.optim
        return save_checkpoint(
            self.folder,
            {
                **self.stage.describe(),
                "run": self.name,
                "step": self.step,
                "seconds": self.seconds,
                "samples": self.step * optim.batch * optim.accumulate * self.fabric.world_size,
                "removed": list(self.stage.removed(self.step)),
                "finished": self.step >= optim.steps,
                "optim": asdict(optim),
                "seed": self.config.seed,
                "origin": self.origin,
                "begun": self.begun,
                "learner": _plain(learner),
                "average": _plain(self.average.state_dict()),
                "optimizer": optimizer,
                "guard": (self.guard.mean, self.guard.seen),
            },
        )

    def go(self, minutes: float | None) -> None:
        """Take steps until the schedule or the time is over."""
        started = saved = time.monotonic()
        before = self.seconds
        stream = self.stream()
        while self.step < self.config.optim.steps:
            try:
                self._one(stream)
            except DataError:
                if self.step and self.fabric.world_size == 1:
                    self.save()  # the weights are as good as they were before the bad sample
                raise
            except RuntimeError as error:
                lost = of_lost_process(error)
                if lost is None:
                    raise
                raise lost from error  # nothing is saved: half a step may have been taken
            finally:
                self.seconds = before + time.monotonic() - started
            now = time.monotonic()
            over = self.interrupted or (minutes is not None and now - started > 60 * minutes)
            due = now - saved > 60 * self.config.save_minutes
            over, due, judge = self._agree(over, due, self.judge.due)
            if due or judge:  # an evaluation takes long
                self.save()
                self._look()
                saved = time.monotonic()
            if judge and not over:
                self.evaluate()
            if over:
                break
        self._look()

    def stream(self) -> Iterator[Batch]:
        """This process's batches, from the next step on."""
        world, rank = self.fabric.world_size, self.fabric.global_rank
        first = self.step * self.config.optim.accumulate * world + rank
        return batch_stream(self.config, first=first, stride=world)

    def end(self) -> None:
        """After the last step of this sitting: a bundle, and its figures where they are wanted."""
        if self.judge.wanted:
            self.evaluate()
        else:
            self.write_bundle()

    def write_bundle(self) -> Path | None:
        """Write `bundle/` in the run's folder: the moving average as a tracker.

        None where the stage trains no tracker.
        """
        network, folder = self.stage.network(self.step), self.folder / "bundle"
        if network is None or not self.is_first:
            return None
        removed = self.stage.removed(self.step)
        weights = blended(_plain(self.average.state_dict()), self.begun, self.config.optim.blend)
        save_run_bundle(
            self.config,
            without_layers(network, removed) if removed else network,
            remove_layers(weights, removed),
            folder,
            step=self.step,
            seconds=self.seconds,
            origin=self.origin,
        )
        return folder

    def evaluate(self) -> None:
        """Track the sequences of the settings with the moving average; figures go to the log."""
        began = time.monotonic()
        bundle = self.write_bundle()
        if bundle is None:
            self.judge.postpone()  # there is no tracker yet; else each step would be saved for it
        else:
            figures = self.judge.figures(bundle)
            if figures:
                self.monitor.evaluated(self.step, figures, time.monotonic() - began)
                if self.step >= self.config.optim.steps:
                    self._look()  # the last evaluation belongs on the curves

    def _agree(self, *wishes: bool) -> tuple[bool, ...]:
        """What the first process wishes: all must do the same after the same step."""
        if self.fabric.world_size == 1:
            return wishes
        agreed: tuple[bool, ...] = self.fabric.broadcast(wishes, src=0)
        return agreed

    def _look(self) -> None:
        if self.is_first and self.batch:
            self.monitor.look(self.stage, self.average, self.batch)

    def _one(self, stream: Iterator[Batch]) -> None:
        """One optimizer step."""
        config = self.config.optim
        rate = config.lr * lr_factor(self.step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        # What is drawn in a step, as for stochastic depth, is a function of the seed, the step and
        # the process, so that a resumed run draws the same.
        torch.manual_seed(hash((self.config.seed, self.step, self.fabric.global_rank)))
        self.stage.train_mode(self.inner)
        self.stage.before_step((self.inner, self.average), self.step)
        batches = [self.fabric.to_device(next(stream)) for _ in range(config.accumulate)]
        self.batch = batches[-1]
        terms = self._gradients(batches)
        norm = self.fabric.clip_gradients(
            self.learner, self.optimizer, max_norm=config.clip, error_if_nonfinite=False
        )
        assert norm is not None
        values = torch.stack([*terms.values(), whole(norm)]).tolist()  # one wait for the device
        named = dict(zip(terms, values, strict=False))
        self.guard.check(self.step, named["loss"], values[-1], named, batches)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        moving_average(self.average, self.inner, config.ema, self.step)
        self.monitor.log(self.step, rate, named)

    def _gradients(self, batches: list[Batch]) -> Batch:
        """Backward of all batches of a step; answers the mean of the terms over processes too."""
        count = torch.stack([b["present"].sum() for b in batches]).float().mean()
        count = self._mean(count)
        sums: Batch = {}
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            # Processes exchange gradients once, after the last batch.
            with nullcontext() if last else self.fabric.no_backward_sync(self.learner):
                loss, terms = self.stage.losses(self.learner, batch, count)
                self.fabric.backward(loss / len(batches))
            terms["loss"] = loss.detach()
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value / len(
                    batches
                )
        means = self._mean(torch.stack(list(sums.values())))
        return dict(zip(sums, means.unbind(), strict=True))

    def _mean(self, value: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return value
        return cast(Tensor, self.fabric.all_reduce(value, reduce_op="mean"))


def _plain(state: dict[str, Any]) -> dict[str, Tensor]:
    return {k: v.detach().cpu() for k, v in state.items()}
