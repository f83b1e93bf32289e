"""A network around weights that already exist is the network they came from."""

from __future__ import annotations

import pytest
import torch

from mixformerv2.models import MixFormerV2, ModelConfig
from mixformerv2.models.assemble import assemble

SMALL = ModelConfig(
    width=64, depth=2, template_size=32, search_size=64, bins=24, stem="conv", layer_gain={1: 0.5}
)


def test_assembled_network_computes_and_learns_the_same() -> None:
    torch.manual_seed(0)
    model = MixFormerV2(SMALL).eval()
    twin = assemble(SMALL, model.state_dict())
    template, search = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64)
    assert torch.equal(
        twin(template, template, search).probs, model(template, template, search).probs
    )
    assert not twin.training
    assert [p.requires_grad for p in twin.parameters()] == [True] * len(list(model.parameters()))
    assert not any(tensor.is_meta for tensor in [*twin.parameters(), *twin.buffers()])


def test_missing_and_misshapen_tensors_are_refused() -> None:
    weights = MixFormerV2(SMALL).state_dict()
    with pytest.raises(RuntimeError, match=r"score_head\.fc1\.bias"):
        assemble(SMALL, {k: v for k, v in weights.items() if k != "score_head.fc1.bias"})
    with pytest.raises(RuntimeError, match=r"score_head\.fc1\.bias"):
        assemble(SMALL, weights | {"score_head.fc1.bias": torch.zeros(3)})
