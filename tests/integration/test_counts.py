"""Work that must not grow unnoticed: counts that are the same on every machine, never times."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from pathlib import Path

import onnx
import pytest
from tests.doubles import moving_square

from mixformerv2.models.count import multiply_adds, parameters
from mixformerv2.models.registry import model_config
from mixformerv2.tracking import Tracker
from mixformerv2.weights.bundle import find_bundle, list_bundles

MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    ("name", "giga", "mega"),
    [("mixformerv2_s", 2.55, 16.229), ("mixformerv2_b", 18.11, 58.855)],
)
def test_operations_of_a_frame(name: str, giga: float, mega: float) -> None:
    config = model_config(name)
    assert multiply_adds(config) / 1e9 == pytest.approx(giga, abs=0.01)
    assert parameters(config) / 1e6 == pytest.approx(mega, abs=0.001)


@pytest.mark.parametrize(
    ("file", "nodes", "products"),
    [("search.onnx", 790, 50), ("search.int8.onnx", 880, 60)],
)
def test_nodes_of_the_shipped_graphs(file: str, nodes: int, products: int) -> None:
    kinds = Counter(node.op_type for node in onnx.load(find_bundle("t") / file).graph.node)
    assert kinds.total() <= nodes
    assert kinds["MatMul"] + kinds["Gemm"] + kinds["Conv"] <= products


def test_bytes_of_the_shipped_bundles() -> None:
    files = [path for name in list_bundles() for path in find_bundle(name).iterdir()]
    assert sum(path.stat().st_size for path in files) <= 20 * MEGABYTE


def test_an_update_keeps_nothing_and_needs_little(small_bundle: Path) -> None:
    frame = moving_square()
    tracker = Tracker(small_bundle, engine="onnx", threads=1)
    tracker.init(frame(0), (20, 40, 24, 24))
    for i in range(1, 6):
        tracker.update(frame(i))
    pictures = [frame(i) for i in range(6, 16)]
    gc.collect()
    tracemalloc.start()
    try:
        tracker.update(pictures[0])
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for picture in pictures[1:]:
            tracker.update(picture)
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4096
    assert peak - before < 0.2 * MEGABYTE  # crop, batch of it, outputs; never a frame
