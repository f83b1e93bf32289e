"""The engines, one by one: shapes, batches, threads, what they say of themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import EngineError
from mixformerv2.runtime import Engine, load_engine
from mixformerv2.runtime.onnx import OnnxEngine
from mixformerv2.runtime.openvino import OpenVinoEngine
from tests.doubles import make_bundle

EXACT = ["onnx", "openvino-fp32", "torch"]
DRAW = np.random.default_rng(9)


def crops(*shape: int) -> NDArray[np.uint8]:
    return DRAW.integers(0, 256, (*shape, 3)).astype(np.uint8)


@pytest.fixture(scope="module", params=EXACT)
def engine(small_bundle: Path, request: pytest.FixtureRequest) -> Engine:
    return load_engine(small_bundle, request.param)[0]


@pytest.fixture(scope="module")
def reference(small_bundle: Path) -> Engine:
    return load_engine(small_bundle, "onnx")[0]


@pytest.mark.parametrize(("batch", "templates"), [(1, 2), (4, 2), (1, 1), (2, 3)])
def test_any_batch_and_number_of_templates(
    engine: Engine, reference: Engine, batch: int, templates: int
) -> None:
    looks, search = crops(batch, templates, 32, 32), crops(batch, 64, 64)
    out = engine.step(search, engine.encode_templates(looks))
    expected = reference.step(search, reference.encode_templates(looks))
    assert out.boxes.shape == (batch, 4)
    assert out.scores.shape == (batch,)
    assert out.probs.shape == (batch, 4, 32)
    for got, want in (
        (out.boxes, expected.boxes),
        (out.scores, expected.scores),
        (out.probs, expected.probs),
    ):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", ["onnx", "openvino-fp32", "onnx-int8", "openvino-int8"])
def test_a_batch_answers_what_each_alone_does(name: str) -> None:
    """The shipped model, whose int8 graphs were pixels apart when compiled for any shape."""
    engine, config = load_engine("t", name, 1)
    t, s, count = config.tracker.template_size, config.tracker.search_size, 11
    looks, search = crops(count, 2, t, t), crops(count, s, s)
    alone = [engine.encode_templates(look[None]) for look in looks]
    out = engine.step(search, engine.join(alone))
    each = [engine.step(crop[None], memory) for crop, memory in zip(search, alone, strict=True)]
    # Sums in another order, of numbers below 1: float32 keeps seven digits.
    np.testing.assert_allclose(out.boxes * s, [one.boxes[0] * s for one in each], atol=1e-3)
    np.testing.assert_allclose(out.scores, [one.scores[0] for one in each], atol=1e-5)
    np.testing.assert_array_equal(engine.encode_templates(looks[:3]), engine.join(alone[:3]))


def test_probabilities_and_boxes_belong_together(engine: Engine) -> None:
    out = engine.step(crops(2, 64, 64), engine.encode_templates(crops(2, 2, 32, 32)))
    np.testing.assert_allclose(out.probs.sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(out.probs @ (np.arange(32) / 32), out.boxes, atol=1e-5)
    assert ((out.scores >= 0) & (out.scores <= 1)).all()


def test_what_it_sees_matters(engine: Engine) -> None:
    memory = engine.encode_templates(crops(1, 2, 32, 32))
    search = crops(1, 64, 64)
    here = engine.step(search, memory)
    swapped = engine.step(np.ascontiguousarray(search[..., ::-1]), memory)
    other = engine.step(search, engine.encode_templates(crops(1, 2, 32, 32)))
    assert abs(here.probs - swapped.probs).max() > 1e-4
    assert abs(here.probs - other.probs).max() > 1e-4


def test_an_answer_is_not_overwritten_by_the_next(engine: Engine) -> None:
    memory = engine.encode_templates(crops(1, 2, 32, 32))
    first = engine.step(crops(1, 64, 64), memory)
    kept = first.boxes.copy(), first.probs.copy()
    engine.encode_templates(crops(1, 2, 32, 32))
    engine.step(crops(1, 64, 64), memory)
    np.testing.assert_array_equal(first.boxes, kept[0])
    np.testing.assert_array_equal(first.probs, kept[1])


def test_threads_that_share_an_engine_get_their_own_answers(engine: Engine) -> None:
    """Batches are cut into passes, and each thread comes with memories of its own."""
    draw = np.random.default_rng(5)
    looks = []
    for count in (1, 1, 1, 9, 9):
        templates = draw.integers(0, 256, (count, 2, 32, 32, 3), dtype=np.uint8)
        search = draw.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
        memory = engine.encode_templates(templates)
        looks.append((search, memory, engine.step(search, memory).boxes))

    def strays(look: tuple[NDArray[np.uint8], object, NDArray[np.float32]]) -> float:
        search, memory, alone = look
        steps = (engine.step(search, memory).boxes for _ in range(20))
        return max(float(np.abs(boxes - alone).max()) for boxes in steps)

    with ThreadPoolExecutor(len(looks)) as threads:
        assert max(threads.map(strays, looks)) < 1e-5


def test_the_same_crop_gives_the_same_numbers(engine: Engine) -> None:
    memory = engine.encode_templates(crops(1, 2, 32, 32))
    search = crops(1, 64, 64)
    first = engine.step(search, memory)
    np.testing.assert_array_equal(engine.step(search, memory).probs, first.probs)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_crops_of_another_size_are_refused(small_bundle: Path, name: str) -> None:
    engine, _ = load_engine(small_bundle, name)
    memory = engine.encode_templates(crops(1, 2, 32, 32))
    with pytest.raises(EngineError, match=r"refuses these crops, .*mixformerv2 export"):
        engine.step(crops(1, 48, 48), memory)


@pytest.mark.parametrize("name", ["onnx", "openvino", "torch"])
def test_threads(small_bundle: Path, name: str) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        assert load_engine(small_bundle, name, threads=1)[0].info.threads == 1
    finally:
        torch.set_num_threads(before)


def test_openvino_says_what_it_took(small_bundle: Path) -> None:
    paths = small_bundle / "template.onnx", small_bundle / "search.onnx"
    assert OpenVinoEngine(*paths, precision="fp32").info.precision == "fp32"
    own = OpenVinoEngine(*paths).info
    assert own.precision in ("fp32", "bf16", "fp16")
    assert own.threads is not None
    assert own.threads >= 1


def test_onnx_keeps_to_the_cores_it_may_use(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = small_bundle / "template.onnx", small_bundle / "search.onnx"
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3}, raising=False)
    assert OnnxEngine(*paths).info.threads == 1
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert OnnxEngine(*paths).info.threads is None
    monkeypatch.delattr("os.sched_getaffinity")
    assert OnnxEngine(*paths).info.threads is None


@pytest.mark.parametrize(
    ("cores", "alone", "awake"), [(2, True, True), (2, False, False), (4, False, True)]
)
def test_beside_a_decoder_two_cores_are_left_alone(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch, cores: int, alone: bool, awake: bool
) -> None:
    """By the options of ONNX Runtime's own sessions; answers are the same."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    engine, _ = load_engine(small_bundle, "onnx", alone=alone)
    assert isinstance(engine, OnnxEngine)
    for session in (engine._template, engine._search):
        options = session.get_session_options()
        try:
            value = options.get_session_config_entry("session.intra_op.allow_spinning")
        except RuntimeError:  # it was not set
            value = "1"
        assert (value != "0") == awake


