"""Samples of labelled data sets: which frames, which boxes, decided by seed and index."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.data.sampling import SamplingConfig, SetConfig, SetSampler, causal, trident
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.errors import ConfigError, DataError

from . import layouts

ALONE = {"composites": 0.0, "stills": 0.0, "pairs": 0.0, "min_visible": 0.0}


def generator(*sets: SetConfig, seed: int = 0, **settings) -> SampleGenerator:
    config = SyntheticConfig(**{**ALONE, "absent": 0.0, "sets": sets, **settings})
    return SampleGenerator("no bank", config, seed=seed)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every layout, and one sequence of one's own."""
    root = tmp_path_factory.mktemp("sets")
    for name, make in layouts.MAKERS.items():
        make(root / name)
    boxes = layouts.boxes_of(6, absent=(3, 4))
    layouts.write_frames(root / "own" / "one" / "img", boxes, "{:06d}.jpg")
    layouts.put(root / "own" / "one" / "groundtruth.txt", layouts.rows(boxes))
    return {name: root / name for name in (*layouts.MAKERS, "own")}


@pytest.mark.parametrize("name", [*layouts.MAKERS, "own"])
def test_every_layout_gives_samples_whose_box_is_the_square(places, name):
    made = generator(SetConfig(places[name], name), sampling=SamplingConfig(centre_jitter=0.4))
    assert made.bank is None
    if name in ("vid", "davis"):  # others have objects that are not drawn
        made.sets.datasets = [made.sets.datasets[0][:1]]
    for index in range(6):
        draft = made.sets.draft(made.config.recipe(None), np.random.default_rng(index), False)
        assert draft.present
        x1, y1, x2, y2 = draft.box
        inner = draft.search[round(y1) + 2 : round(y2) - 2, round(x1) + 2 : round(x2) - 2]
        assert inner.mean() > 225  # the square is white, the ground is grey
        outer = draft.search[:, max(round(x1) - 6, 0) : max(round(x1) - 2, 0)]
        assert outer.size == 0 or outer.mean() < 130
        assert draft.template[28:36, 28:36].mean() > 225


def test_samples_are_what_training_takes(places):
    batch = generator(SetConfig(places["got10k"]), absent=0.5).batch(0, 40)
    assert batch["search"].shape == (40, 128, 128, 3)
    assert batch["box"].dtype == np.float32
    assert 0.3 < batch["present"].mean() < 0.7
    assert (batch["box"][batch["present"], 2:] > batch["box"][batch["present"], :2]).all()


def test_a_sample_is_a_function_of_seed_and_index(places):
    sets = (SetConfig(places["lasot"]), SetConfig(places["own"]))
    first, again = generator(*sets, seed=4), generator(*sets, seed=4)
    for index in (9, 2):
        first.sample(index)
    for index in range(10):
        a, b = first.sample(index), again.sample(index)
        np.testing.assert_array_equal(a.search, b.search)
        np.testing.assert_array_equal(a.box, b.box)
        assert a.source == b.source
    assert not np.array_equal(generator(*sets, seed=5).sample(2).search, again.sample(2).search)


def test_sets_are_drawn_from_by_ratio(places):
    made = generator(SetConfig(places["own"], ratio=1), SetConfig(places["coco"], ratio=3))
    found = [made.sample(index).source for index in range(200)]
    assert {source.split("/")[0] for source in found} == {"set:own", "set:coco"}
    assert 0.65 < np.mean([source.startswith("set:coco") for source in found]) < 0.85


def test_sets_mix_with_a_bank(places, bank):
    config = SyntheticConfig(sets=(SetConfig(places["own"]),), labelled=1.0)
    found = [SampleGenerator(bank, config, seed=1).sample(index).source for index in range(60)]
    assert {source.split(":")[0] for source in found} >= {"set", "composite", "still", "video"}
    assert 0.3 < np.mean([source.startswith("set") for source in found]) < 0.7
    none = SyntheticConfig(sets=(SetConfig(places["own"]),), labelled=0.0)
    assert not SampleGenerator(bank, none).sets


VISIBLE = np.array([0, 1, 2, 10, 11, 30, 90, 91, 92])


