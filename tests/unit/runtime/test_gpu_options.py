"""What a GPU would run, tried on the CPU: crops on the device, bf16, compiled, ONNX providers."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixformerv2.errors import EngineError
from mixformerv2.runtime import choice, load_engine
from mixformerv2.runtime.choice import choose, onnx_gpu, visible_gpus
from mixformerv2.runtime.onnx import providers_for
from mixformerv2.runtime.select import ENGINES, name_of
from mixformerv2.runtime.torch_crop import take_crops
from mixformerv2.tracking import MultiTracker, Tracker
from mixformerv2.tracking.crop import Crop
from mixformerv2.weights.bundle import read_config
from tests.doubles import moving_square

FRAME = np.random.default_rng(6).integers(0, 256, (90, 130, 3), np.uint8)
BOXES = [(20, 40, 24, 24), (100, 20, 30, 40), (60, 60, 40, 30)]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(-150, 160), st.integers(-150, 120), st.integers(1, 300)),
                min_size=1, max_size=3), st.sampled_from(["bgr", "rgb"]))  # fmt: skip
def test_crops_on_the_device_are_those_of_opencv(
    squares: list[tuple[int, int, int]], channels: str
) -> None:
    crops = [Crop(left, top, side, 32, (0.0, 0.0)) for left, top, side in squares]
    got = take_crops(torch.from_numpy(FRAME), crops, channels).numpy()
    expected = np.stack([crop.take(FRAME, channels) for crop in crops])  # type: ignore[arg-type]
    # OpenCV sums in another order in some of its vector code: one grey level, seldom; more often
    # where a crop of two pixels is made many times as large, and most values lie between two.
    apart = np.abs(got.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.15


@pytest.mark.parametrize(
    ("engine", "pixels"), [("torch-crops", 0.05), ("torch-bf16", 2.0), ("torch-compiled", 1e-3)]
)
def test_options_follow_the_plain_engine(
    small_bundle: Path, engine: str, pixels: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled by Dynamo without a code generator: what that makes is PyTorch's own business."""
    compiler, compile_ = [], torch.compile

    def compile_without(graph: torch.nn.Module, *, mode: str, dynamic: bool) -> object:
        compiler.append((mode, dynamic))
        return compile_(graph, backend="eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", compile_without)
    one = Tracker(small_bundle, engine, 1)
    plain = Tracker(small_bundle, "torch", 1)
    frames = [moving_square()(number) for number in range(4)]
    one.init(frames[0], BOXES[0])
    plain.init(frames[0], BOXES[0])
    for frame in frames[1:]:
        expected = plain.update(frame)
        result, _ = one.step(frame, one.state)  # type: ignore[arg-type]
        np.testing.assert_allclose(result.box, expected.box, atol=pixels)
        one.load_state(plain.save_state())
    assert compiler == ([("default", False)] if engine == "torch-compiled" else [])


