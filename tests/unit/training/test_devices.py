"""The precision that a run takes on the device that it has."""

from __future__ import annotations

import logging

import pytest
import torch

from mixformerv2.training.config import TrainConfig
from mixformerv2.training.devices import settle_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx2": True, "avx512_bf16": False}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_auto_is_what_the_processor_is_best_at(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    config = settle_precision(TrainConfig(precision="auto", device="cpu"))
    assert config.precision == expected


@pytest.mark.parametrize("asked", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("has", [True, False])
def test_a_named_precision_is_kept_and_a_slow_one_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asked: str, has: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)
    with caplog.at_level(logging.WARNING):
        config = settle_precision(TrainConfig(precision=asked, device="cpu"))  # type: ignore[arg-type]
    assert config.precision == asked
    slow = asked == "bf16-mixed" and not has
    assert ("precision=auto" in caplog.text) == slow
