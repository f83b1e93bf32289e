"""Batches for the loop: made in processes beside it, or on its own device."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.synthetic import SampleGenerator
from .config import TrainConfig

__all__ = ["batch_stream"]


class _Batches(Dataset[dict[str, Tensor]]):
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
        return -(-count // self.stride)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        cv2.setNumThreads(0)  # the processes share the cores already
        size = self.config.optim.batch
        arrays = self.generator.batch((self.first + item * self.stride) * size, size)
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
    return iter(
        DataLoader(
            _Batches(config, first, stride),
            batch_size=None,
            shuffle=False,
            num_workers=config.workers,
            prefetch_factor=8 if config.workers else None,
            persistent_workers=config.workers > 0,
            # Its own generator: a loader draws a seed when it starts, and a resumed run starts one
            # more than a run that never stopped.
            generator=torch.Generator(),
        )
    )
