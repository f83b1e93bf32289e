"""`mixformerv2 eval` as it is typed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mixformerv2.cli.main import main
from tests.unit.data.layouts import MAKERS


def test_trackers_are_measured_side_by_side(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    finder = "python:tests.unit.evaluation.test_run:Finder"
    words = ["eval", "still", finder, "--root", str(root), "--out", str(out)]
    assert main([*words, "--json", str(figures)]) == 0
    printed = capsys.readouterr().out
    assert "counting frames whose true w, h > 0" in printed
    assert "fam (2)" in printed
    assert "mean of 3" in printed
    assert "0.952" in printed
    still, found = json.loads(figures.read_text())
    assert still["tracker"] == "still"
    assert found["mean"]["auc"] == pytest.approx(20 / 21)
    folders = (path for path in out.iterdir() if path.is_dir())
    assert sorted(path.name.rpartition("-")[0] for path in folders) == ["Finder", "still"]


def test_a_tracker_that_fails_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "python:tests.unit.evaluation.test_run:Crash", "--root", str(root)]
    assert main([*words, "--convention", "all-four", "--max-frames", "0"]) == 0
    printed = capsys.readouterr().out
    assert "all frames" in printed
    assert "x, y, w, h > 0" in printed
    assert "fam_b failed and counts with zeros: ValueError('the sky fell')" in printed


def test_names_are_printed_as_they_are(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "fam_a").rename(root / "a [bold]c")
    finder = "python:tests.unit.evaluation.test_run:Finder"
    assert main(["eval", "still", finder, "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "a [bold]c" in printed
    assert "too few sequences" in printed


def test_long_names_cut_no_figure(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # as in a pipe
    (root / "fam_a").rename(root / ("a" * 90))
    finder = "python:tests.unit.evaluation.test_run:Finder"
    assert main(["eval", "s" * 60 + "=still", finder, "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "median ms" in printed


def test_presence_of_a_bundle(
    root: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    words = ["eval", str(small_bundle), "--root", str(root), "--engine", "onnx", "--presence"]
    assert main([*words, "--json", str(figures)]) == 0
    assert "12 crops with the target" in capsys.readouterr().out
    (found,) = json.loads(figures.read_text())
    assert 0 <= found["presence_auc"] <= 1
    words += ["--json", str(figures), "--set"]
    assert main([*words, "search_factor=1.5"]) == 0
    assert json.loads(figures.read_text())[0]["presence_auc"] != found["presence_auc"]
    capsys.readouterr()
    for setting, sentence in (("mirror=true", "nothing to crops"), ("odd=1", "unknown setting")):
        assert main([*words, setting]) == 2
        assert sentence in capsys.readouterr().err


def test_parts_of_a_benchmark_keep_their_results_apart(tmp_path: Path) -> None:
    """The same videos at 30 and at 240 frames a second, from one root into one folder."""
    MAKERS["nfs"](tmp_path / "set")
    words = ["eval", "still", "--root", str(tmp_path / "set"), "--out", str(tmp_path / "out")]
    lengths = []
    for name in ("nfs", "nfs240"):
        assert main([*words, "--benchmark", name, "--json", str(tmp_path / name)]) == 0
        (report,) = json.loads((tmp_path / name).read_text())
        lengths.append(sum(one["frames"] for one in report["sequences"]))
    assert lengths[0] < lengths[1]
    assert len(list((tmp_path / "out").glob("still-*"))) == 2


def test_a_bundle_is_measured(root: Path, small_bundle: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = [
        "eval",
        str(small_bundle),
        "--root",
        str(root),
        "--inference",
        "onnx",
        "--threads",
        "1",
    ]
    assert main([*words, "--json", str(figures)]) == 0
    (report,) = json.loads(figures.read_text())
    assert report["mean"]["sequences"] == 3
    assert [one["error"] for one in report["sequences"]] == [None] * 3


@pytest.mark.parametrize(
    ("layout", "benchmark"),
    [
        (None, None),
        ("davis", None),
        ("got10k", "got10k_val"),
        ("uav123", "uav123"),
    ],
)
def test_the_printed_commands_look_at_where_the_target_is_lost(
    root: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    layout: str | None,
    benchmark: str | None,
) -> None:
    if layout is not None:
        root = tmp_path / "a set"
        MAKERS[layout](root)
    monkeypatch.chdir(tmp_path)
    words = ["eval", f"small={small_bundle}", "--root", str(root), "--inference", "onnx"]
    words += [] if benchmark is None else ["--benchmark", benchmark]
    # Every frame counts as lost, whatever the network answers.
    monkeypatch.setattr("mixformerv2.evaluation.strips.LOST_BELOW", 1.1)
    monkeypatch.setattr("mixformerv2.evaluation.strips.LOST_FOR", 1)
    assert main(words) == 0
    commands = [
        shlex.split(line)
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  mixformerv2 explain ")
    ]
    assert 1 <= len(commands) <= 3
    _, *command, out = commands[0]
    assert main([*command, f"{out}.html"]) == 0  # without the picture, which takes its time
    assert (tmp_path / f"{out.removeprefix('--out=')}.html").is_file()


def test_only_bundles_as_they_are_are_looked_into(
    root: Path, small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "still", "--root", str(root)]
    assert main(words) == 0
    assert main(["eval", str(small_bundle), *words[2:], "--set", "search_factor=3"]) == 0
    assert "mixformerv2 explain" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["nowhere", "--root", "ROOT"], "'nowhere'", 6),
        (["opencv:kcf", "--root", "ROOT"], "opencv:kcf is not known here", 2),
        (["still", "--root", "no/such/folder"], "is not a folder", 9),
        (["still", "--root", "ROOT", "--names", "fam_x"], "no sequence 'fam_x'", 9),
        (["still", "--root", "ROOT", "--convention", "half"], "choose one of size, all-four", 2),
        (["still", "--root", "ROOT", "--jobs", "0"], "jobs must be at least 1", 2),
        (["still", "--root", "ROOT", "--engine", "spark"], "local or ray, got 'spark'", 2),
        (["still", "--root", "ROOT", "--address", "auto"], "is for --engine ray", 2),
        (["still", "--root", "ROOT", "--max-frames", "1"], "max_frames must be at least 2", 2),
        (["still", "--root", "ROOT", "--presence"], "presence needs a bundle", 2),
        (["still", "--root", "ROOT", "--json", "no/such/folder/f.json"], "cannot be written", 5),
        (["still", "--root", "ROOT", "--json", "ROOT"], "is a folder; name a file in it", 5),
        (["still", "--root", "ROOT", "--report", "ROOT/fam_a/groundtruth.txt"], "be made", 5),
        (["still", "--root", "ROOT", "--out", "ROOT/fam_a/groundtruth.txt"], "be made", 5),
        (["results:ROOT", "--root", "ROOT"], "has results of none of the 3 sequences", 9),
        (["results:ROOT/no", "--root", "ROOT"], "there is no folder", 2),
        (["t", "--root", "ROOT", "--inference", "foo"], "engine must be one of", 2),
        (["opencv:mil", "--root", "ROOT", "--threads", "0"], "threads must be a whole number", 2),
        (["still", "--root", "ROOT", "--threads", "2"], "--threads: for bundles and OpenCV", 2),
        (
            ["still", "--root", "ROOT", "--long-term", "--set", "mirror=true", "--engine", "onnx"],
            "--long-term, --set mirror, --inference onnx: for bundles, not for still",
            2,
        ),
        (
            ["still", "results:ROOT", "--root", "ROOT", "--robustness", "box"],
            "cannot be run, so it has no robustness curves",
            2,
        ),
        (
            ["t", "--root", "ROOT", "--presence", "--out", "ROOT", "--no-count-first"],
            "--out, --count-first: not with --presence",
            2,
        ),
    ],
)
def test_bad_words_get_a_sentence(
    root: Path,
    words: list[str],
    sentence: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    no_run: None,
) -> None:
    """Before anything runs."""
    assert main(["eval", *(word.replace("ROOT", str(root)) for word in words)]) == code
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixformerv2.evaluation.run.follow", lambda *_: pytest.fail("it ran"))
    monkeypatch.setattr("mixformerv2.evaluation.run.load_run", lambda *_: pytest.fail("it ran"))
