"""Cut-outs for whole batches: drawn from the bank, changed, rendered into crops, pasted.

Opacity is 0..1, colours are 0..255, BGR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .look import on, smeared
from .tables import Chance, Poses
from .textures import TensorBank
from .warp import BEND_GRID, Warp, bounds, place, sample, tile_outline

__all__ = ["Cutouts", "Rows", "add_look_alikes", "add_occluders", "bend_nodes", "paste", "patches"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
BLURRED = 0.15


@dataclass(frozen=True, slots=True)
class Cutouts:
    """Cut-outs `[B, 4, C, C]` and what they measure, `[B, 2]` pixels of their pictures."""

    tiles: Tensor
    extent: Tensor

    def take(self, rows: Rows) -> Cutouts:
        """Some rows, in any order."""
        index = on(self.tiles.device, rows)
        return Cutouts(self.tiles[index], self.extent[index])

    def where(self, rows: NDArray[np.bool_], other: Cutouts) -> Cutouts:
        """The others where said."""
        pick = on(self.tiles.device, rows)
        return Cutouts(
            torch.where(pick.view(-1, 1, 1, 1), other.tiles, self.tiles),
            torch.where(pick.view(-1, 1), other.extent, self.extent),
        )

    @classmethod
    def draw(cls, bank: TensorBank, chance: Chance) -> Cutouts:
        """Segments of pictures, or free forms filled with a patch of one, as `draw_cutout`."""
        device = bank.device
        numbers = np.searchsorted(bank.tile_edges, chance.rng.random(len(chance)))
        numbers = numbers.clip(0, len(bank.tile_extent) - 1)
        tiles = bank.tiles[on(device, numbers)].float()
        tiles[:, 3] /= 255.0
        extent = bank.tile_extent[numbers]
        rows = np.flatnonzero(chance.coin(0.3))
        if len(rows):
            some = chance.of(rows)
            shapes = some.rng.integers(len(bank.shape_extent), size=len(rows))
            pictures = some.rng.integers(len(bank.extent), size=len(rows))
            span = np.minimum(some.rng.integers(40, 140, len(rows)), bank.extent[pictures].min(1))
            theirs = (bank.shape_extent[shapes] * span[:, None]).astype(np.float32)
            colour = patches(bank, pictures, some, theirs, tiles.shape[-1])
            alpha = bank.shapes[on(device, shapes)].float() / 255.0
            index = on(device, rows)
            tiles = tiles.index_copy(0, index, torch.cat([colour, alpha], 1))
            extent = extent.copy()
            extent[rows] = theirs
        return cls(tiles, on(device, extent))

    def recoloured(self, chance: Chance) -> Cutouts:
        """The same shapes in clearly other colours, as `augment.recolour`."""
        device, count = self.tiles.device, len(chance)
        order = np.argsort(chance.rng.random((count, 3)), axis=1)
        gain = np.exp(chance.rng.normal(0.0, 0.35, (count, 3)))
        invert = np.where(chance.coin(0.15), -1.0, 1.0)
        offset = chance.uniform(-50, 50)[:, None] + np.where(invert < 0, 255.0, 0.0)[:, None] * gain
        index = on(device, order)[:, :, None, None].expand(-1, -1, *self.tiles.shape[2:])
        colour = self.tiles[:, :3].gather(1, index)
        colour = colour * on(device, gain * invert[:, None])[..., None, None]
        colour = (colour + on(device, offset)[..., None, None]).clamp(0, 255)
        return Cutouts(torch.cat([colour, self.tiles[:, 3:]], 1), self.extent)

    def changed(self, bank: TensorBank, chance: Chance, strength: Floats) -> Cutouts:
        """The targets some time later, as `change.changed`: turned, or with another part."""
        turned = chance.coin(0.45)
        angle = np.clip(chance.normal(math.radians(40)) * strength, *np.radians((-75, 75)))
        upright = chance.coin(0.7)
        tiles = self.tiles
        rows = np.flatnonzero(turned)
        if len(rows):
            index = on(tiles.device, rows)
            now = _turned(tiles[index], angle[rows], upright[rows])
            # A thin thing may turn away altogether: it then stays as it was.
            wide = tile_outline(now[:, 3], self.extent[index])
            box = bounds(wide)
            good = ((box[:, 2:] - box[:, :2]).amin(1) >= 6.0).view(-1, 1, 1, 1)
            tiles = tiles.index_copy(0, index, torch.where(good, now, tiles[index]))
        rows = np.flatnonzero(chance.coin(0.2 * strength))
        if len(rows):
            index = on(tiles.device, rows)
            tiles = tiles.index_copy(0, index, _patched(bank, tiles[index], chance.of(rows)))
        return Cutouts(tiles, self.extent)

    def blended(self, ground: Tensor, share: Floats) -> Cutouts:
        """Colours moved by a share towards mean colours `[B, 3]`, as `change.camouflage`."""
        colour, alpha = self.tiles[:, :3], self.tiles[:, 3:]
        own = (colour * alpha).sum((2, 3)) / alpha.sum((2, 3)).clamp(min=1e-3)
        shift = on(colour.device, share)[:, None] * (ground - own)
        colour = (colour + shift[..., None, None]).clamp(0, 255)
        return Cutouts(torch.cat([colour, alpha], 1), self.extent)

    def layer(
        self, chance: Chance, poses: Poses, size: Tensor, centre: Tensor, side: int,
        blurred: NDArray[np.bool_] | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Draw into empty crops: `[B, 4, S, S]` of colour times opacity, and boxes `[B, 4]`.

        Args:
            chance: Draws the bends.
            poses: How they are turned.
            size: `[B]` of the boxes wanted.
            centre: `[B, 2]` of the boxes wanted.
            side: Of the crops.
            blurred: Which of them move.
        """
        device = self.tiles.device
        outline = tile_outline(self.tiles[:, 3], self.extent)
        matrix = place(outline, on(device, poses.matrix()), size, centre)
        warp = Warp(matrix, side, bend_nodes(chance, poses, size), size, centre)
        # Bilinear steps would skip pixels of a tile much larger than what is drawn.
        half = F.interpolate(F.avg_pool2d(self.tiles, 2), scale_factor=2.0, mode="nearest")
        coarse = (self.tiles.shape[-1] > 2.4 * size).view(-1, 1, 1, 1)
        drawn = sample(torch.where(coarse, half, self.tiles), warp.source(), self.extent)
        drawn = torch.cat([drawn[:, :3] * drawn[:, 3:], drawn[:, 3:]], 1)
        rows = np.flatnonzero(blurred) if blurred is not None else ()
        if len(rows):
            some = chance.of(np.asarray(rows))
            index = on(device, np.asarray(rows))
            longest = (0.4 * size[index]).clamp(min=4.0)
            length = 3.0 + on(device, some.uniform(0.0, 1.0)) * (longest - 3.0)
            moving = smeared(drawn[index], length, some.uniform(0.0, math.pi))
            drawn = drawn.index_copy(0, index, moving)
        return drawn, bounds(warp.moved(outline))


