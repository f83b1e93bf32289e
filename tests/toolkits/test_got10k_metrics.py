"""The got10k toolkit (0.1.3) measures the same result files: the same numbers, to 1e-6."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from got10k.experiments import ExperimentGOT10k, ExperimentNfS, ExperimentOTB, ExperimentUAV123
from numpy.typing import NDArray

from mixformerv2.evaluation import (
    Counting,
    Sequence,
    TrackerSpec,
    evaluate,
    measure,
    read_benchmark,
)
from mixformerv2.evaluation.results import Run, save_run
from tests.unit.data.layouts import MAKERS

mpl.use("Agg")
CLOSE = {"rel": 0, "abs": 1e-6}


def wander(name: str, root: Path, out: Path) -> None:
    """Result files of a tracker that drifts away, boxes that leave the picture among them."""
    draw = np.random.default_rng(5)
    for sequence in read_benchmark(name, root).sequences:
        truth = sequence.truth.copy()
        for row in range(1, len(truth)):  # absent frames get a box too
            truth[row] = np.where(np.isfinite(truth[row]), truth[row], truth[row - 1])
        boxes = truth + draw.normal(0, 1.5, truth.shape) * np.arange(len(truth))[:, None]
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 1.0)
        boxes[0] = truth[0]
        nothing = np.full(len(truth), 0.01)
        save_run(out, sequence, Run(np.round(boxes, 3), nothing, nothing, nothing))


def test_got10k_validation(tmp_path: Path) -> None:
    MAKERS["got10k"](tmp_path / "set")
    results = tmp_path / "ours"
    results.mkdir()
    wander("got10k_val", tmp_path / "set", results)
    ours = evaluate(TrackerSpec(f"results:{results}"), tmp_path / "set", benchmark="got10k_val")
    for file in results.glob("*_Val_*[0-9].txt"):
        folder = tmp_path / "results/GOT-10k/drift" / file.stem
        folder.mkdir(parents=True)
        (folder / f"{file.stem}_001.txt").write_text(file.read_text())
        (folder / f"{file.stem}_time.txt").write_text("0.01\n" * 5)
    experiment = ExperimentGOT10k(
        str(tmp_path / "set"),
        subset="val",
        result_dir=str(tmp_path / "results"),
        report_dir=str(tmp_path / "reports"),
    )
    found = experiment.report(["drift"])["drift"]["overall"]
    assert 0 < found["ao"] < 1
    assert ours.mean.overlap == pytest.approx(found["ao"], **CLOSE)
    assert ours.mean.sr_50 == pytest.approx(found["sr"], **CLOSE)
    np.testing.assert_allclose(ours.curve("success"), found["succ_curve"], atol=1e-6)


class Annotated:
    """What an experiment asks of a data set: boxes in the coordinates of the benchmark's files."""

    def __init__(self, sequences: list[Sequence]) -> None:
        self.seq_names = [one.name for one in sequences]
        shift = np.array([1, 1, 0, 0])
        self.items = [([], one.truth + shift * one.origin) for one in sequences]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[list[str], NDArray[np.float64]]:
        return self.items[index]


@pytest.mark.parametrize(
    ("name", "maker", "kind"),
    [
        ("otb100", "otb", ExperimentOTB),
        ("uav123", "uav123", ExperimentUAV123),
        ("nfs", "nfs", ExperimentNfS),
    ],
)
def test_one_pass(name: str, maker: str, kind: type, tmp_path: Path) -> None:
    MAKERS[maker](tmp_path / "set")
    results = tmp_path / "results" / "drift"
    results.mkdir(parents=True)
    wander(name, tmp_path / "set", results)
    found = read_benchmark(name, tmp_path / "set")
    # The toolkit leaves frames without the target out and counts the given one.
    ours = measure(
        TrackerSpec(f"results:{results}"),
        found.sequences,
        counting=Counting(first=True, absent="left-out"),
    )
    experiment = kind.__new__(kind)  # its constructor looks for the whole benchmark
    experiment.dataset = Annotated(found.sequences)
    experiment.result_dir = str(tmp_path / "results")
    experiment.report_dir = str(tmp_path / "reports")
    experiment.nbins_iou, experiment.nbins_ce = 21, 51
    table = experiment.report(["drift"])["drift"]
    assert 0 < table["overall"]["success_score"] < 1
    assert ours.mean.auc == pytest.approx(table["overall"]["success_score"], **CLOSE)
    assert ours.mean.precision == pytest.approx(table["overall"]["precision_score"], **CLOSE)
    for one in ours.sequences:
        row = table["seq_wise"][one.name]
        assert one.figures.auc == pytest.approx(row["success_score"], **CLOSE)
        assert one.figures.precision == pytest.approx(row["precision_score"], **CLOSE)
        assert one.errors is not None
        np.testing.assert_allclose(one.errors.precision, row["precision_curve"], atol=1e-6)
