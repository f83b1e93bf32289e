"""Parameters and multiply-adds of a network, worked out from its configuration alone.

The rule: one multiply-add for each product that is summed in a convolution, a linear layer, q k^T
and the attention-weighted sum of values. Biases, norms, softmax, activations, the expectation over
bins and the preparation of pictures are not counted. The paper's 22.5 G for MixFormerV2-B are the
linear layers and the patch projection alone, with one template.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .config import ModelConfig, stem_channels

__all__ = ["POOLED", "RULE", "Operation", "box_head_multiply_adds", "multiply_adds", "parameters"]

POOLED = 4
"""Cells along a side of the box that a MixViT's score module pools, as published."""

RULE = (
    "one multiply-add per product summed in convolutions, linear layers, q k^T and attention x "
    "values; one frame, two templates; biases, norms and activations not counted"
)


class Operation(NamedTuple):
    """A convolution or linear layer: products per output place, outputs, parameters besides."""

    products: int
    outputs: int
    extra: int

    @property
    def weights(self) -> int:
        """Numbers in its matrix."""
        return self.products * self.outputs


def parameters(config: ModelConfig) -> int:
    """Numbers of a network: the learnt ones, and the fixed position embeddings.

    The published counts include those embeddings (0.2 M of S), so these do.

    Example:
        >>> parameters(ModelConfig(depth=4, mlp_ratio=1.0, search_size=224, template_size=112))
        16228897
    """
    c = config.width
    operations = [op for op, _ in _stem(config)] + [op for op, _ in _heads(config)]
    if config.corner_head and config.score_head:
        operations += [op for op, _ in _asked_template(config)]
        operations.append(Operation(0, 0, 7 * c))  # the score's token and three norms
    layer = sum(op.weights + op.extra for op in _layer(config)) + 4 * c  # and two norms
    queries = 2 * config.prediction_tokens * c
    positions = (config.template_grid**2 + config.search_grid**2) * c
    rest = sum(op.weights + op.extra for op in operations)
    return rest + config.depth * layer + queries + positions


