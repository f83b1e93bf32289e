"""Samples as tensors: the same parts as OpenCV draws, the same statistics, decided by a number."""

from __future__ import annotations

import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from mixformerv2.data.augment import Look
from mixformerv2.data.bank import Bank
from mixformerv2.data.change import turn
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.data.tensors import TensorGenerator, warp
from mixformerv2.data.tensors.layers import _turned
from mixformerv2.data.tensors.look import develop
from mixformerv2.data.tensors.tables import Chance, Looks, Poses
from mixformerv2.data.warp import Pose, bounds, box_outline, place, render
from mixformerv2.errors import DataError

MIXED = SyntheticConfig(composites=0.6, stills=0.2, pairs=0.2, clips=0.0)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads that wait for each other make small tensors slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def generator(bank: Bank) -> TensorGenerator:
    return TensorGenerator(bank, MIXED, seed=1)


def test_batches_have_the_shapes_and_ranges_promised(generator):
    batch = generator.batch(0, 24)
    assert {name: tuple(v.shape[1:]) for name, v in batch.items()} == {
        "template": (64, 64, 3), "online": (64, 64, 3), "search": (128, 128, 3), "box": (4,),
        "present": (), "weight": (),
    }  # fmt: skip
    assert {batch[name].dtype for name in ("template", "online", "search")} == {torch.uint8}
    assert batch["present"].dtype == torch.bool
    box = batch["box"][batch["present"]]
    assert ((box >= 0) & (box <= 1)).all()
    assert (box[:, 2:] > box[:, :2]).all()


def test_a_batch_is_a_function_of_seed_and_number(bank, generator):
    again = TensorGenerator(bank, MIXED, seed=1)
    again.batch(3, 6)  # what was made before does not matter
    a, b = generator.batch(7, 6), again.batch(7, 6)
    for name, values in a.items():
        assert torch.equal(values, b[name]), name
    other = TensorGenerator(bank, MIXED, seed=2).batch(7, 6)
    assert not torch.equal(a["search"], other["search"])
    assert not torch.equal(a["search"], generator.batch(8, 6)["search"])


def test_batches_go_on_in_steps(generator):
    stream = generator.batches(4, start=1, step=2)
    for number in (1, 3):
        assert torch.equal(next(stream)["search"], generator.batch(number, 4)["search"])


def _statistics(batch: dict[str, np.ndarray]) -> dict[str, float]:
    shown = batch["present"].astype(bool)
    box = batch["box"][shown].astype(np.float64)
    span, centre = box[:, 2:] - box[:, :2], 0.5 * (box[:, 2:] + box[:, :2])
    size = np.sqrt(span.prod(1))
    found = {
        "present": shown.mean(), "size": size.mean(), "spread of size": size.std(),
        "aspect": np.log(span[:, 0] / span[:, 1]).mean(), "x": centre[:, 0].mean(),
        "y": centre[:, 1].mean(), "spread of x": centre[:, 0].std(),
        "spread of y": centre[:, 1].std(),
    }  # fmt: skip
    for name in ("template", "online", "search"):
        view = batch[name].astype(np.float32)
        found[f"{name} light"] = view.mean() / 255
        found[f"{name} contrast"] = view.std((1, 2, 3)).mean() / 255
        found[f"{name} black"] = (view.max(3) < 8).mean()
        found[f"{name} grey"] = (np.ptp(view, axis=3).mean((1, 2)) < 2).mean()
    return {name: float(value) for name, value in found.items()}


# Three standard errors of the difference of two means over 150 samples each.
TOLERANCE = {
    "present": 0.125, "size": 0.029, "aspect": 0.21, "x": 0.06, "y": 0.06, "grey": 0.125,
    "light": 0.07, "contrast": 0.03, "black": 0.10, "spread": 0.03,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["composites", "stills", "pairs"])
def test_both_back_ends_have_the_same_statistics(bank, kind):
    shares = {name: float(name == kind) for name in ("composites", "stills", "pairs", "clips")}
    config = SyntheticConfig(**shares)
    tensors = TensorGenerator(bank, config, seed=3).batch(0, 150)
    ours = _statistics({name: values.numpy() for name, values in tensors.items()})
    theirs = _statistics(SampleGenerator(bank, config, seed=3).batch(0, 150))
    apart = {}
    for name, value in ours.items():
        words = name.split()
        limit = TOLERANCE[words[0] if words[0] in TOLERANCE else words[-1]]
        if abs(value - theirs[name]) > limit:
            apart[name] = (value, theirs[name])
    assert not apart


