"""Losses of eq. 10, and those that teach the prediction tokens from random weights.

Letters: B batch, K bins, Ns search tokens. Boxes are x1, y1, x2, y2 in the search crop, 0 to 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.heads import expectation
from .config import LossConfig

__all__ = [
    "Predictions",
    "box_iou",
    "ciou_loss",
    "gaussian_sides",
    "kl_to_sides",
    "mean_over_present",
    "target_share",
    "total_loss",
]


class Predictions(NamedTuple):
    """What the network and its teacher head say of one batch.

    A named tuple, because Fabric's wrappers look inside tuples but refuse frozen dataclasses.

    Attributes:
        logits: Side logits of the prediction tokens, `[B, 4, K]`; None where a head regresses the
            box directly.
        boxes: Their expectation, `[B, 4]`.
        score: `[B]` logits, or None.
        dense: Side logits of the dense head, `[B, 4, K]`, or None.
        inside: Target logits of the search tokens, `[B, Ns]`, or None.
        corners: Logits of a corner head's two maps, `[B, 2, K, K]`, or None.
        features: All tokens `[B, N, C]` after the layers that were asked for.
    """

    logits: Tensor | None
    boxes: Tensor
    score: Tensor | None = None
    dense: Tensor | None = None
    inside: Tensor | None = None
    corners: Tensor | None = None
    features: tuple[Tensor, ...] = ()


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of matched boxes, `[B, 4]` and `[B, 4]` to `[B]`."""
    low = torch.maximum(a[:, :2], b[:, :2])
    high = torch.minimum(a[:, 2:], b[:, 2:])
    inside = (high - low).clamp(min=0).prod(1)
    areas = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).prod(1)
    return inside / (areas - inside).clamp(min=1e-7)


def ciou_loss(boxes: Tensor, truth: Tensor) -> Tensor:
    """Complete-IoU loss of matched boxes, `[B, 4]` and `[B, 4]` to `[B]`.

    Zheng et al., "Distance-IoU Loss" (2020): 1 - IoU + centre distance over the diagonal of the
    enclosing box + aspect term, whose weight carries no gradient.
    """
    iou = box_iou(boxes, truth)
    low = torch.minimum(boxes[:, :2], truth[:, :2])
    high = torch.maximum(boxes[:, 2:], truth[:, 2:])
    diagonal = (high - low).square().sum(1).clamp(min=1e-7)
    apart = ((boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2).square().sum(1)
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-4)
    true_size = (truth[:, 2:] - truth[:, :2]).clamp(min=1e-4)
    turn = torch.atan(true_size[:, 0] / true_size[:, 1]) - torch.atan(size[:, 0] / size[:, 1])
    aspect = 4 / math.pi**2 * turn.square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect).clamp(min=1e-7)
    return 1 - iou + apart / diagonal + weight * aspect


def gaussian_sides(boxes: Tensor, bins: int, sigma: float) -> Tensor:
    """Soft labels for the sides: `[B, 4]` to `[B, 4, K]`, a normal of `sigma` bins at each."""
    places = torch.arange(bins, device=boxes.device, dtype=boxes.dtype)
    return (-((places - boxes[..., None] * bins) ** 2) / (2 * sigma**2)).softmax(-1)


def kl_to_sides(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence from the teacher's side distributions, summed over the sides (eq. 5), `[B]`.

    Args:
        logits: The student's, `[B, 4, K]`.
        teacher: The teacher's distributions, `[B, 4, K]`; no gradient flows into them.
    """
    log_student = logits.float().log_softmax(-1)
    return F.kl_div(log_student, teacher.detach(), reduction="none").sum((-1, -2))


def target_share(boxes: Tensor, grid: int) -> Tensor:
    """Share of each search token's cell that the box covers: `[B, 4]` to `[B, grid * grid]`."""
    edges = torch.arange(grid, device=boxes.device, dtype=boxes.dtype)

    def along(low: Tensor, high: Tensor) -> Tensor:
        start, end = low[:, None] * grid, high[:, None] * grid
        return (torch.minimum(end, edges + 1) - torch.maximum(start, edges)).clamp(0, 1)

    across = along(boxes[:, 0], boxes[:, 2])
    down = along(boxes[:, 1], boxes[:, 3])
    return (down[:, :, None] * across[:, None, :]).flatten(1)


def mean_over_present(values: Tensor, present: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean of `[B]` over the samples that show their target, or their sum over `count`."""
    total = present.sum() if count is None else count
    # A count of a step's mean may well be below one; where it is zero, so is the sum.
    return (values * present).sum() / total.clamp(min=1e-6)


def total_loss(
    out: Predictions,
    boxes: Tensor,
    present: Tensor,
    config: LossConfig,
    count: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all terms that need no teacher, and each term's value for the log.

    Box terms count on samples where the target is present; the score and the token terms on all.

    Args:
        out: Predictions for the batch.
        boxes: True boxes, `[B, 4]`; anything where the target is absent.
        present: `[B]`, 1 where the target is in the search crop, else 0.
        config: Weights of the terms.
        count: What sums over present samples are divided by; their number where it is not given.
    """
    terms: dict[str, Tensor] = {}
    bins = _bins_of(out)

    def mean(values: Tensor) -> Tensor:
        return mean_over_present(values, present, count)

    terms["l1"] = mean((out.boxes - boxes).abs().mean(1))
    terms["ciou"] = mean(ciou_loss(out.boxes, boxes))
    labels = gaussian_sides(boxes, bins, config.label_sigma) if bins else boxes
    if out.logits is not None:
        terms["sides"] = mean(kl_to_sides(out.logits, labels))
    if out.dense is not None:
        dense = out.dense.softmax(-1)
        dense_boxes = expectation(dense)
        terms["dense"] = mean(kl_to_sides(out.dense, labels))
        terms["dense_ciou"] = mean(ciou_loss(dense_boxes, boxes))
        if out.logits is not None:
            terms["dense_to_sparse"] = mean(kl_to_sides(out.logits, dense))
    if out.inside is not None:
        grid = math.isqrt(out.inside.shape[1])
        share = target_share(boxes, grid) * present[:, None]
        terms["inside"] = F.binary_cross_entropy_with_logits(out.inside, share)
    if out.score is not None:
        terms["score"] = F.binary_cross_entropy_with_logits(out.score, present)
    total = torch.stack([getattr(config, name) * value for name, value in terms.items()]).sum()
    with torch.no_grad():
        terms["iou"] = mean(box_iou(out.boxes, boxes))
        if out.dense is not None:
            terms["dense_iou"] = mean(box_iou(dense_boxes, boxes))
    return total, {name: value.detach() for name, value in terms.items()}


def _bins_of(out: Predictions) -> int:
    for logits in (out.logits, out.dense):
        if logits is not None:
            return logits.shape[-1]
    return 0
