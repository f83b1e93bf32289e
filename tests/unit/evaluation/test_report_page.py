"""A study as a page, Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mixformerv2.evaluation import BENCHMARKS, Report, Study, TrackerSpec, evaluate, write_report
from mixformerv2.evaluation import read_benchmark as read
from mixformerv2.evaluation.compare import paired_bootstrap
from mixformerv2.evaluation.html import html
from mixformerv2.evaluation.robustness import Curve
from mixformerv2.evaluation.strips import frames_to_show
from mixformerv2.evaluation.tables import latex, markdown
from tests.unit.data.layouts import MAKERS, put

from .test_run import Answer, Crash, Finder, Frame


class Reader(HTMLParser):
    """Collects tags and every address; complains about tags that are closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag


@pytest.fixture
def study(root: Path) -> Study:
    put(root / "fam_a" / "attributes.txt", "FM, <b>odd</b>")
    found = read("own", root).sequences
    reports = [evaluate(Finder, root, label="finder"), evaluate(TrackerSpec("still"), root)]
    reports.append(evaluate(Crash, root, label="a & b"))
    curve = Curve("blur", (0, 1, 2, 4, 8), (0.9, 0.8, 0.7, 0.6, 0.5), (0,) * 5)
    return Study(tuple(reports), tuple(found), robustness=((curve,),) * 3)


def test_the_page_stands_alone(study: Study) -> None:
    page = Reader(html(study))
    assert all(one.startswith(("data:image/jpeg;base64,", "#")) for one in page.addresses)
    assert "link" not in page.tags
    # Three plots of curves, one of robustness, and a spark beside each film strip.
    strips = 3 + 3  # the finder's three, and the sequences where it is better than the others
    assert page.tags.count("svg") >= 4 + strips
    assert page.tags.count("img") >= strips


def test_the_page_says_what_is_needed(study: Study) -> None:
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", html(study), flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", " ", text)
    for part in (
        "frames whose true w, h &gt; 0",
        "First pixel in the files of the benchmark: 0",
        "a &amp; b failed in fam_b, which counts with zeros: ValueError",
        "finder better than still",
        "with decoding",
        "fast motion (FM)",
        "&lt;b&gt;odd&lt;/b&gt;",
        "The 3 worst sequences of finder",
        "Blur: sigma in px",
        "72 %",
    ):
        assert part in text, part
    one = [replace(report, sequences=report.sequences[:1]) for report in study.reports]
    assert "The worst sequence of finder" in html(replace(study, reports=tuple(one)))


def test_pictures_can_be_left_out(study: Study) -> None:
    assert "img" not in Reader(html(study, pictures=False)).tags


def test_the_same_results_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        report = evaluate(TrackerSpec("still"), root, out=tmp_path / "results")
        study = Study((report,), tuple(read("own", root).sequences))
        write_report(study, tmp_path / name)
    for ending in ("html", "md", "tex", "json"):
        files = [tmp_path / name / f"report.{ending}" for name in ("one", "two")]
        assert files[0].read_bytes() == files[1].read_bytes()
        assert str(tmp_path) not in files[0].read_text()


def test_markdown_latex_and_json(study: Study, tmp_path: Path) -> None:
    text = markdown(study)
    assert "| finder | 95.2 | 100.0 | 98.0 |" not in text  # P Norm AUC of a perfect tracker is 100
    assert "| finder | 95.2 | 100.0 | 100.0 |" in text
    assert "| fam_a | 4 | 95.2 |" in text
    table = latex(study)
    assert r"finder & \textbf{95.2} & \textbf{100.0} & \textbf{100.0} \\" in table
    assert r"a \& b &" in table
    assert table.count("&") == 4 * 3 + 1  # four rows of four cells, and the one in a name
    write_report(study, tmp_path)
    plain = json.loads((tmp_path / "report.json").read_text())
    assert [one["tracker"] for one in plain["trackers"]] == ["finder", "still", "a & b"]
    assert plain["robustness"]["still"][0]["kept"] == pytest.approx(0.65 / 0.9)
    assert plain["differences"][0]["sequences"] == 3


def test_the_papers_rows_stand_beside_a_run(tmp_path: Path) -> None:
    MAKERS["lasot"](tmp_path)
    report = evaluate(TrackerSpec("still"), tmp_path, benchmark="lasot")
    study = Study((report,), (), BENCHMARKS["lasot"])
    page = html(study)
    assert "MixFormerV2-B (paper, table 5)" in page
    assert "70.6" in page
    assert "not to be called a result on LaSOT" in page
    assert "MixFormerV2-S (table 6) | 60.6 | 69.9 | 60.4 |" in markdown(study)
    assert "table 5" not in html(replace(study, paper=False))