def bend_nodes(chance: Chance, poses: Poses, size: Tensor) -> Tensor | None:
    """Displacements for `Warp`, or None where nothing bends."""
    if not poses.bend.any():
        return None
    nodes = chance.rng.standard_normal((len(poses.bend), 2, BEND_GRID, BEND_GRID))
    amplitude = on(size.device, poses.bend) * size
    amplitude = torch.where(amplitude < 0.3, 0.0, amplitude)
    return on(size.device, nodes) * amplitude.view(-1, 1, 1, 1)


def _turned(tiles: Tensor, angle: Floats, upright: NDArray[np.bool_]) -> Tensor:
    """Turn about the vertical or the horizontal middle axis, as `change.turn`."""
    side, device = tiles.shape[-1], tiles.device
    line = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) * 2 / side - 1
    seen = torch.sin(torch.asin(line)[None] - on(device, angle)[:, None])  # [B, C]
    line = line.expand(len(tiles), -1)
    stands = on(device, upright)[:, None]
    x, y = torch.where(stands, seen, line), torch.where(stands, line, seen)
    grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], -1)
    return F.grid_sample(tiles, grid, padding_mode="border", align_corners=False)


def _patched(bank: TensorBank, tiles: Tensor, chance: Chance) -> Tensor:
    """Cover soft parts by pieces of any pictures, as `change.patch`."""
    count, side = len(chance), tiles.shape[-1]
    pictures = chance.rng.integers(len(bank.extent), size=count)
    span = np.minimum(chance.rng.integers(24, 128, count), bank.extent[pictures].min(1))
    cloth = patches(bank, pictures, chance, np.stack([span, span], 1), side)
    veil = on(tiles.device, chance.rng.uniform(-1.2, 1.0, (count, 1, 4, 4)))
    veil = F.interpolate(veil, (side, side), mode="bicubic", align_corners=False)
    share = (4.0 * veil).clamp(0, 1)
    return torch.cat([tiles[:, :3] * (1 - share) + cloth * share, tiles[:, 3:]], 1)


