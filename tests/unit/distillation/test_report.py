"""What the table of a report says of stages that make no tracker."""

from __future__ import annotations

import re
from dataclasses import replace

from mixformerv2.distillation.report import _table, figures_of

from .conftest import network


def test_times_on_a_gpu_have_a_column_where_there_are_any() -> None:
    given = figures_of("teacher", network(), 30.0, 4.25)
    backbone = replace(figures_of("pre", network(), 3.0), kind="mae")
    student = replace(figures_of("student", network(), 3.0), kind="box")
    table = _table([given, backbone, student])
    heads = re.findall("<th>(.*?)</th>", table)
    place = heads.index("GPU ms")
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall(r"<tr>(<td>.*?)</tr>", table)]
    assert [len(row) for row in rows] == [len(heads)] * 3
    assert [row[place] for row in rows] == ["4.2", "", ""]
    assert "GPU ms" not in _table([backbone, student])


def test_a_pre_trained_backbone_has_no_figures_of_a_tracker() -> None:
    tracker = replace(figures_of("student", network(), 3.0), kind="box")
    backbone = replace(tracker, name="pre", kind="mae")
    rows = re.findall(r"<tr>(<td>.*?)</tr>", _table([backbone, tracker]))
    pre, student = (re.findall("<td>(.*?)</td>", row) for row in rows)
    assert len(pre) == len(student)
    assert pre[4:8] == ["none", "", "", ""]
    assert pre[-3] == "no tracker"
    assert student[4] == "four tokens shared"
    assert student[-3] == "not measured"
