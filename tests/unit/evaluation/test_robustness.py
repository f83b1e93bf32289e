"""Sequences made worse: the same each time, and only in the way that was asked for."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.box import Box
from mixformerv2.errors import ConfigError
from mixformerv2.evaluation import Sequence, TrackerSpec, measure, read_benchmark
from mixformerv2.evaluation.robustness import KINDS, find_kinds, robustness, worsen

from .conftest import write_sequence
from .test_run import Finder


@pytest.fixture
def sequence(root: Path) -> Sequence:
    return read_benchmark("own", root, ["fam_a"]).sequences[0]


@pytest.mark.parametrize("kind", ["noise", "blur", "resolution", "jpeg"])
def test_pictures_get_worse_by_the_level(kind: str, sequence: Sequence) -> None:
    clean = [frame.astype(float) for frame in sequence.frames()]
    before = -1.0
    for level in KINDS[kind].levels[1:]:
        worse = worsen(sequence, kind, level)
        frames = list(worse.frames())
        again = list(pickle.loads(pickle.dumps(worse)).frames())  # as in another process
        np.testing.assert_array_equal(frames, again)
        assert all(frame.shape == old.shape for frame, old in zip(frames, clean, strict=True))
        harm = float(np.mean([np.abs(a - b).mean() for a, b in zip(frames, clean, strict=True)]))
        assert harm > before
        before = harm
        np.testing.assert_array_equal(worse.truth, sequence.truth)
        assert worse.box == sequence.box


def test_the_first_box_is_moved_and_scaled(sequence: Sequence) -> None:
    moved = [worsen(sequence, "box", level).box for level in (0.0, 0.1, 0.3)]
    assert moved[0] == pytest.approx(sequence.box)
    shifts = [abs(box.center[0] - sequence.box.center[0]) for box in moved]
    assert shifts[0] < shifts[1] < shifts[2] <= 0.3 * sequence.box.w
    assert shifts[2] == pytest.approx(3 * shifts[1])  # the same direction, further
    np.testing.assert_array_equal(worsen(sequence, "box", 0.3).truth, sequence.truth)
    assert worsen(sequence, "box", 0.3).box == worsen(sequence, "box", 0.3).box


def test_dropped_frames_are_neither_seen_nor_counted(root: Path) -> None:
    shutil.rmtree(root / "fam_a")
    write_sequence(root / "fam_a", start=2, frames=24)
    sequence = read_benchmark("own", root, ["fam_a"]).sequences[0]
    lengths, counted = [], []
    for level in KINDS["dropped"].levels:
        less = worsen(sequence, "dropped", level)
        labelled = np.isfinite(less.truth).all(axis=1)
        pairs = zip(less.frames(), less.truth, labelled, strict=True)
        for frame, (x, y, _, _) in [(f, box.astype(int)) for f, box, here in pairs if here]:
            assert frame[y, x].tolist() == [255, 255, 255]
        assert less.box == sequence.box
        lengths.append(len(less))
        counted.append(less.truth[labelled].tolist())
    assert lengths[0] == 24
    assert lengths == sorted(set(lengths), reverse=True)
    assert all(boxes == counted[-1] for boxes in counted)
    assert 1 < len(counted[-1]) == lengths[-1]


def test_curves(root: Path, tmp_path: Path) -> None:
    sequences = read_benchmark("own", root).sequences
    clean = measure(Finder, sequences)
    runs: list[str] = []

    def run(worse: list[Sequence], place: Path | None) -> object:
        runs.append("" if place is None else place.name)
        return measure(TrackerSpec("still"), worse, out=place)

    kinds = find_kinds(["box", "jpeg"])
    curves = robustness(run, sequences, kinds, "auc", clean=clean, out=tmp_path)  # type: ignore[arg-type]
    assert [curve.kind for curve in curves] == ["box", "jpeg"]
    assert curves[0].values[0] == clean.mean.auc  # no need to run it again
    assert all(0 < value < clean.mean.auc for value in curves[0].values[1:])
    assert runs[:5] == ["box-0.05", "box-0.1", "box-0.2", "box-0.3", "jpeg-100"]
    assert (tmp_path / "jpeg-5" / "fam_a.txt").is_file()
    assert 0 < curves[0].kept < 1
    assert curves[0].as_dict()["levels"] == (0, 0.05, 0.1, 0.2, 0.3)


def test_a_first_picture_that_cannot_be_read_is_left_to_the_run(root: Path) -> None:
    (root / "fam_a" / "img" / "000001.png").write_bytes(b"no picture")
    (sequence,) = read_benchmark("own", root, ["fam_a"]).sequences
    assert [one.name for one in measure(Finder, [worsen(sequence, "box", 0.1)]).failed] == ["fam_a"]


def test_unknown_curves_are_refused() -> None:
    assert find_kinds(["all"]) == list(KINDS.values())
    with pytest.raises(ConfigError, match="--robustness rain: choose all or from box, dropped"):
        find_kinds(["rain"])


def test_a_moved_box_stays_on_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a" / "img").mkdir(parents=True)
    for number in range(2):
        picture = np.zeros((20, 30, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "a" / "img" / f"{number}.png"), picture)
    (tmp_path / "a" / "groundtruth.txt").write_text("0,0,2,2\n28,18,2,2\n")
    sequence = read_benchmark("own", tmp_path).sequences[0]
    for level in (0.3, 5.0):
        box = Box(*worsen(sequence, "box", level).box)
        assert box.intersect(30, 20) is not None
