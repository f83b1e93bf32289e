"""Batches of training samples, made on a device."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..bank import VALIDATION_VIDEOS, Bank
from ..cache import local_copy
from ..synthetic import SyntheticConfig, usable_weights
from .composite import composites
from .real import real_views
from .tables import Chance
from .textures import TensorBank
from .views import Drafts, finish

__all__ = ["TensorGenerator"]

log = logging.getLogger(__name__)


class TensorGenerator:
    """Makes the samples of `SampleGenerator` for whole batches, on a device.

    Batch k is a function of the seed, k and the batch's size alone, on the same kind of device.
    The samples differ from those of `SampleGenerator`; their statistics do not.

    Args:
        bank: Folder with one sub-folder of pictures per source, the file it was packed into, or a
            bank already read.
        config: Sizes and mixture.
        seed: With a number, decides a batch.
        hold_out: Videos of the bank to leave out.
        clips: Folder of tracklets made by `mixformerv2.data.pseudo`.
        device: Where samples are made and left.

    Raises:
        DataError: the bank lacks what the mixture asks for.
    """

    def __init__(
        self,
        bank: str | Path | Bank,
        config: SyntheticConfig | None = None,
        seed: int = 0,
        hold_out: tuple[str, ...] = VALIDATION_VIDEOS,
        clips: str | Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config or SyntheticConfig()
        self.seed = seed
        begun = time.perf_counter()
        source = bank if isinstance(bank, Bank) else Bank(local_copy(bank), hold_out)
        if clips is not None:
            source.add_clips(Path(clips))
        weights = usable_weights(self.config, source)
        self._edges = np.cumsum(weights / weights.sum())
        # Twice as many pixels as a target usually has in a crop, so that nothing gets soft.
        sizes = [
            self.config.search_size / self.config.search_factor,
            self.config.template_size / self.config.template_factor,
        ]
        self.bank = TensorBank(source, device, tile=16 * max(2, round(2 * max(sizes) / 16)))
        log.info(
            "bank on %s: %.0f MB, ready after %.0f s",
            self.bank.device, self.bank.megabytes, time.perf_counter() - begun,
        )  # fmt: skip

    @torch.no_grad()
    def batch(self, number: int, size: int) -> dict[str, Tensor]:
        """Batch `number` of `size` samples.

        Keys: template and online uint8 `[B, T, T, 3]`, search uint8 `[B, S, S, 3]`, box float32
        `[B, 4]`, present bool `[B]`, weight float32 `[B]`; all on the device.
        """
        rng = np.random.default_rng((self.seed, number))
        noise = torch.Generator(self.bank.device).manual_seed(int(rng.integers(2**62)))
        index = number * size + np.arange(size)
        hardness = np.array([self.config.recipe(int(i)).hardness for i in index])
        # One place in each step of the mixture: batches are alike in what they hold.
        kinds = np.searchsorted(self._edges, (np.arange(size) + rng.random()) / size, "right")
        kinds = kinds.clip(0, 3)
        absent = rng.random(size) < self.config.absent
        made: list[Drafts] = []
        pasted = int((kinds == 0).sum())
        if pasted:
            some = Chance(rng, hardness[:pasted], self.config.augment)
            made.append(composites(self.bank, self.config, some, absent[:pasted]))
        if pasted < size:
            some = Chance(rng, hardness[pasted:], self.config.augment)
            made.append(real_views(self.bank, self.config, some, absent[pasted:], kinds[pasted:]))
        drafts = Drafts(*(torch.cat(parts) for parts in zip(*map(_parts, made), strict=True)))
        done = finish(drafts, self.config, Chance(rng, hardness, self.config.augment), noise)
        order = torch.from_numpy(rng.permutation(size)).to(self.bank.device)
        return {name: values[order] for name, values in done.items()}

    def batches(self, size: int, start: int = 0, step: int = 1) -> Iterator[dict[str, Tensor]]:
        """Endless batches `start`, `start + step`, ..."""
        number = start
        while True:
            yield self.batch(number, size)
            number += step


def _parts(drafts: Drafts) -> tuple[Tensor, ...]:
    return (
        drafts.template, drafts.online, drafts.search, drafts.box, drafts.window, drafts.present
    )  # fmt: skip
