"""Losses against hand-worked cases and laws."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.models.heads import expectation
from mixformerv2.training.config import LossConfig
from mixformerv2.training.losses import (
    Predictions,
    box_iou,
    ciou_loss,
    gaussian_sides,
    kl_to_sides,
    target_share,
    total_loss,
)


def test_iou_of_half_overlapping_squares() -> None:
    a = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    b = torch.tensor([[0.25, 0.0, 0.75, 0.5]])
    assert_close(box_iou(a, b), torch.tensor([1 / 3]))


def test_ciou_by_hand() -> None:
    """IoU 1/3, centres 0.25 apart, enclosing box 0.75 x 0.5, equal aspect."""
    a = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    b = torch.tensor([[0.25, 0.0, 0.75, 0.5]])
    expected = 1 - 1 / 3 + 0.25**2 / (0.75**2 + 0.5**2)
    assert_close(ciou_loss(a, b), torch.tensor([expected]))


def test_ciou_adds_the_aspect_term() -> None:
    """Same centre and area, 2:1 against 1:2."""
    a = torch.tensor([[0.3, 0.4, 0.7, 0.6]])
    b = torch.tensor([[0.4, 0.3, 0.6, 0.7]])
    iou = 0.04 / 0.12
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    expected = 1 - iou + v * v / (1 - iou + v)
    assert_close(ciou_loss(a, b), torch.tensor([expected]))


def test_ciou_of_a_degenerate_box_has_a_finite_gradient() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.6, 0.6, 0.4, 0.4]], requires_grad=True)
    truth = torch.tensor([[0.1, 0.1, 0.2, 0.2]]).expand(2, 4)
    ciou_loss(boxes, truth).sum().backward()
    assert boxes.grad is not None
    assert torch.isfinite(boxes.grad).all()


def test_soft_labels_expect_the_box() -> None:
    boxes = torch.tensor([[0.2, 0.3, 0.7, 0.8]])
    assert_close(expectation(gaussian_sides(boxes, 64, 1.0)), boxes, atol=1e-4, rtol=0)


def test_kl_is_zero_at_the_teacher_and_sums_the_sides() -> None:
    logits = torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(0))
    teacher = logits.softmax(-1)
    assert_close(kl_to_sides(logits, teacher), torch.zeros(3), atol=1e-6, rtol=0)
    uniform = torch.zeros(3, 4, 16)
    by_hand = (teacher * (teacher * 16).log()).sum((-1, -2))
    assert_close(kl_to_sides(uniform, teacher), by_hand)


def test_no_gradient_reaches_the_teacher() -> None:
    student = torch.randn(1, 4, 8, requires_grad=True)
    teacher = torch.randn(1, 4, 8, requires_grad=True)
    kl_to_sides(student, teacher.softmax(-1)).sum().backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_target_share_is_the_covered_part_of_each_cell() -> None:
    share = target_share(torch.tensor([[0.0, 0.25, 0.5, 0.5]]), 2).view(2, 2)
    assert_close(share, torch.tensor([[0.5, 0.0], [0.0, 0.0]]))


def test_target_share_sums_to_the_area() -> None:
    boxes = torch.tensor([[0.13, 0.21, 0.78, 0.9], [0.0, 0.0, 1.0, 1.0]])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert_close(target_share(boxes, 8).mean(1), area)


def predictions(batch: int) -> Predictions:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(batch, 4, 16, generator=generator)
    return Predictions(
        logits,
        expectation(logits.softmax(-1)),
        torch.zeros(batch),
        torch.randn(batch, 4, 16, generator=generator),
        torch.zeros(batch, 16),
    )


def test_absent_targets_count_for_score_and_tokens_only() -> None:
    boxes = torch.tensor([[0.2, 0.2, 0.6, 0.6], [0.1, 0.1, 0.9, 0.9]])
    other = torch.tensor([[0.2, 0.2, 0.6, 0.6], [0.4, 0.0, 0.5, 0.3]])
    present = torch.tensor([1.0, 0.0])
    loss, terms = total_loss(predictions(2), boxes, present, LossConfig())
    same, _ = total_loss(predictions(2), other, present, LossConfig())
    assert_close(loss, same)
    assert terms["score"] == pytest.approx(math.log(2))


def test_a_batch_without_any_target_is_finite() -> None:
    loss, _ = total_loss(predictions(2), torch.zeros(2, 4), torch.zeros(2), LossConfig())
    assert torch.isfinite(loss)


def test_total_is_the_weighted_sum_of_the_logged_terms() -> None:
    config = LossConfig(l1=3.0, dense=0.0, score=0.25)
    boxes = torch.tensor([[0.2, 0.2, 0.6, 0.6]])
    loss, terms = total_loss(predictions(1), boxes, torch.ones(1), config)
    by_hand = sum(getattr(config, k) * v for k, v in terms.items() if "iou" not in k or "c" in k)
    assert_close(loss, torch.as_tensor(by_hand))
