"""The pages of the site: none is forgotten, and its checks find what is wrong."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import mixformerv2 as mf
from mixformerv2.tracking import Tracker
from mixformerv2.video import open_source
from tests.clips import damage_packets, write_clip
from tests.doubles import ScriptedEngine, config

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert named - {"benchmarks.md", "model-card.md"} == pages


def links(page: Path) -> set[Path]:
    """The files that a page links to, each of which is there."""
    found = re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text(encoding="utf-8"))
    files = {(page.parent / link).resolve() for link in found}
    assert [str(file) for file in files if not file.exists()] == []
    return files


def test_every_page_can_be_reached_from_the_first() -> None:
    docs = ROOT / "docs"
    assert docs / "README.md" in links(ROOT / "README.md")
    pages = {page for page in docs.rglob("*.md") if page.parent.name != "reference"}
    assert pages - links(docs / "README.md") == {docs / "README.md"}


def test_no_page_installs_from_an_index_which_does_not_have_it() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            assert not re.search(r"pip install\b[^#`]*\bmixformerv2", line), (page, line)


def test_the_page_of_faults_counts_them_and_names_tests_that_are_there() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    tried, _, _ = page.partition("## What these tests found")
    rows = [row for row in tried.splitlines() if row.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| fault |")]
    assert f"These are {len(rows)} faults;" in tried
    there = {path.name for path in (*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("scripts/*.py"))}
    for row in rows:
        named = re.findall(r"`(\w+\.py|make [\w-]+)`", row.split("|")[-2])
        assert named, row
        assert {name for name in named if not name.startswith("make ")} <= there


@pytest.mark.parametrize("page", ["start.md", "track.md"])
def test_the_loop_to_copy_takes_frames_that_cannot_be_decoded(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mf, "Tracker", lambda model: by)
    by = Tracker.with_engine(ScriptedEngine(), config())
    clip = write_clip(tmp_path / "clip.mp4", 6, options={"g": "1", "bf": "0"}, size=(320, 240))
    assert damage_packets(clip, [0, 3]) == [0, 3]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (block,) = (one for one in re.findall(r"```python\n(.*?)```", text, re.S) if "Overlay" in one)
    exec(compile(block, page, "exec"), {})
    assert by.state is not None
    assert by.state.frame == 4  # of 0..5, from the first good one on
    (made,) = {path for path in tmp_path.iterdir() if path != clip}
    with open_source(made) as source:
        assert sum(1 for _ in source) == 4


def test_figures_come_from_the_json_of_their_runs() -> None:
    make_docs = script("make_docs")
    page, runs = make_docs.benchmarks(), list(make_docs.RUNS.glob("*.json"))
    assert "| **mean of 20** |" in page
    assert len(runs) >= 2
    assert page.count("| S, published way | fp32 |") == len(runs)
    assert "OpenVINO" not in page  # nothing is typed: engines go by the names in the files
    assert "openvino-int8" in page


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ('<a href="b.html#there">x</a>', ""),
        ('<a href="https://example.org">people follow this</a>', ""),
        ('<a href="c.html">x</a>', "a.html: no file behind c.html"),
        ('<a href="b.html#gone">x</a>', "a.html: no anchor behind b.html#gone"),
        ('<img src="https://example.org/x.png">', "a.html: loads https://example.org/x.png"),
        (
            '<link rel="stylesheet" href="//example.org/x.css">',
            "a.html: loads //example.org/x.css",
        ),
    ],
)
def test_the_site_is_checked(tmp_path: Path, body: str, wrong: str) -> None:
    (tmp_path / "a.html").write_text(body)
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    assert "\n".join(script("check_site").problems(tmp_path)) == wrong


def test_a_style_that_loads_a_font_from_afar_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("")
    (tmp_path / "a.css").write_text("@font-face { src: url(https://example.org/f.woff2) }")
    assert script("check_site").problems(tmp_path) == ["a.css: loads https://example.org/f.woff2"]
