"""Composites for whole batches, as `data.compose`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..synthetic import SyntheticConfig
from .layers import BLURRED, Cutouts, Rows, add_look_alikes, add_occluders, paste
from .look import on
from .tables import Chance, Layouts, Poses
from .textures import TensorBank
from .views import Drafts
from .warp import Warp, sample

__all__ = ["composites"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Stages:
    """The pictures behind, as `compose.Stage`: `[B]` each."""

    bank: TensorBank
    picture: Rows
    unit: Floats
    angle: Floats
    reflect: Flags
    flip: Flags

    @classmethod
    def draw(cls, bank: TensorBank, chance: Chance) -> _Stages:
        reflect = chance.coin(0.6)
        return cls(
            bank,
            chance.rng.integers(len(bank.extent), size=len(chance)),
            np.exp(chance.uniform(math.log(12), math.log(60))),
            np.where(reflect, chance.normal(0.15), 0.0),
            reflect,
            chance.coin(0.5),
        )

    def where(self, rows: Flags, other: _Stages) -> _Stages:
        names = ("picture", "unit", "angle", "reflect", "flip")
        return replace(
            self,
            **{n: np.where(rows, getattr(other, n), getattr(self, n)) for n in names},
        )

    @property
    def extent(self) -> Floats:
        return self.bank.extent[self.picture].astype(np.float64)

    def spot(self, chance: Chance) -> Floats:
        """Places for targets' centres, inside the pictures."""
        edge = np.where(chance.coin(0.15), 0.5, 1.0)
        margin = np.minimum((edge * 0.5 * self.unit)[:, None], 0.4 * self.extent)
        place = chance.rng.random((len(chance), 2))
        return np.asarray(margin + place * (self.extent - 2 * margin))

    def near(self, chance: Chance, spot: Floats, steps: float) -> Floats:
        """Places up to about `steps` target sizes away, inside the pictures."""
        move = chance.rng.normal(0.0, steps, (len(chance), 2)) * self.unit[:, None]
        return np.clip(spot + move, 0.05 * self.extent, 0.95 * self.extent)

    def show(self, spot: Floats, layout: Layouts) -> tuple[Tensor, Floats]:
        """Draw them with `spot` at the layout's centres; windows of the frames `[B, 4]`."""
        side, scale = layout.side, layout.size / self.unit
        cos, sin = scale * np.cos(self.angle), scale * np.sin(self.angle)
        mirror = np.where(self.flip, -1.0, 1.0)
        matrix = np.zeros((len(scale), 3, 3))
        matrix[:, 0, 0], matrix[:, 0, 1] = mirror * cos, -sin
        matrix[:, 1, 0], matrix[:, 1, 1] = mirror * sin, cos
        matrix[:, 2, 2] = 1.0
        turned = np.einsum("bij,bj->bi", matrix[:, :2, :2], spot)
        matrix[:, :2, 2] = layout.centre - turned
        device = self.bank.device
        source = Warp(on(device, matrix), side).source()
        extent = on(device, self.bank.extent[self.picture])
        # Folded at both borders; where the frame ends in black it is drawn over below.
        folded = torch.remainder(source, 2 * extent[:, None, None])
        folded = torch.minimum(folded, 2 * extent[:, None, None] - folded)
        pictures = self.bank.pictures[on(device, self.picture)].float()
        image = sample(pictures, folded, extent, border=True)
        width, height = self.extent.T
        ends = np.stack([matrix[:, 0, 2], matrix[:, 0, 2] + mirror * cos * width])
        y1, y2 = matrix[:, 1, 2], matrix[:, 1, 2] + cos * height
        window = np.stack([ends.min(0), y1, ends.max(0), y2], 1).clip(0, side)
        window[self.reflect] = (0.0, 0.0, side, side)
        return image, window