def patches(
    bank: TensorBank, pictures: Rows, chance: Chance, size: NDArray[np.floating], side: int
) -> Tensor:
    """Upright pieces of pictures, `size` `[B, 2]` pixels of them, as `[B, 3, side, side]`."""
    extent = bank.extent[pictures]
    corner = chance.rng.random((len(pictures), 2)) * np.maximum(extent - size, 0.0)
    matrix = np.zeros((len(pictures), 3, 3))
    scale = side / size
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = scale[:, 0], scale[:, 1], 1.0
    matrix[:, :2, 2] = -corner * scale
    warp = Warp(on(bank.device, matrix), side)
    index = on(bank.device, pictures)
    found = bank.pictures[index].float()
    return sample(found, warp.source(), on(bank.device, extent), border=True)


def paste(canvas: Tensor, layer: Tensor, rows: Rows | None = None) -> Tensor:
    """Blend layers over the canvases, or over some of them."""
    if rows is None:
        return canvas * (1.0 - layer[:, 3:]) + layer[:, :3]
    index = on(canvas.device, rows)
    return canvas.index_copy(0, index, paste(canvas[index], layer))


def add_occluders(bank: TensorBank, canvas: Tensor, boxes: Tensor, chance: Chance) -> Tensor:
    """Something in front of each target, as `compose.add_occluder`; `chance` has a row for each."""
    chance = chance.plain
    others = Cutouts.draw(bank, chance)
    device = canvas.device
    span = boxes[:, 2:] - boxes[:, :2]
    angle = on(device, chance.uniform(0, 2 * math.pi))
    way = torch.stack([angle.cos(), angle.sin()], 1)
    centre = 0.5 * (boxes[:, :2] + boxes[:, 2:] + span * way)
    size = span.prod(1).clamp(min=1.0).sqrt() * on(device, chance.uniform(0.3, 0.9))
    poses = Poses.draw(chance, 0.8)
    return paste(canvas, others.layer(chance, poses, size, centre, canvas.shape[-1])[0])


def add_look_alikes(
    bank: TensorBank, canvas: Tensor, size: Floats, centre: Floats, crowd: Rows,
    chance: Chance, actors: Cutouts | None,
) -> Tensor:  # fmt: skip
    """Other objects beside the targets, as `compose.add_look_alikes`; `crowd` `[B]` of them.

    Targets are given by size `[B]` and centre `[B, 2]`.
    """
    side = canvas.shape[-1]
    for number in range(int(crowd.max(initial=0))):
        rows = np.flatnonzero(crowd > number)
        some = chance.of(rows).plain
        others = Cutouts.draw(bank, some)
        twins = some.coin(0.6) if actors is not None else np.zeros(len(rows), bool)
        if actors is not None:
            others = others.where(twins, actors.take(rows))
        others = others.where(twins | some.coin(0.3), others.recoloured(some))
        theirs = size[rows] * np.exp(some.normal(0.3))
        spot = some.rng.uniform(-0.1, 1.1, (len(rows), 2)) * side
        away = spot - centre[rows]
        reach = 0.45 * (size[rows] + theirs) * some.uniform(1.0, 1.5)
        distance = np.hypot(*away.T)
        further = centre[rows] + away * (reach / np.maximum(distance, 1e-3))[:, None]
        spot = np.where((distance < reach)[:, None], further, spot)
        layer, _ = others.layer(
            some, Poses.draw(some, 0.7), on(canvas.device, theirs), on(canvas.device, spot), side
        )
        canvas = paste(canvas, layer, rows)
    return canvas
