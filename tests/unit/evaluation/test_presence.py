"""The presence figure with engines whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import DataError
from mixformerv2.evaluation import read_sequences
from mixformerv2.evaluation.presence import presence
from mixformerv2.runtime.base import EngineInfo, Memory, StepOutput
from mixformerv2.tracking.settings import TrackerSettings

from .conftest import write_sequence

SETTINGS = TrackerSettings(template_size=32, search_size=64)


class ByColour:
    """Scores how close the brightest colour of the search is to that of the template."""

    info = EngineInfo("fake", "fp32", 1)

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        assert templates.shape == (1, 2, 32, 32, 3)
        return templates.max(axis=(1, 2, 3))[0].astype(float)

    def join(self, memories: Sequence[Memory]) -> Memory:
        raise AssertionError("one target alone")

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        assert search.shape == (1, 64, 64, 3)
        gap = np.abs(search.max(axis=(1, 2)).astype(float) - memory).max(axis=1)
        scores = (1 - gap / 255).astype(np.float32)
        return StepOutput(np.zeros((1, 4), np.float32), scores, np.zeros((1, 4, 2), np.float32))


def test_other_sequences_score_lower_where_they_look_otherwise(tmp_path: Path) -> None:
    import cv2

    for number, name in enumerate(("a", "b", "c")):
        write_sequence(tmp_path / name, start=10)
        for file in (tmp_path / name / "img").iterdir():
            picture = cv2.imread(str(file))
            picture[picture == 255] = 130 + 40 * number
            cv2.imwrite(str(file), picture)
    result = presence(ByColour(), SETTINGS, read_sequences(tmp_path), per_sequence=3)
    assert result.auc == 1.0
    assert len(result.present) == len(result.absent) == 9
    assert result.present.min() == 1.0


def test_a_hidden_target_is_not_called_present(root: Path) -> None:
    """Some sets have its box all the same."""
    first, *others = read_sequences(root)
    hidden = np.array([False, True, True, False, False])
    result = presence(ByColour(), SETTINGS, [replace(first, absent=hidden), *others])
    assert len(result.present) == 2 + 4 + 4


def test_equal_sequences_cannot_be_told_apart(root: Path) -> None:
    result = presence(ByColour(), SETTINGS, read_sequences(root), per_sequence=100)
    assert result.auc == 0.5
    assert len(result.present) == 3 * 4  # no more than there are frames after the first


def test_one_sequence_is_not_enough(root: Path) -> None:
    with pytest.raises(DataError, match="at least two sequences, got 1"):
        presence(ByColour(), SETTINGS, read_sequences(root, ["fam_a"]))