def test_absent_and_grey_are_shares_that_can_be_asked_for(bank):
    config = SyntheticConfig(absent=1.0, grey=1.0, ramp=10_000)
    batch = TensorGenerator(bank, config, seed=0).batch(0, 24)
    assert not batch["present"].any()
    spread = batch["search"].amax(3).int() - batch["search"].amin(3).int()
    assert spread.flatten(1).float().median(1).values.median() == 0  # noise has colours
    none = TensorGenerator(bank, SyntheticConfig(absent=0.0), seed=0).batch(0, 48)
    assert none["present"].float().mean() > 0.9


def _poses(pose: Pose) -> Poses:
    one = np.ones(1)
    return Poses(
        one * pose.angle, one * pose.aspect, one * pose.shear, np.array([pose.tilt]),
        np.array([pose.flip]), one * 0.0,
    )  # fmt: skip


POSE = Pose(angle=0.3, aspect=0.2, shear=0.1, tilt=(0.1, -0.05), flip=True)


def test_maps_and_crops_are_those_of_opencv():
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (8, 10, 3), dtype=np.uint8), (120, 96))
    outline = box_outline(20.0, 30.0, 50.0, 40.0)
    matrix = place(outline, POSE, 40.0, (70.0, 60.0))
    points = torch.from_numpy(outline)[None]
    ours = warp.place(
        points, torch.from_numpy(_poses(POSE).matrix()).float(), torch.tensor([40.0]),
        torch.tensor([[70.0, 60.0]]),
    )  # fmt: skip
    np.testing.assert_allclose(
        warp.bounds(warp.Warp(ours, 128).moved(points))[0], bounds(_landed(matrix, outline)),
        atol=0.01,
    )  # fmt: skip
    texture = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float()
    crop = warp.sample(texture, warp.Warp(ours, 128).source(), torch.tensor([[120.0, 96.0]]))
    expected = render(picture, matrix, 128).astype(np.float32)
    # OpenCV places samples on a raster of 1/32 pixel.
    difference = np.abs(crop[0].permute(1, 2, 0).numpy() - expected)
    assert difference.mean() < 1.0
    assert np.percentile(difference, 98) < 6.0


def _landed(matrix: np.ndarray, outline: np.ndarray) -> np.ndarray:
    raised = outline @ matrix[:, :2].T + matrix[:, 2]
    return raised[:, :2] / raised[:, 2:]


def test_a_bend_moves_outlines_with_the_pixels():
    texture = torch.zeros(1, 1, 128, 128)
    texture[:, :, 44:84, 54:74] = 255.0
    matrix = torch.eye(3)[None]
    nodes = 4.0 * torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    bent = warp.Warp(matrix, 128, nodes, torch.tensor([40.0]), torch.tensor([[64.0, 64.0]]))
    extent = torch.tensor([[128.0, 128.0]])
    crop = warp.sample(texture, bent.source(), extent)[:, 0] / 255
    edge = torch.linspace(0, 1, 41)[:, None]
    sides = [(54 + 20 * edge, 44 + 0 * edge), (54 + 20 * edge, 84 + 0 * edge),
             (54 + 0 * edge, 44 + 40 * edge), (74 + 0 * edge, 44 + 40 * edge)]  # fmt: skip
    outline = torch.cat([torch.cat(side, 1) for side in sides])[None]
    drawn = warp.bounds(warp.tile_outline(crop, extent))
    torch.testing.assert_close(warp.bounds(bent.moved(outline)), drawn, atol=1.2, rtol=0)
    assert (drawn - torch.tensor([[54.0, 44, 74, 84]])).abs().max() > 1.5  # it does bend


@pytest.mark.parametrize(("box", "extent"), [((4, 6, 20, 9), (32, 32)), ((0, 0, 32, 32), (64, 16))])
def test_an_outline_bounds_what_is_opaque(box, extent):
    x, y, w, h = box
    alpha = torch.zeros(1, 32, 32)
    alpha[:, y : y + h, x : x + w] = 1.0
    found = warp.bounds(warp.tile_outline(alpha, torch.tensor([extent], dtype=torch.float32)))
    scale = np.tile(np.array(extent) / 32, 2)
    np.testing.assert_allclose(found[0], np.array([x, y, x + w, y + h]) * scale, atol=1e-4)