def test_causal_moments_go_forward_within_the_gap():
    rng = np.random.default_rng(0)
    found = [causal(rng, VISIBLE, 20) for _ in range(400)]
    for first, online, search in found:
        assert {first, online, search} <= set(VISIBLE.tolist())
        assert first <= online < search
        assert online - first <= 20
        assert search - online <= 20 or (online, search) == (30, 90)  # nothing else follows 30
    assert {online for _, online, _ in found} == set(VISIBLE[:-1].tolist())
    assert {search for _, _, search in found} == set(VISIBLE[1:].tolist())


def test_trident_moments_lie_anywhere_with_the_online_one_near_the_search():
    rng = np.random.default_rng(0)
    found = [trident(rng, VISIBLE, 20) for _ in range(400)]
    for first, online, search in found:
        assert abs(online - search) <= 20
        assert online == search or (online > search) == (first >= search)
    assert any(first > search for first, _, search in found)
    assert any(first < search for first, _, search in found)


def test_hidden_frames_are_shown_where_the_target_was_seen_last(places):
    """Frames 3 and 4 of the sequence are absent: the crop lies where frame 2 had its box."""
    sampling = SamplingConfig(mode="trident", hidden=1.0, centre_jitter=0.0, scale_jitter=0.0)
    made = generator(SetConfig(places["own"]), absent=1.0, sampling=sampling)
    for index in range(10):
        draft = made.sets.draft(made.config.recipe(None), np.random.default_rng(index), True)
        assert not draft.present
        assert draft.search.max() < 130  # no white square anywhere
    assert not made.batch(0, 10)["present"].any()


def test_jitter_is_as_wide_as_asked(places):
    def spread(**settings) -> tuple[np.ndarray, np.ndarray]:
        made = generator(SetConfig(places["coco"]), sampling=SamplingConfig(**settings))
        layouts_ = [
            made.sets._jittered(made.config.recipe(None), np.random.default_rng(i))
            for i in range(500)
        ]
        return np.array([one.size for one in layouts_]), np.array([one.centre for one in layouts_])

    size, centre = spread(centre_jitter=0.9, scale_jitter=0.5)
    assert np.abs(centre - 64).max() == pytest.approx(0.45 * 128, rel=0.02)
    assert np.log(size / 32).std() == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    size, centre = spread(centre_jitter=0.0, scale_jitter=0.0)
    assert np.ptp(size) == np.ptp(centre) == 0


def test_a_damaged_picture_is_left_out_and_told_of_once(places, tmp_path, caplog):
    boxes = layouts.boxes_of(4)
    paths = layouts.write_frames(tmp_path / "a" / "img", boxes, "{:06d}.jpg")
    layouts.put(tmp_path / "a" / "groundtruth.txt", layouts.rows(boxes))
    paths[1].write_bytes(b"nothing")
    made = generator(SetConfig(tmp_path))
    made.batch(0, 20)
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert str(paths[1]) in told[0]


def test_a_box_outside_its_picture_is_no_template(tmp_path, caplog):
    """Its crop is black, and a search that shows the target would be learnt from it."""
    boxes = layouts.boxes_of(6)
    layouts.write_frames(tmp_path / "a" / "img", boxes, "{:06d}.jpg")
    layouts.put(tmp_path / "a" / "groundtruth.txt", "500,12,8,8\n" + layouts.rows(boxes[1:]))
    made = generator(SetConfig(tmp_path))
    assert all(made.sample(number).template.any() for number in range(20))
    (told,) = caplog.messages
    assert told.startswith("left out: ")
    assert "line 1: box 500, 12, 8, 8 (from pixel 0) lies outside the picture of 64 x 48" in told


def test_wrong_labels_cost_their_sequence_and_not_the_run(tmp_path, caplog):
    for name in ("a", "b"):
        layouts.write_frames(tmp_path / name / "img", layouts.boxes_of(3), "{:06d}.jpg")
        layouts.put(tmp_path / name / "groundtruth.txt", layouts.rows(layouts.boxes_of(3)))
    layouts.put(tmp_path / "a" / "groundtruth.txt", "x\n")  # also where it is the first
    samples = [generator(SetConfig(tmp_path)).sample(number) for number in range(8)]
    assert {sample.sequence for sample in samples} == {"b"}
    assert "left out: " in caplog.text


