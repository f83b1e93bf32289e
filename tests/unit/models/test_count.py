"""Counts against the networks themselves and against the paper."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mixformerv2.models import ModelConfig, build, model_config
from mixformerv2.models.count import box_head_multiply_adds, multiply_adds, parameters

SMALL = ModelConfig(width=128, depth=2, mlp_ratio=2.5, template_size=32, search_size=64, bins=24)
VARIANTS = [
    {},
    {"stem": "conv"},
    {"stem": "conv", "patch_size": 8, "mlp_ratio": 1.0},
    {"box_head": "four_tokens_own", "score_head": False},
    {"box_head": "one_token_four"},
    {"box_head": "one_token_direct"},
    {"box_head": "corner", "head_channels": 16},
    {"box_head": "corner", "head_channels": 32, "score_head": False, "stem": "conv"},
    {"box_head": "corner_pyramid", "head_channels": 24},
    {"box_head": "corner_pyramid", "score_head": False},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_parameters_are_those_of_the_network(changes: dict[str, object]) -> None:
    config = dataclasses.replace(SMALL, **changes)  # type: ignore[arg-type]
    model = build(config)
    positions = model.backbone.pos_template.numel() + model.backbone.pos_search.numel()
    assert parameters(config) == sum(p.numel() for p in model.parameters()) + positions


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@torch.inference_mode()
def test_multiply_adds_are_those_that_pytorch_counts(changes: dict[str, object]) -> None:
    """PyTorch counts two operations for each, and fused attention on a CPU not at all."""
    config = dataclasses.replace(SMALL, **changes)  # type: ignore[arg-type]
    model = build(config).eval().requires_grad_(False)
    template = torch.zeros(1, 3, config.template_size, config.template_size)
    search = torch.zeros(1, 3, config.search_size, config.search_size)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as full:
        model(template, template, search)
    assert 2 * multiply_adds(config, cached=False) == full.get_total_flops()
    memory = model.encode_templates(template, template, template)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as step:
        model.step(search, memory)
    assert 2 * multiply_adds(config, templates=3) == step.get_total_flops()


@pytest.mark.parametrize(
    "changes",
    [
        {"keep_tokens": 5, "keep_after": 1},
        {"exit_after": 1, "exit_score": 1.0},
        {"keep_tokens": 5, "keep_after": 1, "exit_after": 2, "exit_score": 1.0},
    ],
    ids=str,
)
@torch.inference_mode()
def test_multiply_adds_of_shorter_ways(changes: dict[str, object]) -> None:
    """Dropped tokens and early exits; a score of 1 is never reached, so both heads run."""
    config = dataclasses.replace(SMALL, depth=4, **changes)  # type: ignore[arg-type]
    model = build(config).eval().requires_grad_(False)
    template = torch.zeros(1, 3, config.template_size, config.template_size)
    memory = model.encode_templates(template, template)
    search = torch.zeros(1, 3, config.search_size, config.search_size)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as step:
        model.step(search, memory)
    assert 2 * multiply_adds(config) == step.get_total_flops()


@pytest.mark.parametrize(
    ("name", "millions", "full", "paper"),
    [("mixformerv2_s", 16.229, 4.8, None), ("mixformerv2_b", 58.855, 28.1, 22.4)],
)
def test_published_networks(name: str, millions: float, full: float, paper: float | None) -> None:
    config = model_config(name)
    assert round(parameters(config) / 1e6, 3) == millions
    assert round(multiply_adds(config, cached=False) / 1e9, 1) == full
    if paper:
        alone = multiply_adds(config, cached=False, templates=1, attention=False)
        assert round(alone / 1e9, 1) == paper


def test_head_loads_of_the_appendix() -> None:
    """Section S.5: four tokens with 72 bins as printed; the corner head by its convolutions."""
    assert box_head_multiply_adds(model_config("mixformerv2_b", bins=72)) == 2_580_480
    small, middle, large = 18 * 18, 36 * 36, 72 * 72
    corner = (
        9
        * (
            small * (768 * 384 + 384 * 192 + 768 * 192 + 768 * 96 + 192 * 96 + 96 * 48 + 48)
            + middle * (192 * 96 + 96 * 48 + 48)
            + large * 96 * 48
        )
        + large * 48
    )
    assert box_head_multiply_adds(model_config("mixvit_b")) == 2 * corner


def test_embedded_default_is_small() -> None:
    assert parameters(model_config("mixformerv2_t")) <= 3_000_000


def test_counting_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from mixformerv2.models.count import parameters\n"
        "from mixformerv2.models.registry import model_config\n"
        "print(parameters(model_config('mixformerv2_s')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "16228897"
