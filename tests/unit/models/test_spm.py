"""Precise RoI pooling: against fine numerical integration, its gradient, its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mixformerv2.models.spm import ScoreModule, precise_roi_pool

BOXES = [
    (1.3, 0.7, 5.9, 4.2),
    (2.0, 2.0, 4.0, 4.0),
    (0.25, 3.5, 0.75, 3.6),  # inside one token
    (-3.0, -1.0, 2.5, 1.0),  # half outside
    (4.0, 3.0, 12.0, 9.0),
    (20.0, 20.0, 30.0, 30.0),  # all outside
]


def grid(batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, 6, 7, 3, generator=generator, dtype=torch.float64)


def bilinear(tokens: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The surface at points, by its definition: hats around each token, nothing outside."""
    rows = (1 - (y[:, None] - torch.arange(tokens.shape[0])).abs()).clamp(min=0)
    columns = (1 - (x[:, None] - torch.arange(tokens.shape[1])).abs()).clamp(min=0)
    return torch.einsum("yi,xj,ijc->yxc", rows, columns, tokens)


@pytest.mark.parametrize("box", BOXES)
def test_agrees_with_fine_numerical_integration(box: tuple[float, ...]) -> None:
    tokens, cells, fine = grid(), 4, 120
    pooled = precise_roi_pool(tokens, torch.tensor([box], dtype=torch.float64), cells)
    x1, y1, x2, y2 = box
    steps = (torch.arange(cells * fine, dtype=torch.float64) + 0.5) / (cells * fine)
    surface = bilinear(tokens[0], x1 + (x2 - x1) * steps, y1 + (y2 - y1) * steps)
    mean = surface.view(cells, fine, cells, fine, 3).mean((1, 3))
    # The midpoint rule is off by h^2 / 24 times the curvature, where h is the step: 1e-5 here,
    # and by half a step where a kink of the surface lies inside one.
    assert_close(pooled[0], mean, atol=1e-4, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_pools_the_same() -> None:
    tokens, boxes = grid(2), torch.tensor(BOXES[:2], dtype=torch.float64)
    found = precise_roi_pool(tokens.cuda(), boxes.cuda(), 4)
    assert_close(found.cpu(), precise_roi_pool(tokens, boxes, 4))


def test_gradients_are_right() -> None:
    """By finite differences, towards the tokens and towards the box alike."""
    tokens = grid(2).requires_grad_()
    boxes = torch.tensor(
        [[1.31, 0.72, 5.93, 4.24], [-0.6, 1.1, 2.7, 6.4]], dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda t, b: precise_roi_pool(t, b, 3), (tokens, boxes))


@pytest.mark.parametrize("box", [(2.0, 2.0, 2.0, 4.0), (4.0, 3.0, 1.0, 1.0)])
def test_a_box_without_area_pools_to_zero(box: tuple[float, ...]) -> None:
    pooled = precise_roi_pool(grid(), torch.tensor([box], dtype=torch.float64))
    assert torch.equal(pooled, torch.zeros_like(pooled))


def test_each_sample_has_its_own_box() -> None:
    tokens = grid(2)
    boxes = torch.tensor(BOXES[:2], dtype=torch.float64)
    alone = [precise_roi_pool(tokens[i : i + 1], boxes[i : i + 1]) for i in range(2)]
    assert_close(precise_roi_pool(tokens, boxes), torch.cat(alone))


def test_rows_come_first() -> None:
    tokens = torch.zeros(1, 8, 8, 1)
    tokens[0, :, 5:] = 1.0  # the right part
    pooled = precise_roi_pool(tokens, torch.tensor([[0.0, 0.0, 7.0, 7.0]]), 2)
    assert (pooled[0, :, 1] > pooled[0, :, 0]).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the tracing exporter announces itself
def test_runs_in_onnx_for_any_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = ScoreModule(128, 6).eval()

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, search: Tensor, boxes: Tensor, templates: Tensor) -> Tensor:
            return module(search, boxes, module.remember(templates))

    def inputs(batch: int) -> tuple[Tensor, Tensor, Tensor]:
        low = torch.rand(batch, 2) * 0.5
        boxes = torch.cat([low, low + 0.1 + 0.4 * torch.rand(batch, 2)], dim=1)
        return torch.randn(batch, 36, 128), boxes, torch.randn(batch, 4, 128)

    path = tmp_path / "score.onnx"
    names = ["search", "boxes", "templates"]
    torch.onnx.export(
        Whole(),
        inputs(2),
        str(path),
        input_names=names,
        dynamic_axes={name: {0: "batch"} for name in names},
        opset_version=17,
        dynamo=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        given = inputs(batch)
        arrays = {name: value.numpy() for name, value in zip(names, given, strict=True)}
        (got,) = session.run(None, arrays)
        with torch.inference_mode():
            want = Whole()(*given).numpy()
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
