"""Every augmentation has a setting that switches it off, and one that is seen."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from mixformerv2.data.augment import AugmentConfig, Look, cut_out, motion_kernel
from mixformerv2.data.draft import Recipe
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.data.tensors import TensorGenerator
from mixformerv2.data.warp import Pose
from mixformerv2.errors import ConfigError

NAMES = [one.name for one in fields(AugmentConfig)]
OFF = AugmentConfig(**dict.fromkeys(NAMES, 0.0))
COMPOSITES = SyntheticConfig(stills=0, pairs=0, clips=0, absent=0.0, grey=0.0, augment=OFF)


@pytest.fixture(scope="module")
def tensors(bank) -> TensorGenerator:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield TensorGenerator(bank, COMPOSITES, seed=3)
    torch.set_num_threads(before)


def test_all_off_leaves_targets_as_they_are():
    rng = np.random.default_rng(0)
    recipe = Recipe(64, 128, 2.0, 4.0, augment=OFF)
    for _ in range(20):
        assert Pose.draw(rng, 1.0, augment=OFF) == Pose()
        assert Look.draw(rng, 0.0, 1.0, OFF).vary(rng, 1.0, OFF) == Look()
        search = recipe.layouts(rng).search
        assert (search.size, search.centre) == (32.0, (64.0, 64.0))


@pytest.mark.parametrize("name", NAMES)
def test_each_one_is_seen_when_it_alone_is_on(bank, name):
    strong = replace(COMPOSITES, augment=replace(OFF, **{name: 3.0}))
    off, on = (SampleGenerator(bank, config, seed=3) for config in (COMPOSITES, strong))
    pairs = [(off.sample(i), on.sample(i)) for i in range(8)]
    assert any(
        not np.array_equal(getattr(a, view), getattr(b, view))
        for a, b in pairs
        for view in ("template", "online", "search")
    )


@pytest.fixture(scope="module")
def off(tensors) -> dict[str, torch.Tensor]:
    return tensors.batch(0, 8)


@pytest.mark.parametrize("name", NAMES)
def test_each_one_is_seen_in_tensors(tensors, off, name, monkeypatch):
    config = replace(COMPOSITES, augment=replace(OFF, **{name: 3.0}))
    monkeypatch.setattr(tensors, "config", config)
    on = tensors.batch(0, 8)
    assert any(not torch.equal(off[view], on[view]) for view in ("template", "online", "search"))


def test_tensors_all_off_are_centred_at_the_size_asked_for(tensors):
    batch = tensors.batch(1, 24)
    box = batch["box"]
    centre, span = 0.5 * (box[:, :2] + box[:, 2:]), box[:, 2:] - box[:, :2]
    off = (centre - 0.5).abs().amax(1) + (span.prod(1).sqrt() - 0.25).abs()
    # Some stand at the border of their frame, which cuts their box.
    assert (off < 0.01).float().mean() > 0.7


def test_a_cut_out_covers_a_part_of_the_box_alone():
    image = np.zeros((64, 64, 3), np.uint8)
    cut_out(np.random.default_rng(0), image, np.array([10.0, 20.0, 50.0, 40.0]))
    y, x = np.nonzero(image.any(axis=2))
    assert 10 <= x.min() < x.max() < 50
    assert 20 <= y.min() < y.max() < 40
    assert 0.05 < image.any(axis=2).sum() / (40 * 20) < 0.5


@pytest.mark.parametrize("value", [-0.1, 11.0])
def test_a_strength_out_of_range_is_refused(value):
    with pytest.raises(ConfigError, match=r"augment.noise is a strength in 0..10"):
        AugmentConfig(noise=value)


@pytest.mark.parametrize("angle", range(0, 180, 15))
def test_motion_blur_moves_nothing(angle: int) -> None:
    """Else the box of what it blurs would be off."""
    for length in range(3, 24):
        kernel = motion_kernel(length, angle)
        y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
        assert kernel.sum() == pytest.approx(1.0)
        np.testing.assert_allclose([(kernel * x).sum(), (kernel * y).sum()], 0.0, atol=1e-5)