@pytest.mark.parametrize(
    ("engine", "module", "advice"),
    [
        (OpenVinoEngine, "openvino", r"pip install 'mixformerv2\[openvino\]'"),
        (OnnxEngine, "onnxruntime", "pip install mixformerv2"),
    ],
)
def test_a_library_that_is_missing(
    small_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: type[OpenVinoEngine] | type[OnnxEngine],
    module: str,
    advice: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=advice):
        engine(small_bundle / "template.onnx", small_bundle / "search.onnx")


REPORTS = """
import sys
from mixformerv2.runtime import load_engine
load_engine(sys.argv[1], "openvino-fp32")
from openvino.tools.ovc import telemetry_utils
print(telemetry_utils.tm.__name__)
"""


def test_openvino_reports_nothing_to_its_makers(small_bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORTS, str(small_bundle)],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "openvino.tools.ovc.telemetry_stub\n", done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", [OpenVinoEngine, OnnxEngine])
def test_a_graph_that_is_damaged(
    small_bundle: Path, tmp_path: Path, engine: type[OpenVinoEngine] | type[OnnxEngine]
) -> None:
    broken = tmp_path / "template.onnx"
    broken.write_bytes((small_bundle / "template.onnx").read_bytes()[:5000])
    with pytest.raises(EngineError, match=r"template\.onnx"):
        engine(broken, small_bundle / "search.onnx")


def test_a_network_without_a_score_head(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "silent", score_head=False)
    for name in EXACT:
        engine, config = load_engine(folder, name)
        out = engine.step(crops(2, 64, 64), engine.encode_templates(crops(2, 2, 32, 32)))
        assert not config.has_score
        np.testing.assert_array_equal(out.scores, [1, 1])
    shutil.rmtree(folder)


def test_compiled_graphs_are_kept_for_the_next_process(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [small_bundle / name for name in ("template.onnx", "search.onnx")]
    templates, search = crops(1, 2, 32, 32), crops(1, 64, 64)

    def boxes() -> NDArray[np.float32]:
        engine = OpenVinoEngine(*paths, precision="fp32", search_size=64)
        return engine.step(search, engine.encode_templates(templates)).boxes

    plain = boxes()
    folder = tmp_path / "cache"
    monkeypatch.setenv("MIXFORMERV2_CACHE", str(folder))
    made = boxes()
    kept = sorted(folder.iterdir())
    assert [path.name.partition("-")[0] for path in kept] == ["search", "template"]
    with monkeypatch.context() as patch:  # found, so that nobody reads the graphs themselves
        patch.setattr("mixformerv2.runtime.openvino._Graph._read", None)
        found = boxes()
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    mended = boxes()
    np.testing.assert_array_equal([made, found, mended], [plain] * 3)
    assert kept[0].stat().st_size > 100
    OpenVinoEngine(*paths, precision="bf16", search_size=64)  # other options, other files
    assert len(list(folder.iterdir())) == 4


def test_a_cache_folder_that_cannot_be_is_no_failure(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIXFORMERV2_CACHE", str(tmp_path / "file"))
    engine = OpenVinoEngine(small_bundle / "template.onnx", small_bundle / "search.onnx")
    assert engine.info.name == "openvino"
