"""Int8: what is rounded and what is not, that engines multiply in integers, and what it costs."""

from __future__ import annotations

import contextlib
import shutil
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from typer.testing import CliRunner

from mixformerv2.cli import export as export_command
from mixformerv2.errors import EngineError, SourceError
from mixformerv2.evaluation.benchmarks import write_truth
from mixformerv2.evaluation.report import Report
from mixformerv2.evaluation.run import evaluate
from mixformerv2.evaluation.trackers import TrackerSpec
from mixformerv2.export import Int8Report, calibration, export_int8
from mixformerv2.export import quantize as quantize_module
from mixformerv2.export.calibration import Crops, read_crops
from mixformerv2.export.graphs import Preprocess, SearchGraph, TemplateGraph
from mixformerv2.export.ordered import OrderedGraphs
from mixformerv2.export.rounding import Linear8, Rounding, weights_to_int8
from mixformerv2.models import create
from mixformerv2.models.mixformerv2 import MixFormerV2
from mixformerv2.runtime.openvino import OpenVinoEngine
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking import TrackerSettings
from mixformerv2.weights import save_bundle
from mixformerv2.weights.bundle import INT8_NAMES, file_sha256, read_config
from tests.doubles import moving_square

COUNT = 16


@pytest.fixture(scope="module")
def made(
    small_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Int8Report, Path]:
    """A bundle with int8 graphs, its report, and the video it was calibrated with."""
    video = tmp_path_factory.mktemp("video")
    frame = moving_square()
    for i in range(6):
        cv2.imwrite(str(video / f"{i}.png"), frame(i))
    folder = tmp_path_factory.mktemp("int8") / "small"
    report = export_int8(small_bundle, folder, [video], count=COUNT)
    return folder, report, video


def crops(folder: Path, video: Path) -> Crops:
    return read_crops(read_config(folder).tracker, [video], COUNT)


def test_the_config_tells_of_the_graphs(made: tuple[Path, Int8Report, Path]) -> None:
    folder, report, _ = made
    config = read_config(folder)
    assert set(config.graphs) == {"template.onnx", "search.onnx", *INT8_NAMES}
    for name in INT8_NAMES:
        info = config.graphs[name]
        assert (info.sha256, info.precision) == (file_sha256(folder / name), "int8")
        assert info.weights_sha256 == config.weights_sha256
        assert info.parity == pytest.approx(report.median / config.tracker.search_size)
        assert 0 < info.parity <= 2 * quantize_module.LIMIT


@pytest.mark.parametrize("engine", ["onnx-int8", "openvino-int8"])
def test_engines_agree_with_float(made: tuple[Path, Int8Report, Path], engine: str) -> None:
    folder, _, video = made
    given = crops(folder, video)
    full, rounded = (load_engine(folder, name, 1)[0] for name in ("onnx", engine))
    assert rounded.info.precision == "int8"
    outs = [
        one.step(given.search, one.encode_templates(given.templates)) for one in (full, rounded)
    ]
    apart = np.abs(outs[0].boxes - outs[1].boxes).max(1)
    assert np.median(apart) <= 2 * quantize_module.LIMIT
    assert np.median(np.abs(outs[0].scores - outs[1].scores)) < 0.05
    np.testing.assert_allclose(outs[1].probs.sum(-1), 1.0, atol=1e-4)


def test_a_batch_is_its_members(made: tuple[Path, Int8Report, Path]) -> None:
    folder, _, video = made
    given = crops(folder, video)
    engine = load_engine(folder, "onnx-int8", 1)[0]
    together = engine.step(given.search[:3], engine.encode_templates(given.templates[:3]))
    for i in range(3):
        memory = engine.encode_templates(given.templates[i : i + 1])
        alone = engine.step(given.search[i : i + 1], memory)
        # One step of rounding may flip where a sum is made in another order.
        np.testing.assert_allclose(together.boxes[i], alone.boxes[0], atol=2e-3)


