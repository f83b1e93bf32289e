"""Views of real pictures for whole batches, as `data.pairs`: stills, videos, tracklets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..pairs import TILT
from ..synthetic import SyntheticConfig
from ..warp import box_outline
from .layers import Rows, add_look_alikes, add_occluders, bend_nodes, patches
from .look import on
from .tables import Chance, Layouts, Poses
from .textures import POINTS, Frames, TensorBank, outline_points
from .views import Drafts
from .warp import Warp, bounds, place, sample

__all__ = ["KINDS", "real_views"]

KINDS = ("composites", "stills", "pairs", "clips")
Flags = NDArray[np.bool_]
_UNIT = outline_points(box_outline(0.0, 0.0, 1.0, 1.0)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Shots:
    """Objects in pictures: `picture` `[B]`, `outline` `[B, POINTS, 2]`."""

    picture: Rows
    outline: NDArray[np.float64]

    @classmethod
    def empty(cls, count: int) -> _Shots:
        return cls(np.zeros(count, np.int64), np.zeros((count, POINTS, 2)))

    def put(self, rows: Rows | Flags, other: _Shots) -> None:
        self.picture[rows], self.outline[rows] = other.picture, other.outline

    def take(self, rows: Rows | Flags) -> _Shots:
        return _Shots(self.picture[rows], self.outline[rows])


def _frames(frames: Frames, numbers: Rows) -> _Shots:
    return _Shots(frames.picture[numbers], frames.outline[numbers].astype(np.float64))


def _stills(bank: TensorBank, rng: np.random.Generator, count: int) -> _Shots:
    """Stills with targets, as `pairs._labelled`."""
    shots = _Shots.empty(count)
    kind = rng.random(count)
    known = (kind < 0.4) & (len(bank.stills) > 0)
    boxed = ~known & (kind < 0.65) & (len(bank.boxed) > 0)
    for rows, frames in ((known, bank.stills), (boxed, bank.boxed)):
        if rows.any():
            shots.put(rows, _frames(frames, rng.integers(len(frames.picture), size=rows.sum())))
    free = ~known & ~boxed
    many = int(free.sum())
    picture = bank.unlabelled[rng.integers(len(bank.unlabelled), size=many)]
    extent = bank.extent[picture].astype(np.float64)
    # Photographs of one thing show it large and in the middle.
    large = rng.uniform(0.3, 0.8, (many, 2)) * extent
    middle = (extent - large) * rng.uniform(0.3, 0.7, (many, 2))
    size = np.exp(rng.uniform(math.log(14), math.log(110), many))
    stretch = np.exp(rng.normal(0, 0.3, many))
    part = np.minimum(np.stack([size * stretch, size / stretch], 1), 0.8 * extent)
    anywhere = rng.random((many, 2)) * (extent - part)
    whole = (rng.random(many) < 0.5)[:, None]
    corner, span = np.where(whole, middle, anywhere), np.where(whole, large, part)
    shots.put(free, _Shots(picture, corner[:, None] + _UNIT * span[:, None]))
    return shots


def _moments(
    frames: Frames, videos: Rows, rng: np.random.Generator
) -> tuple[_Shots, _Shots, _Shots]:
    """First, online and search frames of videos, any time apart, as `pairs._pair`."""
    count = len(videos)
    start = frames.first[videos]
    last = frames.first[videos + 1] - start - 1
    a = rng.integers(last + 1)
    close = np.clip(a + rng.integers(-8, 9, count), 0, last)
    b = np.where(rng.random(count) < 0.65, rng.integers(last + 1), close)
    near = np.clip(b + rng.integers(-5, 6, count), 0, last)
    c = np.where(rng.random(count) < 0.15, a, near)
    first, online, search = (_frames(frames, start + moment) for moment in (a, c, b))
    return first, online, search


def _strangers(bank: TensorBank, rng: np.random.Generator, but: Rows) -> _Shots:
    """Something else: objects of videos other than `but`, or of stills, as `pairs._stranger`."""
    count, videos = len(but), len(bank.videos)
    shots = _stills(bank, rng, count)
    rows = (rng.random(count) >= 0.2) & (videos - (but >= 0) > 0)
    if rows.any():
        own = but[rows]
        # One less to choose from where one is out; the ones behind it move up.
        other = (rng.random(rows.sum()) * (videos - (own >= 0))).astype(np.int64)
        other += (own >= 0) & (other >= own)
        start, end = bank.videos.first[other], bank.videos.first[other + 1]
        shots.put(rows, _frames(bank.videos, rng.integers(start, end)))
    return shots


def real_views(
    bank: TensorBank, config: SyntheticConfig, chance: Chance, absent: Flags, kinds: Rows
) -> Drafts:
    """Template, online template and search of real pictures; `kinds` `[B]` counts in `KINDS`."""
    rng, count = chance.rng, len(chance)
    first, online, search = (_Shots.empty(count) for _ in range(3))
    still = kinds == 1
    same = _stills(bank, rng, int(still.sum()))
    for shots in (first, online, search):
        shots.put(still, same)
    strength, own = chance.uniform(0.2, 1.0), np.full(count, -1)
    for kind, frames in ((2, bank.videos), (3, bank.tracklets)):
        rows = kinds == kind
        if rows.any():
            video = np.searchsorted(np.cumsum(frames.weight), rng.random(rows.sum()))
            video = video.clip(0, len(frames) - 1)
            for shots, found in zip(
                (first, online, search), _moments(frames, video, rng), strict=True
            ):
                shots.put(rows, found)
            strength[rows] = rng.uniform(0.0, 0.5, rows.sum())
            if kind == 2:
                own[rows] = video
    rows = np.flatnonzero(absent & still)
    search.put(rows, _stills(bank, rng, len(rows)))
    rows = np.flatnonzero(absent & ~still)
    search.put(rows, _strangers(bank, rng, own[rows]))
    upright = chance.coin(np.where(still, 0.4, 0.75))
    return _draft(bank, config, chance, (first, online, search), strength, upright, absent)


def _draft(
    bank: TensorBank, config: SyntheticConfig, chance: Chance,
    shots: tuple[_Shots, _Shots, _Shots], strength: NDArray[np.float64], upright: Flags,
    absent: Flags,
) -> Drafts:  # fmt: skip
    """Three views of the shots, as `pairs._draft`."""
    count, device = len(chance), bank.device
    layout = Layouts.search(chance, config.search_size, config.search_factor, config.min_visible)
    template = Layouts.template(count, config.template_size, config.template_factor)
    strength = strength * chance.hardness
    first = Poses.draw(chance, 0.6 * strength, TILT)
    now = first.vary(chance, strength, TILT)
    lately = now.vary(chance, 0.3 * strength, TILT)
    poses = [pose.upright(upright) for pose in (first, lately, now)]
    turned = (np.abs(poses[2].angle) > 0.02) | (np.abs(poses[2].shear) > 0.02)
    rows = np.flatnonzero(turned | chance.coin(0.4))
    near, far = (_surroundings(bank, chance.of(rows), place_.side) for place_ in (template, layout))
    views = [
        _view(bank, chance, shot, pose, place_, (rows, ground))
        for shot, pose, place_, ground in zip(
            shots, poses, (template, template.slipped(chance), layout), (near, near, far),
            strict=True,
        )
    ]  # fmt: skip
    search = views[2]
    crowd = np.where(
        chance.hard(0.25 * chance.augment.look_alikes), chance.rng.integers(1, 3, count), 0
    )
    image = add_look_alikes(bank, search.image, layout.size, layout.centre, crowd, chance, None)
    rows = np.flatnonzero(chance.hard(0.12 * chance.augment.occluders))
    if len(rows):
        index = on(device, rows)
        hidden = add_occluders(bank, image[index], search.box[index], chance.of(rows))
        image = image.index_copy(0, index, hidden)
    image = torch.where(search.inside, image, search.image)
    return Drafts(
        views[0].image, views[1].image, image, search.box, search.window, on(device, ~absent)
    )


def _surroundings(bank: TensorBank, chance: Chance, side: int) -> Tensor:
    """Parts of any pictures, to lie around frames that do not fill their crops."""
    pieces = chance.rng.integers(len(bank.extent), size=len(chance))
    part = np.minimum(chance.rng.integers(64, 220, len(chance)), bank.extent[pieces].min(1))
    return patches(bank, pieces, chance, np.stack([part, part], 1), side)


@dataclass(frozen=True, slots=True)
class _View:
    image: Tensor  # [B, 3, S, S]
    box: Tensor  # [B, 4]
    window: Tensor  # [B, 4]
    inside: Tensor  # [B, 1, S, S], where the crop shows the frame


def _view(
    bank: TensorBank, chance: Chance, shots: _Shots, poses: Poses, layout: Layouts,
    around: tuple[Rows, Tensor],
) -> _View:  # fmt: skip
    """Crops of pictures with the targets in the poses and places wanted, as `Shot.view`."""
    device, side = bank.device, layout.side
    size, centre = on(device, layout.size), on(device, layout.centre)
    outline = on(device, shots.outline)
    matrix = place(outline, on(device, poses.matrix()), size, centre)
    warp = Warp(matrix, side, bend_nodes(chance, poses, size), size, centre)
    extent = on(device, bank.extent[shots.picture])
    source = warp.source()
    pictures = bank.pictures[on(device, shots.picture)].float()
    image = sample(pictures, source, extent, border=True)
    share = source / extent[:, None, None]
    inside = ((share > 0) & (share < 1)).all(-1)[:, None]
    image = image * inside
    rows, ground = around
    if len(rows):
        index = on(device, rows)
        filled = torch.where(inside[index], image[index], ground)
        image = image.index_copy(0, index, filled)
    corners = torch.tensor([[0.0, 0.0], [1, 0], [1, 1], [0, 1]], device=device)
    ends = Warp(matrix, side).moved(corners * extent[:, None]).sort(1).values  # [B, 4, 2]
    # Turned frames have slanted edges: the middle two corners bound what is surely inside.
    low, high = ends[:, :2].mean(1).clamp(min=0), ends[:, 2:].mean(1).clamp(max=side)
    return _View(image, bounds(warp.moved(outline)), torch.cat([low, high], 1), inside)