def test_what_gives_no_sample_gets_a_sentence(tmp_path):
    layouts.write_frames(tmp_path / "a" / "img", layouts.boxes_of(3), "{:06d}.jpg")
    layouts.put(tmp_path / "a" / "groundtruth.txt", "1,2,9,9\n0,0,0,0\nnan,nan,nan,nan\n")
    with pytest.raises(DataError, match="none shows its target in two frames; see"):
        generator(SetConfig(tmp_path)).sample(0)
    layouts.put(tmp_path / "a" / "groundtruth.txt", "1,2,9,9\n" * 3)
    with pytest.raises(DataError, match=r"needs a second video.*data\.absent=0"):
        generator(SetConfig(tmp_path), absent=1.0).sample(0)
    with pytest.raises(DataError, match="is not there"):
        generator(SetConfig(tmp_path / "missing"))
    with pytest.raises(DataError, match=r"bank no bank does not exist.*data\.sets alone"):
        generator(SetConfig(tmp_path), composites=1.0)


def test_clips_are_read_but_warned_of(tmp_path, caplog):
    writer = cv2.VideoWriter(
        str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, layouts.SIZE
    )
    for box in layouts.boxes_of(5):
        writer.write(layouts.picture(box))
    writer.release()
    layouts.put(tmp_path / "a.txt", layouts.rows(layouts.boxes_of(5)))
    made = generator(SetConfig(tmp_path))
    assert made.sample(0).source == "set:own"
    assert "to pick frames at random is slow there" in caplog.text


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SetConfig(Path("a"), ratio=0.0), "ratio of a must be above 0, got 0"),
        (lambda: SamplingConfig(max_gap=0), "max_gap must be at least 1 frame, got 0"),
        (lambda: SamplingConfig(flip=1.5), r"sampling.flip must lie in 0..1, got 1.5"),
        (
            lambda: SyntheticConfig(sets=(SetConfig(Path("a")),), backend="tensors"),
            "tensors makes no samples of data.sets",
        ),
    ],
)
def test_nonsense_is_refused_with_a_sentence(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()


def test_a_sampler_reads_published_splits(places):
    sampler = SetSampler([SetConfig(places["got10k"], "got10k", split="val")])
    assert [len(dataset) for dataset in sampler.datasets] == [1]


def test_what_is_absent_is_not_shown_by_another_object_of_its_video(tmp_path):
    layouts.write_frames(tmp_path / "clip", layouts.boxes_of(4), "{:06d}.jpg")
    table = "frame,id,x,y,w,h\n" + "".join(
        f"{frame},{name},{x},5,12,12\n" for frame in range(4) for name, x in (("a", 5), ("b", 30))
    )
    layouts.put(tmp_path / "clip.csv", table)
    made = generator(SetConfig(tmp_path / "clip.csv"), absent=1.0)
    with pytest.raises(DataError, match=r"needs a second video.*data\.absent=0"):
        made.sample(0)


def test_shards_are_one_set(tmp_path):
    """Each sequence equally often, and one list of names for all."""
    for shard, names in (("a", "123"), ("b", "4")):
        for name in names:
            folder = tmp_path / f"set-{shard}" / name
            layouts.write_frames(folder / "img", layouts.boxes_of(2), "{:06d}.jpg")
            layouts.put(folder / "groundtruth.txt", layouts.rows(layouts.boxes_of(2)))
    sampler = SetSampler([SetConfig(tmp_path / "set-*")])
    np.testing.assert_allclose(sampler._chance, [0.75, 0.25])
    listed = layouts.put(tmp_path / "names.txt", "2\n4\n")
    sampler = SetSampler([SetConfig(tmp_path / "set-*", names=listed)])
    assert [dataset.names for dataset in sampler.datasets] == [["2"], ["4"]]
    np.testing.assert_allclose(sampler._chance, [0.5, 0.5])
    with pytest.raises(DataError, match=r"names\.txt is empty"):
        SetSampler([SetConfig(tmp_path / "set-*", names=layouts.put(listed, ""))])
