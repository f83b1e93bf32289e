"""Boxes of made-up views against the pixels of the target itself."""

from __future__ import annotations

import numpy as np
import pytest

from mixformerv2.data.change import camouflage, patch, turn
from mixformerv2.data.compose import composite
from mixformerv2.data.cutouts import draw_cutout, draw_layer, paste
from mixformerv2.data.draft import Layout, Recipe, visible_share
from mixformerv2.data.pairs import Shot, still, video_pair
from mixformerv2.data.warp import Pose

RECIPE = Recipe(64, 128, 2.0, 4.0)


def tight(seen: np.ndarray) -> list[int]:
    y, x = np.nonzero(seen)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


@pytest.mark.parametrize("seed", range(15))
def test_box_of_a_cutout_is_where_it_is_opaque(bank, seed):
    rng = np.random.default_rng(seed)
    cutout = draw_cutout(bank, rng)
    layer, landed = draw_layer(cutout, rng, Pose.draw(rng, 1.0), 50.0, (64.0, 64.0), 128)
    box = np.concatenate([landed.min(0), landed.max(0)])
    # Thin tips fall below half opaque when shrunk, and bent outlines are looked up by pixel.
    np.testing.assert_allclose(box, tight(layer[..., 3] > 100), atol=2.5)


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_box_of_a_shot_is_where_its_mask_is(bank, strength):
    for number in bank.stills:
        rng = np.random.default_rng(number)
        mask = bank.segment_mask(bank.segments[number]) * np.uint8(255)
        shot = Shot(np.dstack([mask] * 3), bank.segment_outline(number))
        pose = Pose.draw(rng, strength, 0.07)
        view = shot.view(rng, pose, Layout(32.0, (64.0, 64.0), 128), None)
        np.testing.assert_allclose(view.box, tight(view.image[..., 0] > 127), atol=2.0)


def test_outside_the_frame_is_black_or_the_surroundings(bank):
    picture = np.full((40, 40, 3), 255, np.uint8)
    outline = np.array([[5, 5], [35, 35]], np.float32)
    layout = Layout(32.0, (64.0, 64.0), 128)
    for around in (None, np.full((128, 128, 3), 77, np.uint8)):
        view = Shot(picture, outline).view(np.random.default_rng(0), Pose(), layout, around)
        ground = 0 if around is None else 77
        assert (view.image[:40] == ground).all()
        assert (view.image[64, 64] == 255).all()
        assert view.window == pytest.approx((42.67, 42.67, 85.33, 85.33), abs=0.01)


@pytest.mark.parametrize("maker", [composite, still, video_pair])
def test_absent_samples_say_so(bank, maker):
    rng = np.random.default_rng(0)
    assert not maker(bank, RECIPE, rng, True).present
    assert maker(bank, RECIPE, rng, False).present


def test_visible_share_of_a_box():
    box = np.array([-10.0, 0.0, 10.0, 20.0])
    assert visible_share(box, (0, 0, 128, 128)) == pytest.approx(0.5)
    assert visible_share(box, (50, 50, 128, 128)) == 0.0


def test_templates_are_exact_and_searches_spread():
    rng = np.random.default_rng(0)
    layouts = [RECIPE.layouts(rng) for _ in range(400)]
    assert {layout.template() for layout in layouts} == {Layout(32.0, (32.0, 32.0), 64)}
    sizes = np.array([layout.search.size for layout in layouts]) / 128
    places = np.array([layout.search.centre for layout in layouts]) / 128
    assert np.median(sizes) == pytest.approx(0.25, abs=0.02)
    assert 0.05 < np.std(np.log(sizes / 0.25)) < 0.5
    assert places.min() >= 0.03
    assert places.max() <= 0.97
    assert np.median(np.abs(places - 0.5)) < 0.2


def test_paste_blends_by_alpha():
    canvas = np.full((4, 4, 3), 100, np.uint8)
    layer = np.zeros((4, 4, 4), np.uint8)
    layer[1, 1] = (200, 0, 50, 255)
    layer[2, 2] = (200, 200, 200, 128)
    paste(canvas, layer)
    assert canvas[1, 1].tolist() == [200, 0, 50]
    assert canvas[2, 2].tolist() == [150, 150, 150]
    assert (canvas[0] == 100).all()
    paste(canvas, np.zeros((4, 4, 4), np.uint8))
    assert canvas[1, 1].tolist() == [200, 0, 50]


@pytest.mark.parametrize("upright", [True, False])
def test_turning_moves_what_is_seen_and_keeps_the_box_tight(bank, upright):
    cutout = bank.cutout(bank.stills[1])  # a rectangle
    still = turn(cutout, 0.0, upright=upright)
    np.testing.assert_array_equal(still.bgra[3:-3, 3:-3], cutout.bgra[3:-3, 3:-3])
    turned = turn(cutout, 0.7, upright=upright)
    assert np.abs(turned.bgra[..., :3].astype(int) - cutout.bgra[..., :3]).mean() > 5
    box = np.concatenate([turned.outline.min(0), turned.outline.max(0)])
    np.testing.assert_allclose(box, tight(turned.bgra[..., 3] > 127), atol=0.01)


def test_a_patch_changes_colours_but_not_the_shape(bank):
    cutout = bank.cutout(bank.stills[0])
    found = [patch(bank, np.random.default_rng(seed), cutout) for seed in range(8)]
    assert all((p.bgra[..., 3] == cutout.bgra[..., 3]).all() for p in found)
    assert max(np.abs(p.bgra.astype(int) - cutout.bgra).max() for p in found) > 30


def test_camouflage_takes_the_mean_of_the_ground(bank):
    cutout = bank.cutout(bank.stills[0])
    ground = np.full((20, 20, 3), 128, np.uint8)
    opaque = cutout.bgra[..., 3] > 127
    hidden = camouflage(cutout, ground, 1.0).bgra[opaque][:, :3].mean(0)
    assert np.abs(hidden - 128).max() < np.abs(cutout.bgra[opaque][:, :3].mean(0) - 128).max() / 2