def test_a_score_module_runs_beside_a_backbone_in_bf16(mixvit_bundle: Path) -> None:
    half, plain = (Tracker(mixvit_bundle, engine, 1) for engine in ("torch-bf16", "torch"))
    plain.init(FRAME, BOXES[0])
    half.load_state(plain.save_state())
    for _ in range(2):
        expected = plain.update(FRAME)
        result, _ = half.step(FRAME, half.state)  # type: ignore[arg-type]
        np.testing.assert_allclose(result.box, expected.box, atol=2.0)
        assert result.score == pytest.approx(expected.score, abs=0.05)
        half.load_state(plain.save_state())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, when Inductor is loaded
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_the_step_that_inductor_compiles_is_the_plain_one(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real code generator, for the processor: most of the time is the C++ compiler's."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()  # what the tests above compiled without it
    one = Tracker(small_bundle, "torch-compiled", 1)
    plain = Tracker(small_bundle, "torch", 1)
    frames = [moving_square()(number) for number in range(4)]
    plain.init(frames[0], BOXES[0])
    for frame in frames[1:]:
        one.load_state(plain.save_state())
        np.testing.assert_allclose(one.update(frame).box, plain.update(frame).box, atol=1e-3)
    assert list(tmp_path.rglob("*.so"))  # it was compiled, and not run as it stands


def test_what_pytorch_raises_is_an_error_of_an_engine(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that is missing and memory that is full end the command in a sentence, with 7."""

    def no_compiler(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found")

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda graph, **_: compile_(graph, backend=no_compiler, dynamic=False)
    )
    engine = load_engine(small_bundle, "torch-compiled", 1)[0]
    memory = engine.encode_templates(np.zeros((1, 2, 32, 32, 3), np.uint8))
    search = np.zeros((1, 64, 64, 3), np.uint8)
    with pytest.raises(EngineError, match=r"No working C\+\+ compiler .*without `-compiled`"):
        engine.step(search, memory)
    monkeypatch.setattr(engine, "_search", full)
    with pytest.raises(EngineError, match=r"not enough memory left .*20 GiB.*fewer targets"):
        engine.step(search, memory)
    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(EngineError, match="not enough memory left"):
        load_engine(small_bundle, "torch", 1)


def test_crops_on_the_device_batch_like_any(small_bundle: Path) -> None:
    tracker = Tracker(small_bundle, "torch-crops", 1)
    multi, frame = MultiTracker.around(tracker), moving_square()(0)
    states = {multi.add(frame, box): tracker.start(frame, box)[1] for box in BOXES}
    still = moving_square()(1)
    still.flags.writeable = False  # as some decoders give it
    for number, result in multi.update(still).items():
        alone, _ = tracker.step(still, states[number])
        np.testing.assert_allclose(result.box, alone.box, atol=1e-3)


def test_an_engine_says_its_options_and_is_found_by_its_name(small_bundle: Path) -> None:
    for name in ("torch", "torch-bf16", "torch-crops", "torch-bf16-crops", "onnx"):
        info = load_engine(small_bundle, name, 1)[0].info
        assert info.precision == ("bf16" if "bf16" in name else "fp32")
        assert name_of(info) == name
    assert "torch-bf16-compiled-crops" in ENGINES


CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("cpu", [CPU], [CPU]),
        ("cpu", [TENSORRT, CUDA, CPU], [CPU]),
        ("cuda", [TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ("cuda", ["AzureExecutionProvider", CUDA, CPU], [CUDA, CPU]),
        ("tensorrt", [TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]),
        ("tensorrt", [TENSORRT, CPU], [TENSORRT, CPU]),
        ("cuda", [CPU], None),
        ("tensorrt", [CUDA, CPU], None),
    ],
)
def test_who_runs_onnx(device: str, available: list[str], expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(EngineError, match="pip install onnxruntime-gpu"):
            providers_for(device, available)
        return
    providers = providers_for(device, available)
    assert [name for name, _ in providers] == expected
    assert dict(providers).get(CUDA, {"use_tf32": "0"}) == {"use_tf32": "0"}


def test_a_gpu_that_does_not_start_is_said(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime itself takes the processor then, and only logs it."""
    import onnxruntime as ort

    class Session(ort.InferenceSession):  # type: ignore[misc]
        def __init__(self, path: Path, options: object, providers: object) -> None:
            super().__init__(path, options, providers=[CPU])

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", Session)
    with pytest.raises(EngineError, match="cannot start CUDAExecutionProvider"):
        load_engine(small_bundle, "onnx-cuda")
    monkeypatch.setattr(choice, "onnx_gpu", lambda: "a GPU is there")
    info = load_engine(small_bundle, "auto", 1)[0].info
    assert info.device == "cpu"
    assert info.reason.startswith("onnx-cuda cannot be used")


def test_auto_takes_a_gpu_that_onnx_runtime_was_built_for(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert onnx_gpu(str(tmp_path)) is None
    package = tmp_path / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})
    monkeypatch.setattr(choice, "find_spec", lambda name: spec)
    (tmp_path / "nvidia0").touch()
    assert onnx_gpu(str(tmp_path)) is None
    (package / "capi" / "libonnxruntime_providers_cuda.so").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "nvidia0" in str(onnx_gpu(str(tmp_path)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert onnx_gpu(str(tmp_path)) is None
    monkeypatch.undo()
    monkeypatch.setattr(choice, "onnx_gpu", partial(onnx_gpu, str(tmp_path)))
    assert choose(read_config(small_bundle)).engine != "onnx-cuda"  # this one is for CPUs
    monkeypatch.setattr(choice, "onnx_gpu", lambda: "it is there")
    taken = choose(read_config(small_bundle))
    assert (taken.engine, taken.reason) == ("onnx-cuda", "it is there")
    assert taken.fallback is not None


def test_gpus_as_cuda_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia2", "nvidia5", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(str(tmp_path)) == ["0", "1"]  # CUDA counts those that it finds
    for chosen, seen in {"": [], "-1": [], "1": ["1"], "GPU-5f, 0": ["GPU-5f", "0"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert visible_gpus(str(tmp_path)) == seen
