"""Batches for the loop: made in processes beside it, or on its own device."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.synthetic import SampleGenerator
from ..errors import MixFormerError
from .config import TrainConfig

__all__ = ["batch_stream", "make_loader"]


class _Batches(Dataset[dict[str, Tensor] | MixFormerError]):
    """Batch k of a run is a function of k and the seed alone, so that a run resumes exactly."""

    def __init__(self, config: TrainConfig, first: int, stride: int = 1) -> None:
        self.config = config
        self.first = first
        self.stride = stride
        # Made here and not in the processes: what is wrong with the data is said at once, in one
        # sentence, and they share what was read.
        self.generator = SampleGenerator(config.bank, config.data, config.seed, clips=config.clips)

    def __len__(self) -> int:
        count = self.config.optim.steps * self.config.optim.accumulate * self.stride - self.first
        return max(0, -(-count // self.stride))

    def __getitem__(self, item: int) -> dict[str, Tensor] | MixFormerError:
        cv2.setNumThreads(0)  # the processes share the cores already
        size = self.config.optim.batch
        try:
            arrays = self.generator.batch((self.first + item * self.stride) * size, size)
        except MixFormerError as error:
            return error  # raised by a process of its own it would come with a traceback for text
        return {name: torch.from_numpy(values) for name, values in arrays.items()}


def _device(config: TrainConfig) -> torch.device:
    """Where the run computes; under several processes the one that this process was given."""
    if config.device != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _on_device(config: TrainConfig, first: int, stride: int) -> Iterator[dict[str, Tensor]]:
    from ..data.tensors import TensorGenerator

    generator = TensorGenerator(
        config.bank, config.data, config.seed, clips=config.clips, device=_device(config)
    )
    size, many = config.optim.batch, config.data.at_once
    own, rank = divmod(first, stride)  # of this process's batches alone: how many came before
    drawn = -1
    while own < config.optim.steps * config.optim.accumulate:
        if own // many != drawn:
            drawn = own // many
            large = generator.batch(drawn * stride + rank, size * many)
        start = own % many * size
        yield {name: values[start : start + size] for name, values in large.items()}
        own += 1


def batch_stream(config: TrainConfig, first: int, stride: int = 1) -> Iterator[dict[str, Tensor]]:
    """Batches `first`, `first + stride`, ..., to the end of the run.

    Process r of n, each on a device of its own, takes every n-th batch from number r on.

    Each is a table of `template` and `online` `[B, T, T, 3]` and `search` `[B, S, S, 3]`, BGR of
    8 bits, `box` `[B, 4]` and `present` `[B]`. With `data.backend: tensors` they lie on the device
    already.
    """
    if config.data.backend == "tensors":
        return _on_device(config, first, stride)
    return _raising(make_loader(config, first, stride))


def make_loader(config: TrainConfig, first: int, stride: int = 1) -> DataLoader[Any]:
    """The batches of OpenCV's back end, made in processes beside this one."""
    batches = _Batches(config, first, stride)
    # A decoded frame of a clip that still waits for the collector would be freed in a fork too,
    # where FFmpeg waits for ever for threads that are not there.
    gc.collect()
    return DataLoader(
        batches,
        batch_size=None,
        shuffle=False,
        num_workers=config.workers,
        prefetch_factor=8 if config.workers else None,
        persistent_workers=config.workers > 0,
        worker_init_fn=_leave_group,
        # Its own generator: a loader draws a seed when it starts, and a resumed run starts one
        # more than a run that never stopped.
        generator=torch.Generator(),
    )


def _leave_group(number: int) -> None:
    """Stand beside the group of processes, which a terminal, a scheduler or torchrun stops as one.

    The training process decides when samples are no longer needed, and saves first; a process that
    died under it would be an error. It ends this one, as it does anyway.
    """
    if hasattr(os, "setpgid"):  # not on Windows
        os.setpgid(0, 0)


def _raising(loader: DataLoader[Any]) -> Iterator[dict[str, Tensor]]:
    for batch in loader:
        if isinstance(batch, MixFormerError):
            raise batch
        yield batch