def test_products_are_rounded_and_nothing_else(made: tuple[Path, Int8Report, Path]) -> None:
    graph = onnx.load(made[0] / "search.int8.onnx").graph
    maker = {name: node for node in graph.node for name in node.output}

    def source(name: str) -> str:
        node = maker.get(name)
        while node is not None and node.op_type in ("Transpose", "Reshape", "Slice", "Gather"):
            node = maker.get(node.input[0])
        return node.op_type if node is not None else "input"

    products = [n for n in graph.node if n.op_type == "MatMul"]
    whole = [n for n in products if {source(i) for i in n.input} == {"DequantizeLinear"}]
    assert len(whole) >= 12
    for node in graph.node:
        if node.op_type in ("LayerNormalization", "Softmax", "Erf"):
            assert source(node.input[0]) != "DequantizeLinear"
    kinds = Counter(tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1)
    assert kinds[TensorProto.INT8] >= 8


def test_openvino_multiplies_in_integers(made: tuple[Path, Int8Report, Path]) -> None:
    template, search = (made[0] / name for name in INT8_NAMES)
    engine = OpenVinoEngine(template, search, threads=1, precision="int8")
    nodes = engine._search._usual.get_runtime_model().get_ordered_ops()
    products = {
        node.get_friendly_name(): node.get_rt_info()["runtimePrecision"].astype(str)
        for node in nodes
        if node.get_rt_info()["layerType"].astype(str) == "FullyConnected"
    }
    in_float = [name for name, kind in products.items() if kind == "f32"]
    assert len(products) - len(in_float) >= 8


def test_files_are_smaller(made: tuple[Path, Int8Report, Path]) -> None:
    for name in INT8_NAMES:
        float16 = made[0] / name.replace(".int8", "")
        assert (made[0] / name).stat().st_size < float16.stat().st_size


def test_what_costs_too_much_stays_in_float(
    small_bundle: Path, tmp_path: Path, made: tuple[Path, Int8Report, Path]
) -> None:
    video = made[2]
    told: list[str] = []
    report = export_int8(
        small_bundle, tmp_path / "a", [video], count=COUNT, limit=1e-4, tell=told.append
    )
    assert report.kept
    groups = list(report.groups)
    costs = [f"{group} alone, {n} of {len(groups)}" for n, group in enumerate(groups, 1)]
    assert [line.partition(": ")[2] for line in told if "alone" in line] == costs
    assert f"without {', '.join(report.kept)}" in told
    assert report.groups[report.kept[0]] == max(report.groups.values())
    memory = onnx.load(tmp_path / "a" / "template.int8.onnx").graph.output[0]
    assert memory.type.tensor_type.elem_type == TensorProto.FLOAT
    assert report.median < made[1].median


