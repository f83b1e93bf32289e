"""Samples: shapes, ranges, the promise that an index decides everything, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from mixformerv2.data.bank import Bank
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.errors import ConfigError, DataError

ONLY = {
    "composites": SyntheticConfig(composites=1, stills=0, pairs=0, clips=0),
    "stills": SyntheticConfig(composites=0, stills=1, pairs=0, clips=0),
    "pairs": SyntheticConfig(composites=0, stills=0, pairs=1, clips=0),
}


@pytest.mark.parametrize("name", ONLY)
def test_samples_have_the_shapes_and_ranges_promised(bank, name):
    generator = SampleGenerator(bank, ONLY[name], seed=1)
    for index in range(60):
        sample = generator.sample(index)
        assert sample.template.shape == sample.online.shape == (64, 64, 3)
        assert sample.search.shape == (128, 128, 3)
        assert {sample.template.dtype, sample.online.dtype, sample.search.dtype} == {np.dtype("u1")}
        assert sample.box.dtype == np.float32
        assert (sample.box >= 0).all()
        assert (sample.box <= 1).all()
        if sample.present:
            assert (sample.box[2:] > sample.box[:2]).all()


def test_a_sample_is_a_function_of_seed_and_index(bank_folder):
    first = SampleGenerator(bank_folder, seed=4)
    for index in (11, 3):
        first.sample(index)  # what was drawn before does not matter
    again = SampleGenerator(bank_folder, seed=4)
    for index in range(12):
        a, b = first.sample(index), again.sample(index)
        np.testing.assert_array_equal(a.search, b.search)
        np.testing.assert_array_equal(a.template, b.template)
        np.testing.assert_array_equal(a.online, b.online)
        np.testing.assert_array_equal(a.box, b.box)
    other = SampleGenerator(bank_folder, seed=5).sample(3)
    assert not np.array_equal(other.search, again.sample(3).search)


def test_workers_share_the_batches_out(bank):
    generator = SampleGenerator(bank, seed=2)
    alone = generator.batches(3)
    together = [generator.batches(3, start=k, step=2) for k in range(2)]
    for number in range(4):
        a, b = next(alone), next(together[number % 2])
        assert set(a) == {"template", "online", "search", "box", "present", "weight"}
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_share_of_absent_samples_is_as_asked(bank):
    none = SampleGenerator(bank, SyntheticConfig(absent=0.0), seed=0)
    assert np.mean([none.sample(i).present for i in range(60)]) > 0.95
    half = SampleGenerator(bank, SyntheticConfig(absent=0.5), seed=0)
    assert 0.3 < np.mean([half.sample(i).present for i in range(100)]) < 0.7


def test_grey_is_grey_in_all_three_views(bank):
    generator = SampleGenerator(bank, SyntheticConfig(grey=1.0), seed=0)
    for index in range(20):
        sample = generator.sample(index)
        for view in (sample.template, sample.online, sample.search):
            spread = view.max(axis=2).astype(int) - view.min(axis=2)
            # noise comes after the colours are gone, and JPEG rounds its own way
            assert np.median(spread) <= 40
    quiet = [generator.sample(i).search for i in range(40)]
    assert sum(np.ptp(view.astype(int), axis=2).max() == 0 for view in quiet) > 20


def test_hardness_grows_along_the_ramp():
    config = SyntheticConfig(ramp=100)
    hardness = [config.recipe(index).hardness for index in (0, 50, 100, 1000)]
    np.testing.assert_allclose(hardness, [0.3, 0.65, 1.0, 1.0])
    assert config.recipe(None).hardness == SyntheticConfig().recipe(0).hardness == 1.0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"template_size": 8}, "template_size must be at least 16, got 8"),
        ({"search_factor": 0.5}, r"search_factor must lie in 1\.\.12, got 0\.5"),
        ({"absent": 1.5}, r"absent is a share in 0\.\.1, got 1\.5"),
        ({"ramp": -1}, "ramp is a number of samples from 0 on, got -1"),
        ({"stills": -1.0}, "none may be negative"),
        ({"composites": 0, "stills": 0, "pairs": 0, "clips": 0}, "one must be above zero"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SyntheticConfig(**settings)


def test_pairs_need_videos(bank_folder):
    with pytest.raises(DataError, match="holds no video"):
        SampleGenerator(Bank(bank_folder, hold_out=("kept", "train")))


def test_nothing_to_make_samples_of_is_said_with_the_ways_out():
    """As with the settings for one's own videos, where these were forgotten."""
    alone = SyntheticConfig(composites=0, stills=0, pairs=0)
    with pytest.raises(
        DataError, match=r"nothing to make samples of: .*\(data\.sets, data\.labelled\)"
    ):
        SampleGenerator("no bank", alone)
