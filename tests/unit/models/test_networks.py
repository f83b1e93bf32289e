"""Laws of the networks: caching, number of templates, batches, fading layers, heads."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.errors import ConfigError
from mixformerv2.models import ModelConfig, create, list_models
from mixformerv2.models.attention import drop_path
from mixformerv2.models.backbone import sincos_2d
from mixformerv2.models.heads import DenseHead, expectation, two_hot
from mixformerv2.models.mixformerv2 import MixFormerV2


def tiny(**changes: object) -> MixFormerV2:
    torch.manual_seed(0)
    settings = {"width": 64, "depth": 3, "template_size": 32, "search_size": 64, "bins": 32}
    return MixFormerV2(ModelConfig(**{**settings, **changes})).eval()  # type: ignore[arg-type]


def crops(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 3, 32, 32, generator=generator),
        torch.randn(batch, 3, 32, 32, generator=generator),
        torch.randn(batch, 3, 64, 64, generator=generator),
    )


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_cached_step_gives_the_same_numbers_as_one_call(stem: str) -> None:
    model = tiny(stem=stem)
    template, online, search = crops()
    whole = model(template, online, search)
    cached = model.step(search, model.encode_templates(template, online))
    assert_close(cached.probs, whole.probs, atol=1e-6, rtol=0)
    assert_close(cached.boxes, whole.boxes, atol=1e-6, rtol=0)
    assert whole.score is not None
    assert cached.score is not None
    assert_close(cached.score, whole.score, atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_templates(count: int) -> None:
    model = tiny()
    template, _, search = crops()
    memory = model.encode_templates(*[template] * count)
    assert memory.shape == (3, 2, 2, 1, count * 4, 64)
    assert model.step(search, memory).boxes.shape == (2, 4)


def test_repeating_a_template_changes_the_search_but_its_order_does_not() -> None:
    model = tiny()
    template, online, search = crops()
    one_way = model(template, online, search).boxes
    other_way = model(online, template, search).boxes
    assert_close(one_way, other_way, atol=1e-5, rtol=0)


def test_templates_do_not_see_the_search_crop() -> None:
    model = tiny()
    template, online, search = crops()
    seen = model.features((template, online), search).templates[-1]
    other = model.features((template, online), search.flip(-1)).templates[-1]
    assert_close(seen, other, atol=0, rtol=0)


def test_search_tokens_see_the_prediction_tokens() -> None:
    """Eq. 1: q_s attends to k_tse, so changing a prediction token moves the search tokens."""
    model = tiny()
    template, online, search = crops()
    before = model.features((template, online), search).search[-1]
    with torch.no_grad():
        model.backbone.prediction_tokens += torch.randn(1, 4, 64)
    after = model.features((template, online), search).search[-1]
    assert (before - after).abs().max() > 1e-4


def test_a_batch_equals_its_rows() -> None:
    model = tiny()
    template, online, search = crops(3)
    together = model(template, online, search).boxes
    alone = [model(template[i : i + 1], online[i : i + 1], search[i : i + 1]) for i in range(3)]
    assert_close(together, torch.cat([out.boxes for out in alone]), atol=1e-6, rtol=0)


def test_a_layer_with_gain_zero_is_the_identity() -> None:
    faded = tiny(layer_gain={1: 0.0})
    short = tiny(depth=2)
    state = faded.state_dict()
    kept = {
        name.replace("layers.2.", "layers.1."): value
        for name, value in state.items()
        if "layers.1." not in name
    }
    short.load_state_dict(kept)
    assert_close(short(*crops()).probs, faded(*crops()).probs, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "kind", ["four_tokens_shared", "four_tokens_own", "one_token_four", "one_token_direct"]
)
def test_every_head_gives_distributions_whose_expectation_is_the_box(kind: str) -> None:
    out = tiny(box_head=kind)(*crops())
    assert out.probs.shape == (2, 4, 32)
    assert_close(out.probs.sum(-1), torch.ones(2, 4), atol=1e-5, rtol=0)
    assert_close(expectation(out.probs), out.boxes, atol=1e-5, rtol=0)


def test_a_model_without_a_score_head_answers_none() -> None:
    assert tiny(score_head=False)(*crops()).score is None


def test_two_hot_has_the_given_expectation() -> None:
    places = torch.linspace(0, 31 / 32, 50)
    assert_close(expectation(two_hot(places, 32)), places, atol=1e-6, rtol=0)


def test_dense_head_finds_the_column_and_row_of_the_token_that_speaks() -> None:
    """A token in row 1, column 3 that raises its bins must show in columns and rows 1 and 3."""
    config = ModelConfig(width=64, depth=1, template_size=32, search_size=64, bins=32)
    head = DenseHead(config)
    torch.nn.init.zeros_(head.sides.weight)
    torch.nn.init.zeros_(head.sides.bias)
    with torch.no_grad():
        head.sides.weight[:, 0] = 10.0
        head.norm.weight.fill_(1.0)
    tokens = torch.zeros(1, 16, 64)
    tokens[0, 1 * 4 + 3, 0] = 8.0
    logits, _ = head(tokens)
    left, top, right, bottom = logits[0].softmax(-1)
    for across in (left, right):
        assert across[24:32].sum() > 0.99  # column 3 of 4, eight bins each
    for down in (top, bottom):
        assert down[8:16].sum() > 0.99  # row 1


def test_sincos_has_x_first() -> None:
    grid = sincos_2d(64, 4).view(4, 4, 64)
    assert_close(grid[0, :, 32:], grid[0, :1, 32:].expand(4, 32))  # second half: the row alone
    assert_close(grid[:, 0, :32], grid[:1, 0, :32].expand(4, 32))  # first half: the column alone
    assert (grid[0, 1, :32] - grid[0, 0, :32]).abs().max() > 0.1


def test_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    x = torch.ones(4000, 1, 2)
    out = drop_path(x, 0.25, training=True)
    dropped = out[:, 0, 0] == 0
    assert_close(out[~dropped], torch.full_like(out[~dropped], 4 / 3))
    assert dropped.float().mean() == pytest.approx(0.25, abs=0.03)
    assert out.mean() == pytest.approx(1.0, abs=0.05)
    assert drop_path(x, 0.25, training=False) is x


def test_names_and_sizes_of_the_paper() -> None:
    assert list_models() == [
        "mixformerv2_b",
        "mixformerv2_s",
        "mixformerv2_t",
        "mixformerv2_t256",
        "mixformerv2_t384",
        "mixvit_b",
        "mixvit_b_224",
        "mixvit_l",
        "mixvit_l_224",
        "mixvit_t",
        "mixvit_t256",
        "mixvit_t384",
    ]
    small = create("mixformerv2_s").config
    assert (small.depth, small.mlp_ratio, small.search_size, small.template_size) == (
        4,
        1.0,
        224,
        112,
    )
    count = sum(p.numel() for p in create("mixformerv2_t").parameters())
    assert count <= 3_000_000


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"width": 100}, "multiple of 64"),
        ({"depth": 0}, "depth must be"),
        ({"search_size": 130}, "multiple of patch_size"),
        ({"bins": 96.5}, "bins must be a whole number"),
        ({"stem": "foo"}, "stem must be one of"),
        ({"box_head": "corners"}, "box_head must be one of"),
        ({"layer_gain": {9: 0.5}}, "layer_gain names layers"),
        ({"mlp_ratio": -1.0}, "mlp_ratio must be"),
        ({"drop_path": 1.0}, "drop_path must be"),
        ({"width": 64 * 1000}, "largest network"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ModelConfig(**settings)  # type: ignore[arg-type]


def test_config_survives_json() -> None:
    config = ModelConfig(layer_gain={0: 0.37}, stem="conv")
    assert ModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="unknown model settings"):
        ModelConfig.from_dict({"widht": 64})


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mixformerv2_b, mixformerv2_s, mixformerv2_t"):
        create("mixformerv2_x")
    with pytest.raises(ConfigError, match="unknown setting"):
        create("mixformerv2_t", widht=1)
