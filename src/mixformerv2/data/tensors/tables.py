"""What happens in the samples of a batch, as tables of numbers: one row a sample.

The distributions are those of `Pose`, `Recipe` and `Look`, drawn for all samples at once; a test
holds both to the same statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..augment import PLAIN, AugmentConfig

__all__ = ["Chance", "Layouts", "Looks", "Poses"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LAYOUT_TRIES = 6


class Chance:
    """Random numbers of a batch.

    Attributes:
        hardness: `[N]`, scales what makes samples harder.
        augment: Scales each augmentation of the targets by itself.
    """

    def __init__(
        self, rng: np.random.Generator, hardness: Floats, augment: AugmentConfig = PLAIN
    ) -> None:
        self.rng = rng
        self.hardness = hardness
        self.augment = augment

    def __len__(self) -> int:
        return len(self.hardness)

    def coin(self, share: float | Floats) -> Flags:
        """In which samples something happens, whatever their hardness."""
        return np.asarray(self.rng.random(len(self)) < share)

    def hard(self, share: float) -> Flags:
        """In which samples something happens that makes them harder."""
        return self.coin(share * self.hardness)

    def uniform(self, low: float, high: float) -> Floats:
        """A number for each sample."""
        return self.rng.uniform(low, high, len(self))

    def normal(self, sigma: float = 1.0) -> Floats:
        """A normal number for each sample."""
        return self.rng.normal(0.0, sigma, len(self))

    def of(self, rows: NDArray[np.int64]) -> Chance:
        """The same for some of the samples."""
        return Chance(self.rng, self.hardness[rows], self.augment)

    @property
    def plain(self) -> Chance:
        """The same for what is no target: as strong as ever."""
        return Chance(self.rng, self.hardness)


@dataclass(frozen=True, slots=True)
class Poses:
    """How targets are seen, as `warp.Pose`: `[N]` each."""

    angle: Floats
    aspect: Floats
    shear: Floats
    tilt: Floats  # [N, 2]
    flip: Flags
    bend: Floats

    @classmethod
    def draw(cls, chance: Chance, strength: Floats | float, tilt: float = 0.25) -> Poses:
        """Random poses."""
        zero = np.zeros(len(chance))
        start = cls(
            zero,
            zero,
            zero,
            np.zeros((len(chance), 2)),
            chance.coin(0.5 * chance.augment.flip),
            zero,
        )
        return start.vary(chance, strength, tilt)

    def vary(self, chance: Chance, strength: Floats | float, tilt: float = 0.25) -> Poses:
        """The same targets a while later."""
        n = chance.rng.standard_normal((5, len(chance))) * strength
        augment = chance.augment
        wide = np.where(chance.coin(0.12), 3.0, 1.0) * augment.rotation
        n[1:] *= augment.shape
        bend = np.where(chance.coin(0.6), chance.uniform(0.0, 0.10), 0.0) * strength * augment.bend
        return replace(
            self,
            angle=self.angle + wide * 0.22 * n[0],
            aspect=np.clip(self.aspect + 0.2 * n[1], -0.8, 0.8),
            shear=np.clip(self.shear + 0.12 * n[2], -0.4, 0.4),
            tilt=np.clip(self.tilt + 0.7 * tilt * n[3:].T, -tilt, tilt),
            bend=bend,
        )

    def upright(self, where: Flags) -> Poses:
        """Without the turn where said."""
        return replace(
            self, angle=np.where(where, 0.0, self.angle), shear=np.where(where, 0.0, self.shear)
        )

    def take(self, rows: NDArray[np.int64] | Flags) -> Poses:
        """Some rows."""
        return Poses(
            self.angle[rows], self.aspect[rows], self.shear[rows], self.tilt[rows],
            self.flip[rows], self.bend[rows],
        )  # fmt: skip

    def matrix(self) -> Floats:
        """Maps `[N, 3, 3]` for points centred at the origin with `sqrt(w h)` of one."""
        zero, one = np.zeros_like(self.angle), np.ones_like(self.angle)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        stretch = np.exp(0.5 * self.aspect)
        mirror = np.where(self.flip, -1.0, 1.0)
        turn = _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])
        shape = _matrix(
            [
                [mirror * stretch, self.shear, zero],
                [zero, 1.0 / stretch, zero],
                [self.tilt[:, 0], self.tilt[:, 1], one],
            ]
        )
        return np.asarray(turn @ shape)


def _matrix(rows: list[list[Floats]]) -> Floats:
    return np.stack([np.stack(row, -1) for row in rows], -2)


@dataclass(frozen=True, slots=True)
class Layouts:
    """Targets in crops of `side` pixels: `sqrt(w h)` `[N]` and centre `[N, 2]`, in pixels."""

    size: Floats
    centre: Floats
    side: int

    @classmethod
    def template(cls, count: int, side: int, factor: float) -> Layouts:
        """The first template: the target is in the middle."""
        return cls(np.full(count, side / factor), np.full((count, 2), 0.5 * side), side)

    def slipped(self, chance: Chance) -> Layouts:
        """The online template: cut by a tracker, so a little off."""
        slip = np.where(chance.coin(0.7), 0.03, 0.10)
        dx, dy, ds = chance.rng.normal(0.0, 1.0, (3, len(chance))) * slip
        size = self.size * np.exp(ds)
        return Layouts(size, self.centre + np.stack([dx * size, dy * size], 1), self.side)

    @classmethod
    def search(cls, chance: Chance, side: int, factor: float, min_visible: float) -> Layouts:
        """Targets in the search crops, most of them near the middle at the size they had."""
        made = cls._once(chance, side, factor)
        for _ in range(LAYOUT_TRIES - 1):
            poor = np.flatnonzero(made._share_inside() < min_visible)
            if not len(poor):
                break
            again = cls._once(chance.of(poor), side, factor)
            made.size[poor], made.centre[poor] = again.size, again.centre
        return made

    @classmethod
    def _once(cls, chance: Chance, side: int, factor: float) -> Layouts:
        count = len(chance)
        spread = np.where(chance.coin(0.8), 0.25, 0.5)
        change = np.clip(chance.normal() * spread * chance.augment.scale, -0.9, 0.9)
        near = chance.rng.laplace(0.0, 0.09, (count, 2))
        anywhere = chance.rng.uniform(-0.40, 0.40, (count, 2))
        offset = np.where(chance.coin(0.6)[:, None], near, anywhere) * chance.augment.centre
        centre = side * (0.5 + np.clip(offset, -0.47, 0.47))
        return cls(side / factor * np.exp(change), centre, side)

    def _share_inside(self) -> Floats:
        low = np.maximum(self.centre - 0.5 * self.size[:, None], 0.0)
        high = np.minimum(self.centre + 0.5 * self.size[:, None], self.side)
        return np.asarray(np.clip(high - low, 0.0, None).prod(1) / self.size**2)


@dataclass(frozen=True, slots=True)
class Looks:
    """How cameras render, as `augment.Look`: `[N]` each, `tint` `[N, 3]`."""

    gain: Floats
    offset: Floats
    gamma: Floats
    tint: Floats
    saturation: Floats
    grey: Flags
    detail: Floats
    softness: Floats
    noise: Floats
    quality: Floats

    @classmethod
    def draw(cls, chance: Chance, grey: float) -> Looks:
        """The looks of whole videos."""
        lit = chance.coin(0.45)
        augment = chance.augment

        def hard(share: float, values: Floats, otherwise: float) -> Floats:
            return np.where(chance.hard(share), values, otherwise)

        def further(low: float, high: float, strength: float) -> Floats:
            factor = 1.0 + strength * (chance.uniform(low, high) - 1.0)
            return np.where(lit, np.maximum(factor, 0.0), 1.0)

        return cls(
            gain=further(0.7, 1.3, augment.light),
            offset=np.where(lit, augment.light * chance.uniform(-0.08, 0.08), 0.0),
            gamma=np.where(lit, np.exp(augment.light * chance.normal(0.18)), 1.0),
            tint=np.ones((len(chance), 3)),
            saturation=further(0.3, 1.3, augment.colour),
            grey=chance.coin(grey),
            detail=hard(0.22 * augment.detail, chance.uniform(0.25, 0.9), 1.0),
            softness=hard(0.08 * augment.blur, chance.uniform(0.4, 1.2), 0.0),
            noise=hard(0.12 * augment.noise, chance.uniform(2.0, 12.0), 0.0),
            quality=hard(0.2 * augment.jpeg, np.floor(chance.uniform(20, 80)), 0.0),
        )

    def vary(self, chance: Chance, strength: Floats) -> Looks:
        """The same cameras a while later."""
        lit = chance.coin(0.6)
        augment = chance.augment
        n = chance.rng.standard_normal((6, len(chance))) * strength * lit * augment.light
        soft = np.where(chance.coin(0.1 * augment.blur), chance.uniform(0.3, 1.6), 0.0)
        coarse = np.where(chance.coin(0.08 * augment.detail), chance.uniform(0.4, 0.9), 1.0)
        return replace(
            self,
            gain=self.gain * np.exp(0.2 * n[0]),
            offset=self.offset + 0.06 * n[1],
            gamma=self.gamma * np.exp(0.15 * n[2]),
            tint=np.where(lit[:, None], np.exp(0.06 * n[3:].T), self.tint),
            softness=self.softness + soft,
            detail=self.detail * coarse,
        )
