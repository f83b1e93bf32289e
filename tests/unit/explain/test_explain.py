"""Attention and distributions from the inside, against the network's own answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from typer.testing import CliRunner

from mixformerv2.cli.boxes import read_boxes
from mixformerv2.cli.main import build
from mixformerv2.errors import BoxError, ConfigError, OutputError, SourceError
from mixformerv2.explain import (
    entropy,
    explain_frame,
    prediction_attention,
    save_page,
    save_picture,
    spread,
)
from mixformerv2.models import ModelConfig
from mixformerv2.models.attention import Layer
from mixformerv2.models.mixformerv2 import MixFormerV2
from mixformerv2.weights.bundle import find_bundle, read_config, write_config

ASSETS = find_bundle("t").parent
CLIP = ASSETS / "demo.mp4"
TRUTH = read_boxes(ASSETS / "demo.csv")
THRESHOLDS = ("lost_below", "lost_until", "uncertain_below", "uncertain_until")


def test_shares_sum_to_one_and_rebuild_what_the_tokens_get() -> None:
    torch.manual_seed(0)
    model = MixFormerV2(ModelConfig(width=128, depth=2, template_size=32, search_size=64)).eval()
    t, o, s = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64)
    seen = prediction_attention(model, (t, o), s)
    total = seen.search.sum((3, 4)) + seen.templates.sum((3, 4, 5)) + seen.prediction.sum(3)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    # The first layer's attention output, made of these shares, is the layer's own.
    with torch.inference_mode():
        backbone = model.backbone
        layer = backbone.layers[0]
        assert isinstance(layer, Layer)
        x = layer.norm1(backbone.search_tokens(s))
        k, v, _ = backbone.encode((t, o))[0]
        _, _, own = layer.attn.split(x)
        values = torch.cat([v, own], dim=2)[0]  # [h, N, d]
        shares = torch.cat(
            [
                torch.from_numpy(part[0].reshape(2, 4, -1))
                for part in (seen.templates, seen.search, seen.prediction)
            ],
            dim=-1,
        )
        rebuilt = layer.attn.join((shares @ values)[None])
        expected = layer.attn.search(x, k, v)[:, -4:]
    torch.testing.assert_close(rebuilt, expected, atol=1e-5, rtol=1e-4)


def test_only_one_crop_at_a_time() -> None:
    model = MixFormerV2(ModelConfig(width=64, depth=1, template_size=32, search_size=64)).eval()
    t, s = torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 64, 64)
    with pytest.raises(ConfigError, match="one crop at a time, got 2"):
        prediction_attention(model, (t, t), s)


def test_entropy_and_spread_of_known_distributions() -> None:
    sure, even = np.eye(8)[3], np.full(8, 1 / 8)
    assert entropy(np.stack([sure, even])).tolist() == [0.0, pytest.approx(1.0)]
    assert spread(sure) == pytest.approx(0.0)
    assert spread(even) == pytest.approx(np.arange(8).std() / 8)


def test_insight_is_what_the_tracker_saw(tmp_path: Path) -> None:
    insight = explain_frame(CLIP, TRUTH[0], 12, truth=TRUTH[12], engine="onnx")
    assert insight.result.frame == 12
    assert len(insight.scores) == 13
    np.testing.assert_allclose(insight.probs.sum(1), 1.0, atol=1e-5)
    # The box is the expectation of the distributions, and lies on the truth.
    bins = insight.probs.shape[1]
    np.testing.assert_allclose(insight.probs @ (np.arange(bins) / bins), insight.box, atol=1e-4)
    assert insight.truth is not None
    np.testing.assert_allclose(insight.box, insight.truth, atol=0.06)
    # Attention is on the target: the tokens' last layer looks near the box, not at the rim.
    heat = insight.attention.search[-1].mean((0, 1))
    _, columns = np.indices(heat.shape)
    centre = ((columns + 0.5) * heat).sum() / heat.sum() / heat.shape[1]
    assert abs(centre - (insight.box[0] + insight.box[2]) / 2) < 0.15
    text = save_page(insight, tmp_path / "look.html").read_text("utf-8")
    found = re.search(r"const D = (\{.*?\});\n", text)
    assert found is not None
    data = json.loads(found[1])
    assert data["frame"] == 12
    assert "http" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)


@pytest.mark.parametrize(
    "settings",
    [
        {"search_middle": 160, "middle_after": 1},
        {"still_below": 255.0},
        {"long_term": True, "redetect_score": 1.0, **dict.fromkeys(THRESHOLDS, 1.0)},
    ],
    ids=["middle", "still", "lost"],
)
def test_what_is_shown_is_the_look_around_the_last_box(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    for file in find_bundle("t").iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = read_config(tmp_path)
    write_config(tmp_path, replace(config, tracker=replace(config.tracker, **settings)))
    insight = explain_frame(CLIP, TRUTH[0], 4, tmp_path, truth=TRUTH[4], engine="onnx")
    assert insight.search.shape == (config.tracker.search_size,) * 2 + (3,)
    assert insight.truth is not None  # known of that crop alone


def test_an_answer_that_is_not_the_networks_box_is_shown_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, w, h = TRUTH[0]
    looser = (x - 0.1 * w, y - 0.1 * h, 1.2 * w, 1.2 * h)
    insight = explain_frame(CLIP, looser, 1, engine="onnx")
    assert insight.answer is not None
    left, top, right, bottom = insight.answer
    assert left < insight.box[0] < insight.box[2] < right
    side = insight.result.box[2] / (right - left)  # of the crop, in pixels of the frame
    assert insight.result.box[3] / (bottom - top) == pytest.approx(side)
    text = save_page(insight, tmp_path / "look.html").read_text("utf-8")
    assert f'"answer":[{left}' in text
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    save_picture(insight, tmp_path / "look.png")
    names = [text.get_text() for text in drawn[0].findobj(Text)]
    assert {"network's box", "answer"} <= set(names)
    for file in find_bundle("t").iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = read_config(tmp_path)
    write_config(tmp_path, replace(config, tracker=replace(config.tracker, box_style=0.0)))
    assert explain_frame(CLIP, looser, 1, tmp_path, engine="onnx").answer is None


def test_the_picture_shows_all_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insight = replace(explain_frame(CLIP, TRUTH[0], 1, engine="onnx"), model=r"a$\b$c")
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    save_picture(insight, tmp_path / "look.png")
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    texts = [one for one in figure.findobj(Text) if one.get_text()]
    assert any(one.get_text().startswith(r"a$\b$c: score ") for one in texts)
    for one in texts:
        box = one.get_window_extent()
        assert figure.bbox.contains(box.x0, box.y0), one
        assert figure.bbox.contains(box.x1, box.y1), one


def test_a_hostile_name_stays_text(tmp_path: Path) -> None:
    insight = explain_frame(CLIP, TRUTH[0], 2, name="</script><script>alert(1)", engine="onnx")
    assert "<script>alert" not in save_page(insight, tmp_path / "look.html").read_text("utf-8")
    # A name that is no UTF-8, and one like a place in the page's template.
    odd = save_page(replace(insight, source="a\udcff __DATA__"), tmp_path / "odd.html")
    title, _, rest = odd.read_text("utf-8").partition("</title>")
    assert title.endswith("<title>a\\udcff __DATA__: frame 2")
    assert len(rest) < (tmp_path / "look.html").stat().st_size


@pytest.mark.parametrize(("frame", "why"), [(0, "the box is given"), (10**6, "ends with frame")])
def test_frames_that_cannot_be_explained(frame: int, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        explain_frame(CLIP, TRUTH[0], frame, engine="onnx")


def test_command_writes_page_and_picture(tmp_path: Path) -> None:
    box = ",".join(str(v) for v in TRUTH[0].xywh)
    arguments = ["explain", str(CLIP), "--box", box, "--frame", "5", "--engine", "onnx"]
    result = CliRunner().invoke(build("explain"), [*arguments, "--out", str(tmp_path / "look.5")])
    assert result.exit_code == 0, result.output
    assert "entropy of the sides" in result.output
    assert (tmp_path / "look.5.html").stat().st_size > 10_000  # beside that of another frame
    assert (tmp_path / "look.5.png").read_bytes()[:4] == b"\x89PNG"


def test_a_folder_that_is_missing_is_said_before_the_tracking() -> None:
    words = ["explain", "no.mp4", "--box", "1,2,3,4", "--frame", "5", "--out", "missing/look"]
    with pytest.raises(OutputError, match="missing/look: its folder does not exist"):
        CliRunner().invoke(build("explain"), words, catch_exceptions=False)


def test_a_benchmark_without_a_sequence_is_refused() -> None:
    words = ["explain", str(CLIP), "--frame", "5", "--benchmark", "lasot"]
    with pytest.raises(ConfigError, match="--benchmark lasot needs --sequence NAME"):
        CliRunner().invoke(build("explain"), words, catch_exceptions=False)


def test_command_without_a_box_says_so() -> None:
    with pytest.raises(BoxError, match="give --box"):
        CliRunner().invoke(
            build("explain"), ["explain", str(CLIP), "--frame", "5"], catch_exceptions=False
        )
