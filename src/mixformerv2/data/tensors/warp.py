"""Geometry of `data.warp` for whole batches on a device.

Coordinates are pixel edges (pixel i covers i to i + 1), which is what `grid_sample` means without
`align_corners`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Warp", "apply", "bounds", "place", "sample", "tile_outline"]

BEND_GRID = 5
# Bicubic between the nodes, then the blur of `warp.bend_field`: it leaves about so much.
DAMPED = 0.9


def apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Map points `[B, P, 2]` by `[B, 3, 3]`."""
    raised = points @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]
    return raised[..., :2] / raised[..., 2:].clamp(min=1e-6)


def inverted(matrix: Tensor) -> Tensor:
    """Inverse of `[B, 3, 3]` by cross products; `linalg.inv` makes the host wait for a GPU."""
    a, b, c = matrix.unbind(1)
    columns = [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)]
    inverse: Tensor = torch.stack(columns, 2) / (a * columns[0]).sum(1)[:, None, None]
    return inverse


def bounds(points: Tensor) -> Tensor:
    """Tight boxes x1, y1, x2, y2 `[B, 4]` of points `[B, P, 2]`."""
    return torch.cat([points.amin(1), points.amax(1)], 1)


def _scaled(scale: Tensor, shift: Tensor) -> Tensor:
    """`[B, 3, 3]` that scales by `[B]`, then shifts by `[B, 2]`."""
    out = torch.zeros(len(scale), 3, 3, device=scale.device)
    out[:, 0, 0] = out[:, 1, 1] = scale
    out[:, :2, 2] = shift
    out[:, 2, 2] = 1.0
    return out


def place(outline: Tensor, pose: Tensor, size: Tensor, centre: Tensor) -> Tensor:
    """Maps `[B, 3, 3]` from the outlines' pictures to crops, as `data.warp.place`.

    Args:
        outline: `[B, P, 2]`, in pixels of the pictures.
        pose: `[B, 3, 3]`, `Poses.matrix`.
        size: `[B]`, `sqrt(w h)` of the boxes wanted.
        centre: `[B, 2]` of the boxes wanted.
    """
    box = bounds(outline)
    unit = (box[:, 2:] - box[:, :2]).clamp(min=1.0).prod(1).rsqrt()
    centred = _scaled(unit, -0.5 * unit[:, None] * (box[:, :2] + box[:, 2:]))
    turned = pose @ centred
    landed = bounds(apply(turned, outline))
    scale = size * (landed[:, 2:] - landed[:, :2]).clamp(min=1e-3).prod(1).rsqrt()
    move = _scaled(scale, centre - 0.5 * scale[:, None] * (landed[:, :2] + landed[:, 2:]))
    return move @ turned


class Warp:
    """Where the pixels of square crops come from: a map, and perhaps a smooth bend on top.

    Args:
        matrix: `[B, 3, 3]` from pixels of the pictures to those of the crops.
        side: Of the crops.
        nodes: `[B, 2, 5, 5]` displacements in pixels over twice the size around the centre.
        size: `[B]` of the targets; only needed with nodes.
        centre: `[B, 2]` of the targets; only needed with nodes.
    """

    def __init__(
        self, matrix: Tensor, side: int, nodes: Tensor | None = None,
        size: Tensor | None = None, centre: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.matrix = matrix
        self.side = side
        self.nodes = nodes
        self.size = size
        self.centre = centre

    def _bend(self, points: Tensor) -> Tensor:
        """Displacement `[B, P, 2]` at points of the crops."""
        assert self.nodes is not None
        assert self.size is not None
        assert self.centre is not None
        at = (points - self.centre[:, None]) / self.size[:, None, None]
        found = F.grid_sample(
            self.nodes, at[:, None].clamp(-1, 1), mode="bicubic", padding_mode="border",
            align_corners=True,
        )  # fmt: skip
        return DAMPED * found[:, :, 0].transpose(1, 2)

    def source(self) -> Tensor:
        """Pixels of the pictures `[B, S, S, 2]` that are seen; far outside behind the horizon."""
        side, device = self.side, self.matrix.device
        if self.nodes is None:
            points = _raster(side, side, device).expand(len(self.matrix), -1, -1)
        else:  # the bend is smooth: a quarter of the resolution will do
            small = max(side // 4, 8)
            coarse = _raster(small, side, device).expand(len(self.matrix), -1, -1)
            field = self._bend(coarse).transpose(1, 2).reshape(-1, 2, small, small)
            field = F.interpolate(field, (side, side), mode="bilinear", align_corners=False)
            points = _raster(side, side, device) + field.flatten(2).transpose(1, 2)
        inverse = inverted(self.matrix)
        raised = points @ inverse[:, :, :2].transpose(1, 2) + inverse[:, None, :, 2]
        depth = raised[..., 2:]
        seen = torch.where(depth > 1e-6, raised[..., :2] / depth.clamp(min=1e-6), -1e6)
        return seen.view(-1, side, side, 2)

    def moved(self, points: Tensor) -> Tensor:
        """Where points of the pictures `[B, P, 2]` land in the crops."""
        start = apply(self.matrix, points)
        if self.nodes is None:
            return start
        landed = start
        for _ in range(3):  # crops look up p + d(p), so p = start - d(p): a fixed point
            landed = start - self._bend(landed.clamp(0, self.side))
        return landed


def _raster(count: int, side: int, device: torch.device) -> Tensor:
    """Centres of `count` by `count` cells of a square, `[1, count * count, 2]`, row by row."""
    line = (torch.arange(count, device=device, dtype=torch.float32) + 0.5) * (side / count)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], -1).reshape(1, -1, 2)


def sample(texture: Tensor, source: Tensor, extent: Tensor, *, border: bool = False) -> Tensor:
    """Look textures `[B, C, h, w]` up at pixels `[B, S, S, 2]` of pictures of `[B, 2]` pixels.

    Outside is 0, or with `border` the nearest edge.
    """
    grid = (2.0 / extent)[:, None, None] * source - 1.0
    padding = "border" if border else "zeros"
    return F.grid_sample(texture, grid, padding_mode=padding, align_corners=False)


def tile_outline(alpha: Tensor, extent: Tensor) -> Tensor:
    """Outlines `[B, 2 h, 2]` of opacities `[B, h, w]`: where each row begins and ends.

    In pixels of pictures of `extent` `[B, 2]`; the tight box of the points is that of all pixels
    more than half opaque. Rows without any repeat the first one that has one.
    """
    height, width = alpha.shape[1:]
    solid = alpha > 0.5
    filled = solid.any(2)
    rows = torch.arange(height, device=alpha.device).expand(len(alpha), -1)
    rows = torch.where(filled, rows, filled.float().argmax(1, keepdim=True))
    first = solid.float().argmax(2).gather(1, rows)
    last = width - 1 - solid.flip(2).float().argmax(2).gather(1, rows)
    x, y = torch.cat([first, last], 1), torch.cat([rows, rows], 1)
    points = torch.stack([x, y], -1).float() + 0.5
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    span = (high - low).clamp(min=1.0)
    centre = 0.5 * (low + high)
    # Rows run through pixel centres; half a pixel outwards on each side is the edge.
    edges = (points - centre) * ((span + 1.0) / span) + centre
    scale = extent / torch.tensor([width, height], device=alpha.device)
    return edges * scale[:, None]
