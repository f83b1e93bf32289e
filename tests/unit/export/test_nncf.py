"""int8 by NNCF: both engines run its pair of files, and it answers as the network does."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from mixformerv2.cli import export as export_command
from mixformerv2.errors import ConfigError, EngineError
from mixformerv2.export import Int8Report, by_nncf, export_bundle, export_int8
from mixformerv2.export.calibration import Crops, read_crops
from mixformerv2.export.quantize import LIMIT
from mixformerv2.runtime.select import load_engine
from mixformerv2.weights.bundle import INT8_NAMES, file_sha256, read_config
from tests.doubles import moving_square

COUNT = 16


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    frame = moving_square()
    for i in range(6):
        cv2.imwrite(str(folder / f"{i}.png"), frame(i))
    return folder


@pytest.fixture(scope="module")
def made(
    small_bundle: Path, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Int8Report]:
    """A bundle with NNCF's graphs, and its report."""
    folder = tmp_path_factory.mktemp("nncf") / "small"
    return folder, export_int8(small_bundle, folder, [video], COUNT, quantizer="nncf")


def crops(folder: Path, video: Path) -> Crops:
    return read_crops(read_config(folder).tracker, [video], COUNT)


def test_the_config_and_the_graphs_tell_what_they_are(made: tuple[Path, Int8Report]) -> None:
    folder, report = made
    config = read_config(folder)
    assert not report.groups
    for name in INT8_NAMES:
        info = config.graphs[name]
        assert (info.sha256, info.precision) == (file_sha256(folder / name), "int8")
        assert info.parity == pytest.approx(report.median / config.tracker.search_size)
        props = {one.key: one.value for one in onnx.load(folder / name).metadata_props}
        assert props["weights_sha256"] == config.weights_sha256


def test_weights_are_int8(made: tuple[Path, Int8Report]) -> None:
    graph = onnx.load(made[0] / "search.int8.onnx").graph
    kinds = [tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1]
    assert kinds.count(onnx.TensorProto.INT8) >= 8


@pytest.mark.parametrize("engine", ["onnx-int8", "openvino-int8"])
def test_engines_agree_with_float(made: tuple[Path, Int8Report], video: Path, engine: str) -> None:
    given = crops(made[0], video)
    full, rounded = (load_engine(made[0], name, 1)[0] for name in ("onnx", engine))
    outs = [
        one.step(given.search, one.encode_templates(given.templates)) for one in (full, rounded)
    ]
    apart = np.abs(outs[0].boxes - outs[1].boxes).max(1)
    assert 0 < np.median(apart) <= 2 * LIMIT
    assert np.median(np.abs(outs[0].scores - outs[1].scores)) < 0.05


def test_a_batch_is_its_members_with_any_number_of_templates(
    made: tuple[Path, Int8Report], video: Path
) -> None:
    given = crops(made[0], video)
    engine = load_engine(made[0], "onnx-int8", 1)[0]
    for templates in (given.templates[:3], given.templates[:3, [0, 1, 1]]):
        together = engine.step(given.search[:3], engine.encode_templates(templates))
        for i in range(3):
            alone = engine.step(
                given.search[i : i + 1], engine.encode_templates(templates[i : i + 1])
            )
            np.testing.assert_allclose(together.boxes[i], alone.boxes[0], atol=2e-3)


def test_the_command(small_bundle: Path, video: Path, tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(export_command.run)
    call = [str(small_bundle), str(tmp_path / "out"), "--int8", "--quantizer", "nncf"]
    call += ["--calibrate", str(video), "--crops", "8"]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0
    assert "95 % within" in done.output
    assert load_engine(tmp_path / "out", "onnx-int8")[0].info.precision == "int8"
    refused = CliRunner().invoke(app, [*call[:2], "--quantizer", "nncf"])
    assert "belong to --int8" in str(refused.exception)


def test_what_cannot_be_done_is_said(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="one of own, nncf, got 'ncnn'"):
        export_int8(small_bundle, tmp_path / "out", count=8, quantizer="ncnn")
    export_bundle(small_bundle, tmp_path / "early", early=(1, 0.5))
    with pytest.raises(EngineError, match="exit_score"):
        export_int8(tmp_path / "early", tmp_path / "out", count=8, quantizer="nncf")
    monkeypatch.setattr(by_nncf, "_IN_FLOAT", "no_such_node")
    with pytest.raises(EngineError, match="NNCF cannot make int8 of this network"):
        export_int8(small_bundle, tmp_path / "out", count=8, quantizer="nncf")
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(EngineError, match=r"mixformerv2\[nncf\]"):
        export_int8(small_bundle, tmp_path / "out", count=8, quantizer="nncf")
    assert not (tmp_path / "out").exists()
