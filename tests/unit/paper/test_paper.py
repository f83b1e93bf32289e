"""The paper's tables: the networks are those that it names, and the counts come out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from mixformerv2.cli.main import main
from mixformerv2.errors import OutputError
from mixformerv2.evaluation.speed import Clip
from mixformerv2.models import ModelConfig
from mixformerv2.paper import rows as rows_module
from mixformerv2.paper.figure import draw_figure
from mixformerv2.paper.report import markdown
from mixformerv2.paper.rows import Row, counts, head_loads, paper_rows
from mixformerv2.paper.speed import NetworkEngine, Weights, measure

TINY = ModelConfig(width=64, depth=2, template_size=32, search_size=64, bins=16)
CORNER = ModelConfig(**{**TINY.to_dict(), "box_head": "corner"})
TINY_ROWS = [
    Row(0, TINY, {"cpu_fps": 30.0, "gpu_fps": 325.0}, "MixFormerV2-S"),
    Row(0, TINY, {}, "MixFormerV2-T (ours)"),
    Row(1, CORNER, {"gpu_fps": 90.0, "gflops": 27.2}),
    Row(2, ModelConfig(**{**CORNER.to_dict(), "depth": 3}), {"cpu_fps": 4.0, "gpu_fps": 100.0}),
    Row(2, CORNER, {"cpu_fps": 8.0, "gpu_fps": 150.0}),
]


def test_rows_are_those_of_the_paper() -> None:
    rows = paper_rows()
    assert [len([row for row in rows if row.table == table]) for table in range(3)] == [3, 3, 12]
    assert len({row.key for row in rows}) == len(rows)
    second = {
        (r.config.depth, r.config.mlp_ratio, r.config.search_size): r for r in rows if r.table == 2
    }
    assert second[4, 1.0, 224].paper == {"cpu_fps": 30.0, "gpu_fps": 280.0}
    assert second[12, 4.0, 288].paper == {"cpu_fps": 4.0, "gpu_fps": 100.0}
    assert {r.config.template_size for r in second.values() if r.config.search_size == 224} == {112}
    assert all((r.config.box_head, r.config.score_head) == ("corner", False) for r in rows[6:])
    assert [r.config.score_head for r in rows if r.table == 1] == [True, False, False]


def test_what_the_paper_counts_comes_out() -> None:
    """22.5 G are linear layers with one template; ours with attention and both templates."""
    by_name = {row.key: counts(row.config) for row in paper_rows()}
    base, small = by_name["MixFormerV2-B"], by_name["MixFormerV2-S"]
    assert round(base["gflops_linear_one_template"], 1) == 22.4
    assert round(base["gflops"], 1) == 28.1
    assert round(small["gflops"], 1) == 4.8
    assert (round(base["parameters_m"], 1), round(small["parameters_m"], 1)) == (58.9, 16.2)
    loads = head_loads()
    assert loads["tokens"] == 2_580_480
    assert loads["pyramidal corner"] == 4_543_579_008
    # By one rule the heads of Table 1 differ by the head, less what four more tokens cost.
    heads = by_name["8 layers, MLP 4, 288, pyramidal corner"]["gflops_linear_one_template"]
    tokens = by_name["8 layers, MLP 4, 288, tokens"]
    four = 4 * 8 * 12 * 768**2 / 1e9
    assert heads - tokens["gflops_linear_one_template"] == pytest.approx(
        (loads["pyramidal corner"] - tokens["head_gflops"] * 1e9) / 1e9 - four
    )


def test_networks_share_weights_with_one_another_but_not_inside() -> None:
    weights = Weights()
    one, other = weights.network(TINY), weights.network(CORNER)
    name = "backbone.layers.0.attn.qkv.weight"
    first, second = one.get_parameter(name), other.get_parameter(name)
    assert first.data_ptr() == second.data_ptr()
    own = [p.data_ptr() for p in one.parameters()]
    assert len(set(own)) == len(own)
    assert not any(p.is_meta for p in [*other.parameters(), *other.buffers()])


def test_both_ways_give_the_same_boxes() -> None:
    model = Weights().network(TINY)
    draw = torch.Generator().manual_seed(0)
    templates = torch.randint(0, 256, (1, 2, 32, 32, 3), generator=draw, dtype=torch.uint8)
    search = torch.randint(0, 256, (1, 64, 64, 3), generator=draw, dtype=torch.uint8)
    boxes = []
    for way in ("whole", "kept"):
        engine = NetworkEngine(model, way)
        memory = engine.encode_templates(templates.numpy())
        assert (memory.ndim == 6) == (way == "kept")
        boxes.append(engine.step(search.numpy(), memory).boxes)
    assert abs(boxes[0] - boxes[1]).max() < 1e-5


@pytest.fixture(scope="module")
def figures() -> dict[str, object]:
    return measure(TINY_ROWS, rounds=2, clip=Clip.moving(320, 240, count=3))


def test_figures_are_plain_and_said(figures: dict[str, object]) -> None:
    assert json.loads(json.dumps(figures)) == figures
    rows = figures["rows"]
    assert isinstance(rows, list)
    assert [row["row"] for row in rows] == [row.key for row in TINY_ROWS]
    assert all(row["fps"]["cpu_kept"] > 0 and row["fps"]["cpu_whole"] > 0 for row in rows)
    text = markdown(figures)
    assert "| 2 | corner | yes | 90 (1.0 x) |" in text
    assert "| 3 | 4 | 64 | 4 (1.0 x) | 100 (1.0 x) |" in text
    assert "| 2 | 4 | 64 | 8 (2.0 x) | 150 (1.5 x) |" in text
    assert "| tokens | 2,580,480 | 1 x |" in text
    assert "no GPU" in text or torch.cuda.is_available()
    for line in text.splitlines():
        if line.startswith("| 3 |"):
            assert line.count("(1.0 x)") == 4  # the slowest row: paper and here


def test_figure_is_drawn(figures: dict[str, object], tmp_path: Path) -> None:
    draw_figure(figures, tmp_path / "one.png")
    image = cv2.imread(str(tmp_path / "one.png"))
    assert image is not None
    assert image.shape[1] > 2 * image.shape[0] > 600
    with pytest.raises(OutputError, match="the figure cannot be written"):
        draw_figure(figures, tmp_path / "one.xyz")


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rows_module, "paper_rows", lambda: TINY_ROWS)
    words = ["bench", "--paper", "--rounds", "1", "--size", "320x240", "--cpu-time"]
    files = {"--json": "p.json", "--markdown": "p.md", "--figure": "p.png"}
    given = [word for flag, name in files.items() for word in (flag, str(tmp_path / name))]
    assert main([*words, *given]) == 0
    text = (tmp_path / "p.md").read_text()
    assert text in capsys.readouterr().out
    said = json.loads((tmp_path / "p.json").read_text())
    assert (said["rounds"], said["clock"], said["machine"]["threads"]) == (1, "processor", 1)
    assert (tmp_path / "p.png").stat().st_size > 5000
    assert main([*words, "--json", str(tmp_path / "missing" / "p.json")]) != 0
    assert "its folder does not exist" in capsys.readouterr().err
