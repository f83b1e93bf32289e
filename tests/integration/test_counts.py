"""Work that must not grow unnoticed: counts that are the same on every machine, never times."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tests.doubles import moving_square

from mixformerv2.models.config import ModelConfig
from mixformerv2.models.count import multiply_adds, parameters
from mixformerv2.models.registry import model_config
from mixformerv2.tracking import Tracker
from mixformerv2.weights.bundle import find_bundle, list_bundles, read_config

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
    [("search.onnx", 743, 60), ("search.int8.onnx", 910, 60)],
)
def test_nodes_of_the_shipped_graphs(file: str, nodes: int, products: int) -> None:
    kinds = Counter(node.op_type for node in onnx.load(find_bundle("t") / file).graph.node)
    assert kinds.total() <= nodes
    assert kinds["MatMul"] + kinds["Gemm"] + kinds["Conv"] <= products


def test_a_search_graph_multiplies_no_more_than_the_network(small_bundle: Path) -> None:
    """Counted in the file that is exported, by the shapes that its products have when they run."""
    arch = ModelConfig.from_dict(read_config(small_bundle).arch)
    model = onnx.load(small_bundle / "search.onnx")
    products = [n for n in model.graph.node if n.op_type in ("MatMul", "Gemm", "Conv")]
    wanted = list(dict.fromkeys(name for n in products for name in (*n.input[:2], n.output[0])))
    known = {value.name for value in (*model.graph.input, *model.graph.output)}
    model.graph.output.extend(onnx.ValueInfoProto(name=w) for w in wanted if w not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    tokens = 2 * arch.template_grid**2
    memory = np.zeros((arch.depth, 2, 1, tokens, arch.width // 64, 64), np.float32)
    search = np.zeros((1, arch.search_size, arch.search_size, 3), np.uint8)
    shapes = {
        name: value.shape
        for name, value in zip(
            wanted, session.run(wanted, {"search": search, "memory": memory}), strict=True
        )
    }
    counted = 0
    for node in products:
        left, right = (shapes[name] for name in node.input[:2])
        summed = int(np.prod(right[1:])) if node.op_type == "Conv" else left[-1]
        counted += int(np.prod(shapes[node.output[0]])) * summed
    assert counted == multiply_adds(arch)
    assert len(products) <= 34
    assert len(model.graph.node) <= 440


@pytest.mark.parametrize("name", list_bundles())
def test_bytes_of_a_shipped_bundle(name: str) -> None:
    assert sum(path.stat().st_size for path in find_bundle(name).iterdir()) <= 20 * MEGABYTE


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
