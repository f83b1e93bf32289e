"""The two graphs of a bundle in the order that engines want; in int8 where roundings are on.

Against `graphs.py`, whose numbers these are: queries, keys and values are three products, which
engines block better than one wide one, and each can be rounded where it is made; keys and values
keep their tokens in the second place, so that engines fold most transpositions into the attention;
the patch projection takes the bytes of the crop as they are, normalisation in its weights.

Letters as in `models/backbone.py`: B batch, N templates, Nt tokens of all templates, Ns search
tokens, P prediction tokens, C width, L layers, h heads, d = 64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from ..models.attention import Layer
from ..models.backbone import ConvStem, middle, most_asked
from ..models.config import HEAD_WIDTH
from ..models.mixformerv2 import MixFormerV2, chosen
from .graphs import Preprocess
from .rounding import Linear8, Rounded, Rounding, dequantised, weights_to_int8

__all__ = ["TOKENS", "Call", "OrderedGraphs"]

TOKENS = 3
"""Axis of the memory along which its tokens lie."""


class _PatchStem(nn.Module):
    """The patch projection as one product on bytes: normalisation is folded into its weights.

    A byte is a rounded activation as it is, so that nothing is lost on that side.
    """

    def __init__(self, conv: nn.Conv2d, prepare: Preprocess) -> None:
        super().__init__()
        self.patch = conv.kernel_size[0]
        self.bytes = Rounding("stem")
        self.bytes.high = 1.0  # in steps of 1/255 engines see a product, and so the rounding
        self.bytes.settle()
        scale, shift = prepare.scale.view(1, 3, 1, 1), prepare.shift.view(1, 3, 1, 1)
        weight = conv.weight.detach()
        assert conv.bias is not None
        bias = conv.bias.detach() + (weight * shift).sum((1, 2, 3))
        # [out, rgb, y, x] to [out, y, x, bgr]
        folded = (weight * scale).flip(1).permute(0, 2, 3, 1).flatten(1)
        self.proj = Linear8(folded * 255.0, bias, self.bytes)

    def forward(self, crops: Tensor) -> Tensor:
        """`[B, S, S, 3]` uint8 to tokens `[B, Ns, C]`."""
        b, side, p = crops.shape[0], crops.shape[1], self.patch
        g = side // p
        x = crops.view(b, g, p, g, p, 3).permute(0, 1, 3, 2, 4, 5).reshape(b, g * g, p * p * 3)
        if self.bytes.mode != "on":
            return x.float() @ (self.proj.weight / 255.0) + self.proj.bias
        out: Tensor = self.proj(self.bytes.unpack(x))
        return out


class _ConvStem(nn.Module):
    """The conv stem with its batch norms folded in. The first convolution stays in float, where
    it is as fast: it has three channels."""

    def __init__(self, stem: ConvStem, prepare: Preprocess) -> None:
        super().__init__()
        self.prepare = prepare
        parts = list(stem.convs)
        first, *others = (_folded(c, n) for c, n in zip(parts[0::3], parts[1::3], strict=True))
        self.first = first
        self.convs = nn.ModuleList(_Conv8(conv) for conv in others)
        self.proj = _Conv8(stem.proj)

    def forward(self, crops: Tensor) -> Tensor:
        """`[B, S, S, 3]` uint8 to tokens `[B, Ns, C]`."""
        x = F.relu(self.first(self.prepare(crops)))
        for conv in self.convs:
            x = F.relu(conv(x))
        out: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return out


def _folded(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(copy.deepcopy(conv), norm)


class _Conv8(nn.Module):
    steps: Tensor
    scale: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.rounding = Rounding("stem")
        steps, scale = weights_to_int8(conv.weight.detach(), axis=0)
        self.register_buffer("steps", steps)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        x, conv = self.rounding(x), self.conv
        weight = conv.weight
        if self.rounding.mode == "on":
            weight = dequantised(self.steps, self.scale, axis=0)
        return F.conv2d(x, weight, conv.bias, conv.stride, conv.padding)


class _Layer8(nn.Module):
    """One layer. Its products with weights are one group, those of the attention another."""

    def __init__(self, layer: Layer, number: int, last: bool) -> None:
        super().__init__()
        self.last = last
        c, gain = layer.attn.proj.in_features, layer.gain
        self.heads = c // HEAD_WIDTH
        attention, products = f"attention {number}", f"products {number}"
        self.norm1, self.norm2 = layer.norm1, layer.norm2
        self.r_in, self.r_out = Rounding(products), Rounding(products)
        self.r_mlp, self.r_hidden = Rounding(products), Rounding(products)
        self.r_q, self.r_k, self.r_v = (Rounding(attention, signed=True) for _ in range(3))
        self.r_seen = Rounding(attention)
        weights = layer.attn.qkv.weight.detach().view(3, c, c).unbind(0)
        biases = layer.attn.qkv.bias.detach().view(3, c).unbind(0)
        # 1 / sqrt(d) is a power of two: folding it in changes no digit.
        small = HEAD_WIDTH**-0.5
        self.q = Linear8(weights[0] * small, biases[0] * small, self.r_in)
        self.k = Linear8(weights[1], biases[1], self.r_in)
        self.v = Linear8(weights[2], biases[2], self.r_in)
        proj, fc1, fc2 = layer.attn.proj, layer.mlp.fc1, layer.mlp.fc2
        self.proj = Linear8(proj.weight * gain, proj.bias * gain, self.r_out)
        self.fc1 = Linear8(fc1.weight, fc1.bias, self.r_mlp)
        self.fc2 = Linear8(fc2.weight * gain, fc2.bias * gain, self.r_hidden)
        if last:
            self.ask_attention = _Ask(weights, biases, attention)

    def split(self, linear: Linear8, rounding: Rounding, x: Tensor) -> Tensor:
        """`[B, N, C]` to `[B, N, h, d]`, rounded."""
        b, n, _ = x.shape
        out: Tensor = rounding(linear(x).view(b, n, self.heads, HEAD_WIDTH))
        return out

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Queries, keys and values `[B, N, h, d]` to tokens `[B, Nq, C]`, and their attention."""
        shares = self.r_seen((q.transpose(1, 2) @ k.permute(0, 2, 3, 1)).softmax(-1))
        seen = shares @ v.transpose(1, 2)
        return self.join(seen), shares

    def join(self, seen: Tensor) -> Tensor:
        """`[B, h, N, d]` to `[B, N, C]`."""
        b, _, n, _ = seen.shape
        out: Tensor = self.proj(self.r_out(seen.transpose(1, 2).reshape(b, n, -1)))
        return out

    def mlp(self, x: Tensor) -> Tensor:
        """With its norm and the sum."""
        hidden = F.gelu(self.fc1(self.r_mlp(self.norm2(x))))
        out: Tensor = x + self.fc2(self.r_hidden(hidden))
        return out

    def templates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Template tokens `[B, Nt, C]`, their keys and values `[B, Nt, h, d]`."""
        x = self.r_in(self.norm1(t))
        k, v = self.split(self.k, self.r_k, x), self.split(self.v, self.r_v, x)
        if self.last:  # nobody reads the tokens
            return t, k, v
        return self.mlp(t + self.attend(self.split(self.q, self.r_q, x), k, v)[0]), k, v

    def search(self, x: Tensor, k_t: Tensor, v_t: Tensor) -> tuple[Tensor, Tensor]:
        """Search and prediction tokens `[B, Ns + P, C]`, and their attention."""
        y = self.r_in(self.norm1(x))
        k = torch.cat([k_t, self.split(self.k, self.r_k, y)], dim=1)
        v = torch.cat([v_t, self.split(self.v, self.r_v, y)], dim=1)
        seen, shares = self.attend(self.split(self.q, self.r_q, y), k, v)
        return self.mlp(x + seen), shares

    def ask(self, x: Tensor, k_t: Tensor, v_t: Tensor, first: int) -> Tensor:
        """The prediction tokens alone, `[B, P, C]`."""
        y = self.norm1(x)
        q = self.split(self.q, self.r_q, self.r_in(y[:, first:]))
        return self.mlp(x[:, first:] + self.join(self.ask_attention(q, y, k_t, v_t)))


class _Ask(nn.Module):
    """`MixedAttention.ask`: keys and values of the search tokens are not made."""

    b_k: Tensor
    b_v: Tensor

    def __init__(self, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...], group: str) -> None:
        super().__init__()
        c = len(biases[0])
        h = c // HEAD_WIDTH
        w_k, w_v = weights[1].view(h, HEAD_WIDTH, c), weights[2].view(h, HEAD_WIDTH, c)
        self.w_k = _Table8(w_k, group)
        self.w_v = _Table8(w_v.transpose(1, 2).contiguous(), group)
        self.register_buffer("b_k", biases[1].view(h, HEAD_WIDTH, 1))
        self.register_buffer("b_v", biases[2].view(h, 1, HEAD_WIDTH))
        self.r_asked, self.r_x = Rounding(group, signed=True), Rounding(group, signed=True)
        self.r_t, self.r_a = Rounding(group), Rounding(group)
        self.r_sum = Rounding(group, signed=True)

    def forward(self, q: Tensor, x: Tensor, k_t: Tensor, v_t: Tensor) -> Tensor:
        """Queries `[B, P, h, d]`, tokens `[B, n, C]`, memory `[B, Nt, h, d]` to `[B, h, P, d]`."""
        b, n, c = x.shape
        q = q.transpose(1, 2)  # [B, h, P, d]
        h, p = q.shape[1], q.shape[2]
        x = self.r_x(x)
        asked = self.r_asked((q @ self.w_k()).reshape(b, h * p, c))
        on_x = (asked @ x.transpose(1, 2)).view(b, h, p, n) + q @ self.b_k
        a = torch.cat([q @ k_t.permute(0, 2, 3, 1), on_x], dim=3).softmax(dim=-1)
        a_t, a_x = a[..., :-n], a[..., -n:]
        seen = self.r_sum(self.r_a(a_x.reshape(b, h * p, n)) @ x).view(b, h, p, c)
        values = seen @ self.w_v() + a_x.sum(-1, True) * self.b_v
        out: Tensor = self.r_t(a_t) @ v_t.transpose(1, 2) + values
        return out


class _Table8(nn.Module):
    """Constant weights `[h, a, b]`, int8 in steps of one size."""

    steps: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, group: str) -> None:
        super().__init__()
        self.switch = Rounding(group)  # rounds nothing itself: it is switched with its group
        self.register_buffer("weight", weight)
        steps, scale = weights_to_int8(weight, axis=None)
        self.register_buffer("steps", steps)
        self.register_buffer("scale", scale)

    def forward(self) -> Tensor:
        if self.switch.mode != "on":
            weight: Tensor = self.get_buffer("weight")
            return weight
        return dequantised(self.steps, self.scale, axis=None)


Answer = tuple[Tensor, Tensor, Tensor]
"""Boxes, scores, distributions."""


class Call(nn.Module):
    """One of the two functions of `OrderedGraphs`, for the exporter."""

    def __init__(self, graphs: OrderedGraphs, function: Callable[..., Any]) -> None:
        super().__init__()
        self.graphs = graphs
        self.function = function

    def forward(self, *given: Tensor) -> Any:
        """What the function answers."""
        return self.function(*given)


class OrderedGraphs(nn.Module):
    """Both graphs of a network, their roundings, off at first, shared.

    Attributes:
        packed: Whether the memory is handed over as int8, which needs all attention in int8.
    """

    def __init__(self, model: MixFormerV2, prepare: Preprocess) -> None:
        super().__init__()
        model = copy.deepcopy(model).eval()
        backbone = model.backbone
        self.config = model.config
        self.packed = False
        self.stem: nn.Module
        if isinstance(backbone.stem, ConvStem):
            self.stem = _ConvStem(backbone.stem, prepare)
        else:
            self.stem = _PatchStem(backbone.stem.proj, prepare)
        self.register_buffer("pos_template", backbone.pos_template)
        self.register_buffer("pos_search", backbone.pos_search)
        asking = backbone.prediction_tokens + backbone.pos_prediction
        self.register_buffer("asking", asking.detach())
        last = model.config.depth - 1
        self.layers = nn.ModuleList(
            _Layer8(layer, i, i == last)
            for i, layer in enumerate(backbone.layers)
            if isinstance(layer, Layer)
        )
        self.model = model  # for its heads
        _round_heads(model)

    def roundings(self) -> Iterator[Rounding]:
        """All of them."""
        return (part for part in self.modules() if isinstance(part, Rounding))

    def encode(self, templates: Tensor) -> Tensor:
        """Templates `[B, N, T, T, 3]` to memory `[L, 2, B, Nt, h, d]`."""
        b = templates.shape[0]
        tokens = self.stem(templates.flatten(0, 1)) + self.get_buffer("pos_template")
        t = tokens.reshape(b, -1, tokens.shape[-1])
        pairs = []
        for layer in self.layers:
            assert isinstance(layer, _Layer8)
            t, k, v = layer.templates(t)
            if self.packed:
                k, v = layer.r_k.pack(k), layer.r_v.pack(v)
            pairs.append(torch.stack([k, v]))
        return torch.stack(pairs)

    def step(self, search: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Search crops and memory to boxes, scores and distributions, as `SearchGraph`."""
        if not self.config.exit_after:
            return self._answer(self._layers(range(self.config.depth), self._begin(search), memory))
        x, early = self._early(search, memory)
        if bool((early[1] >= self.config.exit_score).all()):
            return early
        return self._late(early, x, memory)

    def branches(self, search: Tensor, memory: Tensor) -> tuple[Tensor, ...]:
        """Both answers of a network with an early exit, as `export.branch` wants them."""
        x, early = self._early(search, memory)
        return (*early, *self._late(early, x, memory))

    def written_step(self) -> Call:
        """What the exporter traces for the search graph."""
        return Call(self, self.branches if self.config.exit_after else self.step)

    def _early(self, search: Tensor, memory: Tensor) -> tuple[Tensor, Answer]:
        x = self._layers(range(self.config.exit_after), self._begin(search), memory)
        return x, self._answer(x[:, -self.config.prediction_tokens :])

    def _late(self, early: Answer, x: Tensor, memory: Tensor) -> Answer:
        tail = range(self.config.exit_after, self.config.depth)
        late = self._answer(self._layers(tail, x, memory))
        sure = early[1] >= self.config.exit_score
        boxes, scores, probs = (chosen(sure, a, b) for a, b in zip(early, late, strict=True))
        return boxes, scores, probs

    def _begin(self, search: Tensor) -> Tensor:
        asking = self.get_buffer("asking").expand(search.shape[0], -1, -1)
        grid = search.shape[1] // self.config.patch_size
        tokens = self.stem(search) + middle(self.get_buffer("pos_search"), grid)
        return torch.cat([tokens, asking], dim=1)

    def _layers(self, numbers: range, x: Tensor, memory: Tensor) -> Tensor:
        """All tokens after these layers; the prediction tokens alone after the last of all."""
        p = self.config.prediction_tokens
        for i in numbers:
            layer = self.layers[i]
            assert isinstance(layer, _Layer8)
            k, v = memory[i, 0], memory[i, 1]
            if self.packed:
                k, v = layer.r_k.unpack(k), layer.r_v.unpack(v)
            else:
                k, v = layer.r_k(k), layer.r_v(v)
            if layer.last:
                return layer.ask(x, k, v, x.shape[1] - p)
            x, shares = layer.search(x, k, v)
            if i + 1 == self.config.keep_after:
                x = most_asked(x, shares[:, :, -p:], self.config.keep_tokens)
        return x

    def _answer(self, tokens: Tensor) -> Answer:
        out = self.model.read(tokens)
        scores = torch.zeros_like(out.boxes[:, 0]) + 1.0
        return out.boxes, scores if out.score is None else out.score.sigmoid(), out.probs


def _round_heads(model: MixFormerV2) -> None:
    """The wide layers of the heads; those that make the answer stay in float."""
    heads = [model.box_head, model.score_head]
    for part in (module for head in heads if head is not None for module in head.modules()):
        wide = getattr(part, "fc1", None)
        if isinstance(wide, nn.Linear):
            part.fc1 = Rounded(wide, "heads")
