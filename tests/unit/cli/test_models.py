"""`mixformerv2 models`: figures, licences, and no PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mixformerv2.cli.main import main
from mixformerv2.runtime.select import ENGINES, load_engine, name_of
from mixformerv2.weights.bundle import find_bundle, list_bundles


def test_table_has_the_published_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "16.229 M" in lines["mixformerv2_s"]
    assert "4.82 G" in lines["mixformerv2_s"]
    assert "58.855 M" in lines["mixformerv2_b"]
    assert "28.13 G" in lines["mixformerv2_b"]
    assert "one multiply-add per product" in said


def test_json_is_for_scripts_and_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from mixformerv2.cli.main import main; sys.exit(main(['models', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["bundles"]] == list_bundles()
    assert all(row["licence"] for row in found["bundles"])
    for row in found["bundles"]:
        card = (find_bundle(row["name"]) / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert f"{row['auc']:.3f}" in card
    small = {row["name"]: row for row in found["architectures"]}["mixformerv2_s"]
    assert (small["parameters"], small["bins"], small["search_size"]) == (16_228_897, 96, 224)
    assert small["multiply_adds"] < small["multiply_adds_uncached"]
    base = next(row for row in found["architectures"] if row["name"] == "mixformerv2_b")
    assert round(base["multiply_adds_as_in_paper"] / 1e9, 1) == 22.4
    assert base["multiply_adds_of_box_head"] == 4 * (768 * 768 + 768 * 96)


def test_paths_lead_to_the_shipped_graphs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--paths"]) == 0
    folders = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [folder.name for folder in folders] == list_bundles()
    assert all((folder / "search.onnx").is_file() for folder in folders)


def test_explain_says_what_auto_takes_and_why(
    small_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # one line for each
    info = load_engine(small_bundle, "auto", 1)[0].info
    words = ["models", "--explain", "--bundle", str(small_bundle)]
    assert main(words) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"small: auto takes {name_of(info)}"
    assert second.strip() == info.reason
    assert main([*words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["engine"], row["reason"]) == (name_of(info), info.reason)
    assert row["graphs"].keys() == {"template.onnx", "search.onnx"}


def test_explain_speaks_of_the_shipped_where_no_bundle_is_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "--explain", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list_bundles()
    assert all(row["engine"] in ENGINES and row["reason"] for row in rows)
    assert main(["models", "--explain", "--bundle", "no-such"]) != 0
    assert "no bundle is called" in capsys.readouterr().err


def test_a_bundle_that_would_not_be_looked_at_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "--bundle", "t"]) == 2
    assert "--bundle t belongs to --explain" in capsys.readouterr().err