def multiply_adds(
    config: ModelConfig, *, cached: bool = True, templates: int = 2, attention: bool = True
) -> int:
    """Multiply-adds of one frame; the module says what counts as one.

    Args:
        config: The architecture.
        cached: Count what `step` runs on each frame, with the templates' keys and values kept,
            instead of the whole network as it is published.
        templates: Number of templates.
        attention: Count q k^T and the weighted sum of values too.

    Example:
        >>> small = ModelConfig(depth=4, mlp_ratio=1.0, search_size=224, template_size=112)
        >>> f"{multiply_adds(small, cached=False) / 1e9:.1f} G"
        '4.8 G'
    """
    looking = config.search_grid**2 + config.prediction_tokens
    kept = templates * config.template_grid**2
    pixels = config.search_size**2 + (0 if cached else templates * config.template_size**2)
    total = sum(op.weights * (pixels // shrink**2) for op, shrink in _stem(config))
    for layer in range(config.depth):
        if cached and layer == config.keep_after > 0:
            total += _shares_cost(config, looking, kept, attention)
            looking = config.keep_tokens + config.prediction_tokens
        # With the templates kept, nobody reads what the last layer makes of the search tokens.
        if cached and layer == config.depth - 1 and not config.corner_head:
            total += _last_cost(config, looking, kept, attention)
        else:
            total += _layer_cost(config, looking, looking + kept, attention)
        if not cached:
            total += _layer_cost(config, kept, kept, attention)
    if config.corner_head and config.score_head:
        total += _score_module_products(config, attention)
        total += 0 if cached else sum(op.weights * n for op, n in _asked_template(config))
    heads = sum(op.weights * times for op, times in _heads(config))
    return total + (2 if cached and config.exit_after else 1) * heads


def box_head_multiply_adds(config: ModelConfig) -> int:
    """Multiply-adds of the localisation head alone (section S.5), whatever comes before it.

    S.5 gives the four-token head of 72 bins: 4 (768 768 + 768 72) = 2,580,480. Its formula for the
    pyramidal corner head is missing; a convolution there costs C_in C_out H_out W_out K^2, and
    `_corner_head` lists all 24 of them.

    Example:
        >>> box_head_multiply_adds(ModelConfig(depth=12, bins=72))
        2580480
        >>> f"{box_head_multiply_adds(ModelConfig(box_head='corner_pyramid')) / 1e9:.2f} G"
        '4.54 G'
    """
    return sum(op.weights * times for op, times in _box_head(config))


def _layer_cost(config: ModelConfig, tokens: int, seen: int, attention: bool) -> int:
    """Multiply-adds of a layer whose tokens are all answered."""
    products = 2 * config.width * tokens * seen if attention else 0
    return tokens * sum(op.weights for op in _layer(config)) + products


def _last_cost(config: ModelConfig, tokens: int, kept: int, attention: bool) -> int:
    """Multiply-adds of a layer that answers the prediction tokens alone (`MixedAttention.ask`).

    They look at search tokens over the whole width with each head, and at templates over 64.
    """
    answered = config.prediction_tokens
    products = 2 * config.width * answered * (config.heads * tokens + kept) if attention else 0
    bias = config.width * answered if attention else 0  # q . b_k
    return answered * sum(op.weights for op in _layer(config)) + products + bias


def _shares_cost(config: ModelConfig, tokens: int, kept: int, attention: bool) -> int:
    """Multiply-adds of knowing how the prediction tokens look at a layer's tokens, to keep some.

    As in `_last_cost`: queries, and keys that are folded into them.
    """
    answered = config.prediction_tokens
    asked = 2 * answered * config.width**2
    products = config.width * answered * (config.heads * tokens + kept + 1) if attention else 0
    return asked + products


def _linear(into: int, out: int) -> Operation:
    return Operation(into, out, out)


def _stem(config: ModelConfig) -> Iterator[tuple[Operation, int]]:
    """Convolutions, each with the pixels along one side of its output place."""
    c, patch = config.width, config.patch_size
    if config.stem == "patch":
        yield _linear(3 * patch * patch, c), patch
        return
    before = 3
    for step, after in enumerate(stem_channels(c, patch), start=1):
        yield Operation(9 * before, after, 2 * after), 2**step  # no bias, but a batch norm
        before = after
    yield _linear(before, c), patch


def _layer(config: ModelConfig) -> list[Operation]:
    """Keys and values, queries, projection, and the two of the MLP."""
    c, hidden = config.width, config.hidden
    attention = [_linear(c, 2 * c), _linear(c, c), _linear(c, c)]
    return [*attention, _linear(c, hidden), _linear(hidden, c)]


def _heads(config: ModelConfig) -> Iterator[tuple[Operation, int]]:
    """Layers of the heads that run on each frame, each with the number of times it runs."""
    c = config.width
    yield from _box_head(config)
    if not config.score_head:
        return
    if config.corner_head:
        yield from [(_linear(c, c), POOLED**2)] * 2  # keys and values of the pooled box
        yield from [(_linear(c, c), 1)] * 6  # queries and projections, the MLP's first two layers
        yield _linear(c, 1), 1
    else:
        yield _linear(c, c), config.prediction_tokens
        yield _linear(c, 1), config.prediction_tokens


def _box_head(config: ModelConfig) -> Iterator[tuple[Operation, int]]:
    """Layers of the localisation head, each with the number of times it runs."""
    c, bins = config.width, config.bins
    if config.corner_head:
        yield from _corner_head(config)
    elif config.box_head == "one_token_direct":
        yield _linear(c, c), 1
        yield _linear(c, 4), 1
    else:
        shared = config.box_head == "four_tokens_shared"
        for _ in range(1 if shared else 4):
            times = 4 if shared else 1
            yield Operation(c, c, 3 * c), times  # a bias, and scale and shift of a layer norm
            yield Operation(c, bins, 3 * bins), times


def _corner_head(config: ModelConfig) -> Iterator[tuple[Operation, int]]:
    """Convolutions of both corners, each with the places of its map.

    With k channels, width C and a grid of g x g tokens, for each corner:

    - 3x3 at g: C to k, k to k/2; at g (plain) or 2g, 4g (pyramid): k/2 to k/4, k/4 to k/8;
    - 1x1 at the map's side: k/8 to 1;
    - the pyramid's 3x3 at g: C to k/2, C to k/4, k/2 to k/4, k/4 to k/8, k/8 to 1,
      and at 2g: k/4 to k/8, k/8 to 1.
    """
    c, k, g = config.width, config.head_channels, config.search_grid
    pyramid = config.box_head == "corner_pyramid"
    second, third = (2, 4) if pyramid else (1, 1)
    steps = [(c, k, 1), (k, k // 2, 1), (k // 2, k // 4, second), (k // 4, k // 8, third)]
    if pyramid:
        steps += [(c, k // 2, 1), (c, k // 4, 1)]
        steps += [(k // 2, k // 4, 1), (k // 4, k // 8, 1), (k // 8, 1, 1)]
        steps += [(k // 4, k // 8, 2), (k // 8, 1, 2)]
    for _ in range(2):
        for into, out, larger in steps:
            # A bias, and scale and shift of a batch norm.
            yield Operation(9 * into, out, 3 * out), (larger * g) ** 2
        yield _linear(k // 8, 1), config.bins**2


def _asked_template(config: ModelConfig) -> list[tuple[Operation, int]]:
    """The score module's keys and values of the first template, kept like those of the layers."""
    return [(_linear(config.width, config.width), config.template_grid**2)] * 2


def _score_module_products(config: ModelConfig, attention: bool) -> int:
    """Sums of the score module beside its linear layers: RoI pooling, and its attention."""
    c, g = config.width, config.search_grid
    pooling = POOLED * g * g * c + POOLED * POOLED * g * c
    asked = POOLED**2 + config.template_grid**2
    return pooling + (2 * c * asked if attention else 0)
