"""Batches for the loop, made in processes beside it."""

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
        self.generator: SampleGenerator | None = None

    def __len__(self) -> int:
        count = self.config.optim.steps * self.config.optim.accumulate * self.stride - self.first
        return -(-count // self.stride)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        if self.generator is None:
            cv2.setNumThreads(0)  # the processes share the cores already
            self.generator = SampleGenerator(
                self.config.bank, self.config.data, self.config.seed, clips=self.config.clips
            )
        size = self.config.optim.batch
        arrays = self.generator.batch((self.first + item * self.stride) * size, size)
        return {name: torch.from_numpy(values) for name, values in arrays.items()}


def batch_stream(config: TrainConfig, first: int, stride: int = 1) -> Iterator[dict[str, Tensor]]:
    """Batches `first`, `first + stride`, ..., to the end of the run.

    Process r of n, each on a device of its own, takes every n-th batch from number r on.

    Each is a table of `template` and `online` `[B, T, T, 3]` and `search` `[B, S, S, 3]`, BGR of
    8 bits, `box` `[B, 4]` and `present` `[B]`.
    """
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
