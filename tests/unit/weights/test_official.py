"""What a published checkpoint tells of itself, and what is refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.published_way import PublishedNet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from mixformerv2.errors import WeightsError
from mixformerv2.weights import from_official
from mixformerv2.weights.official import inspect_official, read_checkpoint

from .published import state_dict


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(
    heads=st.integers(1, 2),
    hidden=st.integers(1, 200),
    depth=st.integers(1, 3),
    bins=st.integers(2, 40),
    template=st.sampled_from([1, 4]),
    search=st.sampled_from([4, 9]),
    score=st.booleans(),
)
def test_any_architecture_is_worked_out_and_computes_the_same(
    heads: int, hidden: int, depth: int, bins: int, template: int, search: int, score: bool
) -> None:
    weights = state_dict(
        width=64 * heads,
        hidden=hidden,
        depth=depth,
        bins=bins,
        template=template,
        search=search,
        score=score,
    )
    model = from_official(weights)
    config = model.config
    assert (config.heads, config.hidden, config.depth, config.bins) == (heads, hidden, depth, bins)
    assert config.score_head == score
    assert (config.template_grid**2, config.search_grid**2) == (template, search)
    seeded = torch.Generator().manual_seed(0)
    sides = (config.template_size, config.template_size, config.search_size)
    images = [torch.randn(2, 3, side, side, generator=seeded) for side in sides]
    with torch.inference_mode():
        out = model(*images)
        boxes, probs, logit = PublishedNet(weights)(*images)
    # Two bins and few units make large logits, whose float32 rounding shows in the fifth digit.
    torch.testing.assert_close(out.probs, probs[:, [0, 2, 1, 3]], rtol=0, atol=5e-5)
    size = out.boxes[:, 2:] - out.boxes[:, :2]
    torch.testing.assert_close(size, boxes[:, 2:], rtol=0, atol=5e-5)
    if score:
        torch.testing.assert_close(out.score, logit, rtol=0, atol=1e-4)


def bare(weights: dict[str, Tensor]) -> dict[str, Any]:
    return dict(weights)


def in_net(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {"net": weights, "epoch": 500, "lr": [4e-4]}


def from_parallel_training(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {"net": {f"module.{name}": tensor for name, tensor in weights.items()}}


def in_half_precision(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.half() for name, tensor in weights.items()}


def with_gradients(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {"net": {name: torch.nn.Parameter(tensor) for name, tensor in weights.items()}}


def in_bfloat16(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.bfloat16() for name, tensor in weights.items()}


@pytest.mark.parametrize(
    "wrap",
    [bare, in_net, from_parallel_training, in_half_precision, in_bfloat16, with_gradients],
)
def test_wrappings_of_trainers_are_taken_off(
    wrap: Callable[[dict[str, Tensor]], dict[str, Any]],
) -> None:
    weights = state_dict()
    model = from_official(wrap(weights))
    qkv = model.backbone.layers[1].attn.qkv
    torch.testing.assert_close(
        qkv.weight.detach(), weights["backbone.blocks.1.attn.qkv.weight"], rtol=4e-3, atol=1e-3
    )
    assert qkv.weight.dtype == torch.float32
    assert not model.training


def test_what_is_ignored_is_said() -> None:
    extra = {"backbone.cls_token": torch.zeros(1), "backbone.norm.weight": torch.zeros(64)}
    found = inspect_official({"net": state_dict() | extra, "epoch": 3})
    assert found.ignored == tuple(extra)
    assert set(found.used) == set(state_dict())


def test_conversion_keeps_no_hold_on_the_checkpoint() -> None:
    weights = state_dict()
    model = from_official(weights)
    before = model.backbone.stem.proj.bias.detach().clone()
    weights["backbone.patch_embed.proj.bias"].zero_()
    assert torch.equal(model.backbone.stem.proj.bias, before)


def without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state_dict().items() if key != name}


def with_tensor(name: str, tensor: Tensor) -> dict[str, Tensor]:
    return state_dict() | {name: tensor}


FC1 = "backbone.blocks.1.mlp.fc1.weight"
POS = "backbone.pos_embed_s"
MIXED = {**state_dict(depth=3), **{k: v for k, v in state_dict(hidden=32).items() if "1.mlp" in k}}
REFUSED = {
    "empty": ({}, "holds no tensors"),
    "numbers": ({"net": {"a": 3}}, "holds no tensors"),
    "something else": (
        {"conv1.weight": torch.zeros(1)},
        r"no MixFormerV2 checkpoint: it has no backbone\.patch_embed.* 1 tensors.* conv1\.weight",
    ),
    "a backbone alone": (
        {name.removeprefix("backbone."): tensor for name, tensor in state_dict().items()},
        "is a backbone without heads.*train --init",
    ),
    "mixed shapes": (MIXED, r"blocks\.1\.mlp\.fc1\.weight has shape \(32, 64\).*\(96, 64\).*mixes"),
    "no layers": (
        {k: v for k, v in state_dict().items() if "blocks" not in k},
        "has no layers",
    ),
    "layer 0 missing": (without("backbone.blocks.0.mlp.fc1.weight"), "lacks backbone.blocks.0.mlp"),
    "tensor missing": (without(FC1), "lacks backbone.blocks.1.mlp.fc1.weight"),
    "no norm in the head": (without("box_head.layers.1.1.bias"), "lacks box_head.layers.1.1.bias"),
    "half a score head": (without("score_head.layers.0.0.bias"), "lacks score_head"),
    "the other half": (without("score_head.layers.1.weight"), "lacks score_head.layers.1.weight"),
    "not a square": (with_tensor(POS, torch.zeros(1, 15, 64)), "15 tokens, which is no square"),
    "flat": (with_tensor(POS, torch.zeros(64)), r"pos_embed_s has shape \(64,\)"),
    "learnt positions": (with_tensor(POS, torch.zeros(1, 16, 64)), "differs by 1 from the fixed"),
    "NaN": (with_tensor(FC1, torch.full((96, 64), torch.nan)), "not finite or beyond 65504"),
    "too large": (with_tensor(FC1, torch.full((96, 64), 1e6)), "not finite or beyond 65504"),
    "integers": (with_tensor(FC1, torch.zeros(96, 64).long()), r"holds torch\.int64"),
    "a few bytes for gigabytes": (
        with_tensor("backbone.pos_embed_t", torch.zeros(1).expand(1, 2**28, 64)),
        r"pos_embed_t is no plain tensor of shape \(1, 268435456, 64\)",
    ),
    "sparse": (with_tensor(FC1, torch.zeros(96, 64).to_sparse()), "fc1.weight is no plain tensor"),
    "no values": (with_tensor(FC1, torch.zeros(96, 64, device="meta")), "is no plain tensor"),
    "eight bits": (
        with_tensor(FC1, torch.zeros(96, 64).to(torch.float8_e4m3fn)),
        r"holds torch\.float8_e4m3fn",
    ),
    "odd width": (state_dict(width=80), "width must be a multiple of 64, got 80"),
    "layer of 10^9": (with_tensor("backbone.blocks.999999999.x", torch.zeros(1)), "depth 64"),
    "enormous": (
        with_tensor("backbone.blocks.0.mlp.fc1.weight", torch.empty(0, 64)),
        r"shape \(0, 64\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_one_sentence(case: str) -> None:
    state, sentence = REFUSED[case]
    with pytest.raises(WeightsError, match=sentence) as caught:
        inspect_official(state, source="it.pth")
    assert str(caught.value).startswith("it.pth")
    assert "\n" not in str(caught.value)


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was_run",)


class OfTheTrainer:
    """Trainers leave such objects beside the weights."""


def written(path: Path, content: Any, **options: Any) -> bytes:
    torch.save(content, path, **options)
    return path.read_bytes()


def make_file(kind: str, path: Path) -> None:
    """One file that must be refused."""
    small = {"net": {"a": torch.zeros(3000)}}
    if kind == "runs code":
        written(path, {"net": state_dict(), "stats": RunsCode()})
    elif kind == "runs code, plain pickle":
        path.write_bytes(pickle.dumps(RunsCode(), protocol=2))
    elif kind == "runs code, newer pickle":
        path.write_bytes(pickle.dumps(RunsCode(), protocol=5))
    elif kind == "trainer's object":
        written(path, {"net": state_dict(), "stats": OfTheTrainer()})
    elif kind == "list":
        written(path, [torch.zeros(3)])
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        zipped = written(path, small)
        legacy = written(path, small, _use_new_zipfile_serialization=False)
        path.write_bytes(
            {
                "cut short": zipped[: len(zipped) // 2],
                "cut very short": zipped[:30],
                "cut short, old format": legacy[: len(legacy) // 2],
                "empty": b"",
                "web page": b"\n<!DOCTYPE html><html>Sign in</html>",
                "text": b"hello world",
                "noise": bytes(range(256)) * 9,
            }[kind]
        )


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("runs code", r"asks to run posix\.system while it is read"),
        ("runs code, plain pickle", r"asks to run posix\.system while it is read"),
        ("runs code, newer pickle", "damaged, cut short or no PyTorch checkpoint"),
        ("trainer's object", r"asks to run .*OfTheTrainer while it is read.*keep its tensors"),
        ("list", "holds a list, not a dict of tensors"),
        ("folder", "is a folder; give the checkpoint file"),
        ("missing", "does not exist"),
        ("cut short", "damaged, cut short or no PyTorch checkpoint"),
        ("cut very short", "damaged, cut short or no PyTorch checkpoint"),
        ("cut short, old format", "damaged, cut short or no PyTorch checkpoint"),
        ("empty", "is empty"),
        ("web page", "is a web page"),
        ("text", "damaged, cut short or no PyTorch checkpoint"),
        ("noise", "damaged, cut short or no PyTorch checkpoint"),
    ],
)
def test_bad_files_are_refused_and_run_nothing(
    kind: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth.tar"
    make_file(kind, path)
    with pytest.raises(WeightsError, match=sentence) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_bad_safetensors_are_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(300)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)] or b"\xff" * 99)
    with pytest.raises(WeightsError, match="damaged or no safetensors file"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".safetensors"])
def test_good_files_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    save_file(state_dict(), path) if suffix == ".safetensors" else torch.save(state_dict(), path)
    read = read_checkpoint(path)
    assert set(read) == set(state_dict())
    assert torch.equal(read[FC1], state_dict()[FC1])