def test_broken_graphs_are_not_written(
    small_bundle: Path,
    tmp_path: Path,
    made: tuple[Path, Int8Report, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = quantize_module._write

    def crooked(graphs: OrderedGraphs, *rest: object) -> None:
        for rounding in graphs.roundings():
            rounding.scale = rounding.scale * 0.01  # everything is clipped
        write(graphs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(quantize_module, "_write", crooked)
    with pytest.raises(EngineError, match="nothing was written"):
        export_int8(small_bundle, tmp_path / "a", [made[2]], count=8)
    assert not any((tmp_path / "a").glob("*.onnx"))


def test_other_families_are_refused(tmp_path: Path) -> None:
    config = {"width": 64, "depth": 1, "template_size": 32, "search_size": 64, "bins": 16}
    save_bundle(create("mixvit_b", **config), tmp_path / "v")
    with pytest.raises(EngineError, match="only MixFormerV2 networks go into int8"):
        export_int8(tmp_path / "v", count=8)


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("head", ["four_tokens_shared", "one_token_direct"])
def test_unrounded_it_is_the_same_network(stem: str, head: str) -> None:
    torch.manual_seed(0)
    model = create(
        "mixformerv2_s",
        width=64,
        depth=2,
        template_size=32,
        search_size=64,
        bins=16,
        stem=stem,
        box_head=head,
        layer_gain={0: 0.5},
    ).eval()
    assert isinstance(model, MixFormerV2)
    prepare = Preprocess()
    graphs = OrderedGraphs(model, prepare).eval()
    draw = torch.Generator().manual_seed(1)
    templates = torch.randint(0, 256, (2, 3, 32, 32, 3), generator=draw, dtype=torch.uint8)
    search = torch.randint(0, 256, (2, 64, 64, 3), generator=draw, dtype=torch.uint8)
    with torch.inference_mode():
        memory = TemplateGraph(model, prepare).eval()(templates)
        expected = SearchGraph(model, prepare).eval()(search, memory)
        got = graphs.step(search, graphs.encode(templates))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=0)


def test_rounding_is_to_the_nearest_step() -> None:
    rounding = Rounding("any")
    rounding.mode = "watch"
    x = torch.linspace(-1.0, 4.0, 1001)
    assert rounding(x) is x
    rounding.settle()
    rounding.mode = "on"
    step = 5.0 / 255
    assert (rounding(x) - x).abs().max() <= 0.51 * step
    assert rounding(torch.zeros(1)).item() == 0.0
    assert rounding(torch.tensor([9.0])).item() == pytest.approx(4.0, abs=step)
    packed = rounding.pack(x)
    assert packed.dtype == torch.uint8
    torch.testing.assert_close(rounding.unpack(packed), rounding(x))


def test_weights_have_steps_of_their_own_for_each_output() -> None:
    weight = torch.tensor([[1.0, -127.0], [0.01, 0.002], [0.0, 0.0]])
    steps, scale = weights_to_int8(weight, axis=0)
    assert steps.tolist() == [[1, -127], [127, 25], [0, 0]]
    assert scale.tolist() == pytest.approx([1.0, 0.01 / 127, 1.0])
    linear = Linear8(weight, None, Rounding("any"))
    torch.testing.assert_close(linear(torch.eye(2)), weight.t())


def test_calibration_crops_are_the_same_each_time() -> None:
    settings = TrackerSettings(32, 64)
    first, second = (read_crops(settings, count=5) for _ in range(2))
    assert first.templates.shape == (5, 2, 32, 32, 3)
    assert first.search.shape == (5, 64, 64, 3)
    assert np.array_equal(first.search, second.search)
    assert first.search.std() > 10
    assert [len(part.search) for part in first.parts(2)] == [2, 2, 1]


@pytest.mark.parametrize("count", [3, 23])
def test_crops_are_those_of_frames_that_are_kept(tmp_path: Path, count: int) -> None:
    """Pictures of five sizes; for 23 crops they are read twice, for no more come."""
    settings, draw = TrackerSettings(32, 64), np.random.default_rng(1)
    frames = [draw.integers(0, 256, (60 + 9 * i, 90 - 5 * i, 3), np.uint8) for i in range(5)]
    for i, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{i}.png"), frame)
    got, rng, expected = read_crops(settings, [tmp_path], count), np.random.default_rng(0), []
    for i in range(count):
        first = i % 4
        boxes = calibration._draw_pair(rng, frames[first].shape[1::-1])
        expected.append(calibration._cut(boxes, *frames[first : first + 2], settings))
    for place, i in enumerate(rng.permutation(count)):
        np.testing.assert_array_equal(got.templates[place], expected[i][0])
        np.testing.assert_array_equal(got.search[place], expected[i][1])


def test_few_frames_are_kept_while_crops_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 of 4K would take 5 GB."""
    there: list[weakref.ref[np.ndarray]] = []
    most = 0

    @contextlib.contextmanager
    def opened(_: object) -> Iterator[object]:
        yield Source()

    class Source:
        count = 40

        def __iter__(self) -> Iterator[SimpleNamespace]:
            nonlocal most
            for index in range(self.count):
                image = np.full((40, 60, 3), index, np.uint8)
                there.append(weakref.ref(image))
                most = max(most, sum(one() is not None for one in there))
                yield SimpleNamespace(index=index, image=image)

    monkeypatch.setattr(calibration, "open_source", opened)
    for count in (12, 50):  # the latter reads twice
        assert len(read_crops(TrackerSettings(32, 64), ["a"], count).search) == count
    assert most <= 4


@pytest.mark.parametrize("flag", [None, "avx512_vnni"])
def test_graphs_far_from_the_network_are_refused(
    flag: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize_module, "int8_instructions", lambda: flag)
    near = np.zeros((3, 4)), np.zeros(3)
    far = np.full((3, 4), 0.03), np.zeros(3)
    quantize_module._check(near, near, near, 0.01)
    with pytest.raises(EngineError, match="nothing was written") as refused:
        quantize_module._check(far, near, near, 0.01)
    assert ("--quantizer nncf" in str(refused.value)) == (flag is None)


def test_a_picture_is_no_video(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(SourceError, match="fewer than two frames"):
        read_crops(TrackerSettings(32, 64), [tmp_path], 4)


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """A folder with one sequence of six frames."""
    folder, frame = tmp_path / "sequences" / "square", moving_square()
    (folder / "img").mkdir(parents=True)
    for i in range(6):
        cv2.imwrite(str(folder / "img" / f"{i + 1:06d}.png"), frame(i))
    write_truth(folder / "groundtruth.txt", np.array([(20 + 2 * i, 40, 24, 24) for i in range(6)]))
    return folder.parent


@pytest.mark.parametrize("engine", ["openvino-int8", "onnx-int8"])
def test_the_auc_that_is_kept_is_that_of_the_engine_that_auto_takes(
    tmp_path: Path,
    made: tuple[Path, Int8Report, Path],
    sequences: Path,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if engine == "onnx-int8":
        monkeypatch.setattr("mixformerv2.runtime.choice.find_spec", lambda name: None)
    found: dict[str, float] = {}

    def watched(spec: TrackerSpec, root: Path, **more: Any) -> Report:
        report = evaluate(spec, root, **more)
        found[spec.engine] = report.mean.auc
        return report

    monkeypatch.setattr("mixformerv2.evaluation.run.evaluate", watched)
    folder = Path(shutil.copytree(made[0], tmp_path / "copy"))
    before = read_config(folder).graphs
    export_command._measure(folder, sequences)
    assert list(found) == ["onnx", engine]
    assert f"{engine} {found[engine]:.4f}" in capsys.readouterr().out
    loss = found["onnx"] - found[engine]
    after = read_config(folder).graphs
    assert {name: info.auc_loss for name, info in after.items()} == {
        name: loss if name in INT8_NAMES else None for name in before
    }
    for name, info in before.items():  # and nothing else changed
        assert replace(after[name], auc_loss=info.auc_loss) == info


def test_the_command(
    small_bundle: Path, tmp_path: Path, made: tuple[Path, Int8Report, Path], sequences: Path
) -> None:
    import typer

    app = typer.Typer()
    app.command()(export_command.run)
    folder = Path(shutil.copytree(small_bundle, tmp_path / "copy"))
    call = [str(folder), str(folder), "--int8", "--calibrate", str(made[2]), "--crops", "8"]
    call += ["--sequences", str(sequences)]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0
    assert "AUC over 1 sequences: onnx 0." in done.output
    assert "attention 0 alone" in done.output
    assert "search.int8.onnx" in done.output
    for words, why in (
        (["--calibrate", "x"], "belong to --int8"),
        (["--keep-after", "1"], "--keep-after belongs to --keep-tokens"),
        (["--exit-after", "1"], "--exit-after belongs to --exit-score"),
        (["--int8", "--sequences", str(tmp_path / "none")], "none is not a folder"),
    ):
        refused = CliRunner().invoke(app, [str(folder), str(tmp_path / "new"), *words])
        assert why in str(refused.exception)
        assert not (tmp_path / "new").exists()


def test_the_folder_is_measured_and_not_the_shipped_model_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    def measured(spec: TrackerSpec, sequences: Path, **more: Any) -> SimpleNamespace:
        seen.append(spec.what)
        return SimpleNamespace(mean=SimpleNamespace(auc=0.5, sequences=1))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mixformerv2.evaluation.run.evaluate", measured)
    monkeypatch.setattr("mixformerv2.export.quantize.record_auc", lambda folder, loss: None)
    export_command._measure(Path("t"), tmp_path)
    assert seen == [str(tmp_path / "t")] * 2