def _looks(look: Look) -> Looks:
    one = np.ones(1)
    names = ("gain", "offset", "gamma", "saturation", "detail", "softness", "noise", "quality")
    return Looks(
        tint=np.array([look.tint]), grey=np.array([look.grey]),
        **{name: one * getattr(look, name) for name in names},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("look", "limit"),
    [
        (Look(), 0.6),
        (Look(gain=1.3, offset=0.05, gamma=0.8, tint=(1.1, 0.9, 1.0)), 1.0),
        (Look(saturation=0.4), 1.0),
        (Look(grey=True, gain=0.7), 1.0),
        (Look(softness=1.2), 1.0),
        (Look(detail=0.4), 3.0),  # a smaller picture against a Gaussian of the same spread
        (Look(quality=30), 3.0),
    ],
)
def test_looks_are_those_of_opencv(look, limit):
    rng = np.random.default_rng(1)
    small = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
    picture = cv2.resize(small, (128, 128), interpolation=cv2.INTER_CUBIC)
    expected = look.apply(rng, picture).astype(np.float32)
    images = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float()
    ours = develop(images, _looks(look), torch.Generator())[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - expected).mean() < limit
    if look != Look():
        assert np.abs(expected - picture).mean() > limit  # so that doing nothing would fail


def test_noise_has_the_strength_asked_for():
    flat = torch.full((1, 3, 128, 128), 127.0)
    noisy = develop(flat, _looks(Look(noise=8.0)), torch.Generator().manual_seed(0))
    assert float((noisy - 127.5).std()) == pytest.approx(8.0, rel=0.05)


@pytest.mark.parametrize("upright", [True, False])
def test_a_turn_is_that_of_opencv(bank, upright):
    cutout = bank.cutout(bank.stills[0])
    bgra = cv2.resize(cutout.bgra, (48, 48), interpolation=cv2.INTER_AREA)
    expected = turn(type(cutout)(bgra, cutout.outline, ""), 0.6, upright=upright).bgra
    tile = torch.from_numpy(bgra.transpose(2, 0, 1).copy())[None].float()
    ours = _turned(tile, np.array([0.6]), np.array([upright]))[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - expected).mean() < 4.0  # nearest columns against bilinear ones
    assert np.abs(bgra.astype(float) - expected).mean() > 8.0


def test_hardness_scales_chances_and_poses():
    rng = np.random.default_rng(0)
    easy, hard = (Chance(rng, np.full(4000, value)) for value in (0.25, 1.0))
    assert easy.hard(0.8).mean() == pytest.approx(0.2, abs=0.03)
    assert hard.hard(0.8).mean() == pytest.approx(0.8, abs=0.03)
    angles = Poses.draw(hard, 1.0).angle
    expected = [Pose.draw(rng, 1.0).angle for _ in range(4000)]
    assert np.std(angles) == pytest.approx(np.std(expected), rel=0.1)
    assert math.isclose(Poses.draw(hard, 0.0).angle.max(), 0.0)


def test_mixtures_that_cannot_be_drawn_are_refused(bank_folder):
    bank = Bank(bank_folder, hold_out=("kept", "train"))
    with pytest.raises(DataError, match="holds no video"):
        TensorGenerator(bank, SyntheticConfig())
    with pytest.raises(DataError, match="no folder of clips was given"):
        TensorGenerator(bank, SyntheticConfig(composites=0, stills=0, pairs=0, clips=1))


def test_nothing_beside_torch_numpy_and_opencv_is_imported():
    """The machine with the GPU may have neither PyAV nor ONNX."""
    code = (
        "import sys; from mixformerv2.data.tensors import TensorGenerator; "
        "print([m for m in ('av', 'onnx', 'onnxruntime', 'openvino', 'lightning', 'lmdb') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_inverses_are_those_of_linear_algebra():
    matrix = torch.randn(64, 3, 3, generator=torch.Generator().manual_seed(1)) + 3 * torch.eye(3)
    good = torch.linalg.det(matrix).abs() > 0.5
    product = warp.inverted(matrix[good]) @ matrix[good]
    assert torch.allclose(product, torch.eye(3).expand_as(product), atol=1e-4)
