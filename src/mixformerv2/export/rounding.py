"""Parts of a network that multiply in int8: what is rounded, and by how much.

A rounded tensor is written to ONNX as QuantizeLinear and DequantizeLinear. Engines that know the
pair multiply in integers; all others get the same numbers from floats.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = ["Linear8", "Rounded", "Rounding", "dequantised", "weights_to_int8"]

Mode = Literal["off", "watch", "on"]


class Rounding(nn.Module):
    """Rounds one activation to 8 bits, by the range it was seen to have.

    Args:
        group: Roundings of one group are switched together.
        signed: Symmetric around zero, as products of two activations want it; else over the
            whole range seen, zero included.
    """

    scale: Tensor
    zero: Tensor

    def __init__(self, group: str, signed: bool = False) -> None:
        super().__init__()
        self.group, self.signed = group, signed
        self.mode: Mode = "off"
        self.low, self.high = 0.0, 0.0
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero", torch.tensor(0, dtype=self.dtype))

    @property
    def dtype(self) -> torch.dtype:
        """Of the rounded numbers."""
        return torch.int8 if self.signed else torch.uint8

    def settle(self) -> None:
        """Take the range seen so far."""
        if self.signed:
            scale, zero = max(-self.low, self.high) / 127, 0
        else:
            scale = (self.high - self.low) / 255
            zero = round(-self.low / scale) if scale else 0
        self.scale = torch.tensor(scale or 1.0)
        self.zero = torch.tensor(zero, dtype=self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, rounded where this is on."""
        if self.mode == "watch":
            self.low = min(self.low, float(x.min()))
            self.high = max(self.high, float(x.max()))
        if self.mode != "on":
            return x
        out: Tensor = _Round.apply(x, self.scale, self.zero)  # type: ignore[no-untyped-call]
        return out

    def pack(self, x: Tensor) -> Tensor:
        """The rounded numbers themselves, 8 bits each."""
        out: Tensor = _Quantise.apply(x, self.scale, self.zero)  # type: ignore[no-untyped-call]
        return out

    def unpack(self, x: Tensor) -> Tensor:
        """Undo `pack`."""
        out: Tensor = _Dequantise.apply(x, self.scale, self.zero, None)  # type: ignore[no-untyped-call]
        return out


class Linear8(nn.Module):
    """A linear layer whose weights are int8 in steps of their own for each output.

    Args:
        weight: `[out, in]`.
        bias: `[out]`.
        rounding: Of what goes in; the layer is in float where that is off.
    """

    weight: Tensor
    bias: Tensor
    steps: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, rounding: Rounding) -> None:
        super().__init__()
        # Not a child: it belongs to whoever makes the input, which several layers may share.
        self._rounding = (rounding,)
        weight = weight.detach()
        self.register_buffer("weight", weight.t().contiguous())
        self.register_buffer("bias", torch.zeros(len(weight)) if bias is None else bias.detach())
        steps, scale = weights_to_int8(self.weight, axis=1)
        self.register_buffer("steps", steps)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        if self._rounding[0].mode != "on":
            return x @ self.weight + self.bias
        return x @ dequantised(self.steps, self.scale, axis=1) + self.bias


class Rounded(nn.Module):
    """A linear layer with the rounding of its input: takes the place of `nn.Linear`."""

    def __init__(self, linear: nn.Linear, group: str) -> None:
        super().__init__()
        self.rounding = Rounding(group)
        self.linear = Linear8(linear.weight, linear.bias, self.rounding)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        out: Tensor = self.linear(self.rounding(x))
        return out


def weights_to_int8(weight: Tensor, axis: int | None) -> tuple[Tensor, Tensor]:
    """Whole steps -127 to 127, and the size of a step: one for each index of `axis`, or one."""
    if axis is None:
        scale = weight.abs().max() / 127
    else:
        scale = weight.abs().amax([d for d in range(weight.dim()) if d != axis]) / 127
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    steps = (weight / _along(scale, axis, weight.dim())).round().clamp(-127, 127)
    return steps.to(torch.int8), scale


def dequantised(steps: Tensor, scale: Tensor, axis: int | None) -> Tensor:
    """Weights as floats again."""
    zero = torch.zeros(scale.shape, dtype=torch.int8)
    out: Tensor = _Dequantise.apply(steps, scale, zero, axis)  # type: ignore[no-untyped-call]
    return out


def _along(scale: Tensor, axis: int | None, dims: int) -> Tensor:
    if axis is None:
        return scale
    shape = [1] * dims
    shape[axis] = -1
    return scale.view(shape)


def _steps(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    limits = torch.iinfo(zero.dtype)
    # A true division, as ONNX has it: multiplying by 1 / scale rounds some halves otherwise.
    return (torch.round(x / scale) + zero.float()).clamp(limits.min, limits.max)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        return (_steps(x, scale, zero) - zero.float()) * scale

    @staticmethod
    def symbolic(g: Any, x: Any, scale: Any, zero: Any) -> Any:
        steps = g.op("QuantizeLinear", x, scale, zero)
        return g.op("DequantizeLinear", steps, scale, zero).setType(x.type())


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        return _steps(x, scale, zero).to(zero.dtype)

    @staticmethod
    def symbolic(g: Any, x: Any, scale: Any, zero: Any) -> Any:
        out = g.op("QuantizeLinear", x, scale, zero)
        return out.setType(x.type().with_dtype(torch.int8))


class _Dequantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, axis: int | None) -> Tensor:
        zero, scale = (_along(v, axis, x.dim()) for v in (zero.float(), scale))
        return (x.float() - zero) * scale

    @staticmethod
    def symbolic(g: Any, x: Any, scale: Any, zero: Any, axis: int | None) -> Any:
        where = {} if axis is None else {"axis_i": axis}
        out = g.op("DequantizeLinear", x, scale, zero, **where)
        return out.setType(x.type().with_dtype(torch.float32))