def test_a_server_keeps_its_truth(tmp_path: Path) -> None:
    """No figure anywhere, of a tracker that fails in a sequence either, and no pair to compare."""
    MAKERS["trackingnet"](tmp_path / "set")
    found = read("trackingnet", tmp_path / "set").sequences
    still = evaluate(TrackerSpec("still"), tmp_path / "set", benchmark="trackingnet")
    lost = evaluate(_fails, tmp_path / "set", benchmark="trackingnet", label="lost")
    curve = Curve("box", (0, 0.05, 0.1, 0.2, 0.3), (np.nan,) * 5, (0,) * 5)
    study = Study((still, lost), tuple(found), BENCHMARKS["trackingnet"], ((curve,),) * 2)
    assert (study.with_truth, study.differences) == (False, [])
    page = write_report(study, tmp_path / "report").read_text()
    assert "95.2" not in page
    assert "lost failed in d_2: " in page
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| still | - | - | - | - |" in text
    plain = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [one["mean"]["auc"] for one in plain["trackers"]] == [None, None]
    assert plain["robustness"]["still"][0]["values"] == [None] * 5
    assert plain["robustness"]["still"][0]["kept"] is None


def _fails() -> Crash:
    raise ValueError("out of memory")


def test_the_first_pixel_is_that_of_the_data(tmp_path: Path) -> None:
    MAKERS["lasot"](tmp_path)
    report = evaluate(TrackerSpec("still"), tmp_path)  # LaSOT read as one's own folder
    assert f"First pixel in the benchmark's files: {report.origin}." in markdown(
        Study((report,), ())
    )
    assert report.origin.startswith("1")


class Flies(Finder):
    """Its box leaves the picture for good."""

    def update(self, frame: Frame) -> Answer:
        return Answer((1e308, -1e308, 1e308, 8.0), 1.0)


def test_a_box_that_flies_away_is_drawn(root: Path) -> None:
    report = evaluate(Flies, root)
    study = Study((report,), tuple(read("own", root).sequences))
    assert "img" in Reader(html(study)).tags


def test_bootstrap(root: Path) -> None:
    best, still = evaluate(Finder, root, label="best"), evaluate(TrackerSpec("still"), root)
    apart = paired_bootstrap(best, still)
    assert apart.mean == pytest.approx(best.mean.auc - still.mean.auc)
    assert apart.low <= apart.mean <= apart.high
    assert apart.better == 1.0
    same = paired_bootstrap(still, still)
    assert (same.mean, same.low, same.high, same.better, same.certain) == (0, 0, 0, 0.5, False)
    back = paired_bootstrap(still, best)
    assert (back.mean, back.low, back.high) == pytest.approx((-apart.mean, -apart.high, -apart.low))


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    """Of many sequences whose differences are known: mean plus or minus two standard errors."""
    draw = np.random.default_rng(3)
    first, second = (_made(values) for values in (draw.normal(0.6, 0.1, 400), np.full(400, 0.5)))
    found = paired_bootstrap(first, second)
    half = 1.96 * 0.1 / 20
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


@pytest.mark.parametrize(
    ("count", "verdict"), [(1, "too few sequences"), (9, "too few sequences"), (10, "certain")]
)
def test_few_sequences_make_nothing_certain(count: int, verdict: str) -> None:
    """However far apart two trackers are on them; one sequence has no interval at all."""
    first, second = (_made(np.full(count, value)) for value in (0.9, 0.1))
    study = Study((replace(first, tracker="other"), second), ())
    found, *others = study.differences
    assert [one.figure for one in (found, *others)] == list(study.benchmark.columns)
    assert (found.verdict, found.certain) == (verdict, verdict == "certain")
    row = next(line for line in markdown(study).splitlines() if "other - made" in line)
    spread = "80.0 to 80.0 | 100.0 %" if count > 1 else "- | -"
    assert row == f"| other - made | AUC | 80.0 | {spread} | {verdict} |"
    assert verdict in html(study, pictures=False)
    low = study.as_dict()["differences"][0]["low"]
    assert low is None if count == 1 else low == pytest.approx(0.8)
    assert paired_bootstrap(second, second).verdict == verdict.replace("certain", "not certain")


def _made(values: np.ndarray) -> Report:
    from mixformerv2.evaluation import Counting, Figures, SequenceReport

    rows = [
        SequenceReport(str(i), Figures(float(v), 0, 0, 10), 10, 1.0) for i, v in enumerate(values)
    ]
    return Report("made", Counting(), None, tuple(rows))


@pytest.mark.parametrize(
    ("overlaps", "frames", "lost"),
    [
        ([1.0] * 41, [0, 8, 16, 24, 32, 40], None),
        ([1.0] * 20 + [0.0] * 21, [0, 10, 20, 26, 33, 40], 20),
        ([1.0] * 20 + [0.0] * 4 + [1.0] * 17, [0, 8, 16, 24, 32, 40], None),
        ([1.0, 0.0], [0, 1], 1),
        ([np.nan, 0.0, np.nan], [0, 1, 2], None),
        ([1.0], [0], None),
        ([0.0], [0], 0),
    ],
)
def test_frames_of_a_strip(overlaps: list[float], frames: list[int], lost: int | None) -> None:
    assert frames_to_show(np.array(overlaps)) == (frames, lost)
