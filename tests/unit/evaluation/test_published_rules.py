"""Each benchmark's figures against the rules of the code that published tables were made with.

`published` is written anew from what that code does (pytracking and STARK, `calc_seq_err_robust`):
sizes of zero repeat the row before, the given frame is perfect, frames without a true box or whose
target is away have errors of -1 or infinity, and all frames divide.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.evaluation import BENCHMARKS
from mixformerv2.evaluation.metrics import Figures, figures_of, frame_errors

Rows = NDArray[np.float64]

KINDS = {
    "lasot": "lasot",
    "lasot_ext": "other",
    "tnl2k": "other",
    "uav123": "uav",
    "uav20l": "uav",
    "otb100": "other",
    "nfs": "other",
    "nfs240": "other",
}
"""The benchmarks that this code measures; the others have servers or toolkits of their own."""


def published(answer: Rows, truth: Rows, visible: NDArray[np.bool_], kind: str) -> dict[str, float]:
    """AUC, P and P_Norm of one sequence, frame by frame."""
    rows = [list(row) for row in answer]
    for frame in range(1, len(rows)):
        known = not any(math.isnan(v) for v in truth[frame])
        if known and 0.0 in rows[frame][2:]:
            rows[frame] = list(rows[frame - 1])
    rows[0] = list(truth[0])
    overlaps, pixels, units = [], [], []
    for (x, y, w, h), (tx, ty, tw, th), seen in zip(rows, truth, visible, strict=True):
        if not (seen and tw > 0 and th > 0):
            overlaps.append(-1.0)
            pixels.append(-1.0 if kind == "uav" else math.inf)
            units.append(math.inf if kind == "lasot" and not seen else -1.0)
            continue
        wide = max(0.0, min(x + w, tx + tw) - max(x, tx))
        high = max(0.0, min(y + h, ty + th) - max(y, ty))
        overlaps.append(wide * high / (w * h + tw * th - wide * high))
        right, down = x + w / 2 - tx - tw / 2, y + h / 2 - ty - th / 2
        pixels.append(math.hypot(right, down))
        units.append(math.hypot(right / tw, down / th))
    count = len(truth)
    levels = [sum(one > level for one in overlaps) / count for level in np.linspace(0, 1, 21)]
    return {
        "auc": sum(levels) / 21,
        "precision": sum(one <= 20 for one in pixels) / count,
        "normalized_at_20": sum(one <= 0.2 for one in units) / count,
    }


def ours(name: str, answer: Rows, truth: Rows, visible: NDArray[np.bool_]) -> Figures:
    """The same by our own rules, from boxes as the readers of data sets hand them on."""
    zero = (truth[:, 2:] == 0).all(axis=1)
    absent = ~visible | zero | np.isnan(truth).any(axis=1)
    boxes = np.where(zero[:, None], np.nan, truth)
    return figures_of(frame_errors(boxes, answer, BENCHMARKS[name].counting, absent=absent))


@pytest.mark.parametrize("name", KINDS)
def test_each_benchmark_counts_as_published_code_does(name: str) -> None:
    kind, draw = KINDS[name], np.random.default_rng(7)
    for _ in range(40):
        count = int(draw.integers(2, 30))
        # Whole pixels, so that a perfect overlap is 1 and not a digit more.
        truth = np.c_[draw.integers(-5, 60, (count, 2)), draw.integers(4, 80, (count, 2))] * 1.0
        answer = truth + draw.normal(0, 12, (count, 4)).round()
        answer[:, 2:] = np.maximum(answer[:, 2:], 1.0)
        visible = np.ones(count, bool)
        away = draw.random(count) < 0.25
        away[0] = False
        if kind == "uav":
            truth[away] = np.nan
        else:
            truth[away & (draw.random(count) < 0.5)] = 0.0
        if name.startswith("lasot"):
            visible = ~away  # some with a box, some without
        else:
            away &= ~(truth[:, 2:] > 0).all(axis=1)
        lost = draw.random(count) < 0.3
        answer[lost, int(draw.integers(2, 4))] = 0.0  # some on both sides of an absence
        answer[lost & away] = 0.0
        found = ours(name, answer, truth, visible)
        for figure, value in published(answer, truth, visible, kind).items():
            assert getattr(found, figure) == pytest.approx(value, abs=1e-12), figure


def test_all_benchmarks_are_held_to_some_rules() -> None:
    others = {"own", "trackingnet", "got10k_val", "got10k_test", "vot2020", "vot2022"}
    assert set(KINDS) | others == set(BENCHMARKS)