def _black_outside(image: Tensor, window: Tensor) -> Tensor:
    line = torch.arange(image.shape[-1], device=image.device)
    low, high = window[:, :2].round(), window[:, 2:].round()
    across = (line >= low[:, :1]) & (line < high[:, :1])
    down = (line >= low[:, 1:]) & (line < high[:, 1:])
    return image * (down[:, None, :, None] & across[:, None, None, :])


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all views of some composites share."""

    bank: TensorBank
    chance: Chance

    def view(
        self, subjects: Cutouts, shown: Flags, stages: _Stages, spot: Floats, poses: Poses,
        layout: Layouts, alike: Cutouts | None = None, crowd: Rows | None = None,
        occluded: float = 0.05,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Crops, the subjects' boxes and the parts of the crops that the frames cover."""
        chance, device = self.chance, self.bank.device
        canvas, frame = stages.show(spot, layout)
        size, centre = on(device, layout.size), on(device, layout.centre)
        blurred = chance.hard(BLURRED * chance.augment.blur)
        layer, box = subjects.layer(chance, poses, size, centre, layout.side, blurred)
        if crowd is not None:
            canvas = add_look_alikes(
                self.bank, canvas, layout.size, layout.centre, crowd, chance, alike
            )
        canvas = paste(canvas, layer * on(device, shown).view(-1, 1, 1, 1))
        rows = np.flatnonzero(chance.hard(occluded * chance.augment.occluders) & shown)
        if len(rows):
            index = on(device, rows)
            hidden = add_occluders(self.bank, canvas[index], box[index], chance.of(rows))
            canvas = canvas.index_copy(0, index, hidden)
        half = 0.5 * size[:, None]
        nothing = torch.cat([centre - half, centre + half], 1)
        box = torch.where(on(device, shown)[:, None], box, nothing)
        window = on(device, frame)
        return _black_outside(canvas, window), box, window


def composites(bank: TensorBank, config: SyntheticConfig, chance: Chance, absent: Flags) -> Drafts:
    """Template, online template and search of cut-outs over other pictures."""
    count = len(chance)
    search = Layouts.search(chance, config.search_size, config.search_factor, config.min_visible)
    template = Layouts.template(count, config.template_size, config.template_factor)
    actors = Cutouts.draw(bank, chance)
    strength = chance.uniform(0.1, 1.0) * chance.hardness
    first = Poses.draw(chance, 0.7)
    now = first.vary(chance, strength)
    soon = chance.coin(0.7)
    lately = now.vary(chance, np.where(soon, 0.4, 1.0) * strength)
    stages = _Stages.draw(bank, chance)
    moved = chance.hard(0.3)
    start = stages.spot(chance)
    later_stages = stages.where(moved, _Stages.draw(bank, chance))
    end = np.where(moved[:, None], later_stages.spot(chance), stages.near(chance, start, 2.5))
    hidden = np.where(chance.hard(0.2 * chance.augment.camouflage), chance.uniform(0.4, 1.0), 0.0)
    ground = bank.means[on(bank.device, stages.picture)]
    actors = actors.blended(ground, hidden)
    later = actors.changed(bank, chance, strength * chance.augment.change)
    before = actors.where(chance.coin(0.7), later)
    many = chance.rng.choice(4, size=count, p=[0.1, 0.4, 0.3, 0.2])
    crowd = np.where(chance.hard(0.72 * chance.augment.look_alikes), many, 0)

    scene = _Scene(bank, chance)
    every = np.ones(count, bool)
    one, _, _ = scene.view(actors, every, stages, start, first, template)
    slipped = template.slipped(chance)
    two, _, _ = scene.view(before, every, later_stages, end, lately, slipped)
    strangers = chance.coin(0.6)
    subjects = later.where(absent, Cutouts.draw(bank, chance)) if absent.any() else later
    three, box, window = scene.view(
        subjects, ~absent | strangers, later_stages, end, now, search, later, crowd, 0.22
    )
    return Drafts(one, two, three, box, window, on(bank.device, ~absent))
