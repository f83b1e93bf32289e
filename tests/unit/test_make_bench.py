"""What `make bench` makes of the times it took."""

from __future__ import annotations

import math

import pytest
from benchmarks.run import goals, machine, rows, table

from mixformerv2.evaluation.speed import Pace, Update


class Published:
    """Nobody asks a contestant anything after the race."""

    def update(self, frame: int) -> Update:
        raise AssertionError


def pace(*milliseconds: float) -> Pace:
    return Pace(milliseconds, tuple(math.nan for _ in milliseconds))


TIMES = {
    "s published way": pace(100.0, 200.0, 100.0),
    "s onnx": pace(40.0, 80.0, 40.0),
    "s openvino-fp32": pace(50.0, 50.0, 50.0),
    "s openvino": pace(25.0, 50.0, 25.0),
    "t onnx": pace(5.0, 5.0, 5.0),
}


def test_ratios_are_to_the_published_way_of_the_same_model() -> None:
    figures = rows({name: Published() for name in TIMES}, TIMES)
    ratios = {f"{row['model']} {row['way']}": row.get("times_published") for row in figures}
    assert ratios == {
        "s published way": 1.0,
        "s onnx": 2.5,
        "s openvino-fp32": 2.0,
        "s openvino": 4.0,
        "t onnx": None,
    }
    assert figures[-1]["updates_per_second"] == pytest.approx(200.0)
    said = goals(figures)
    assert said[0] == "S, the best fp32 engine (onnx): 2.50 times the published way, asked: 2.5"
    assert "OpenVINO at its fastest precision (openvino): 4.00" in said[1]
    assert "the fastest of all (openvino): 4.00 times the published way, asked: 6" in said[2]
    assert goals(figures[-1:]) == []


def test_table_is_markdown() -> None:
    lines = table(rows({name: Published() for name in TIMES}, TIMES)).splitlines()
    assert len(lines) == 2 + len(TIMES)
    assert len({len(line) for line in lines}) == 1
    assert all(line.count("|") == 8 for line in lines)


def test_machine_names_what_figures_depend_on() -> None:
    found = machine(2)
    assert found["cpu"]
    assert found["threads"] == 2
    assert set(found["packages"]) >= {"torch", "onnxruntime", "openvino"}
