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

__all__ = ["RULE", "Operation", "multiply_adds", "parameters"]

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
        # With the templates kept, nobody reads what the last layer makes of the search tokens.
        if cached and layer == config.depth - 1:
            total += _last_cost(config, looking, kept, attention)
        else:
            total += _layer_cost(config, looking, looking + kept, attention)
        if not cached:
            total += _layer_cost(config, kept, kept, attention)
    return total + sum(op.weights * times for op, times in _heads(config))


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
    """Linear layers of the heads, each with the number of times it runs."""
    c, bins = config.width, config.bins
    if config.box_head == "one_token_direct":
        yield _linear(c, c), 1
        yield _linear(c, 4), 1
    else:
        shared = config.box_head == "four_tokens_shared"
        for _ in range(1 if shared else 4):
            times = 4 if shared else 1
            yield Operation(c, c, 3 * c), times  # a bias, and scale and shift of a layer norm
            yield Operation(c, bins, 3 * bins), times
    if config.score_head:
        yield _linear(c, c), config.prediction_tokens
        yield _linear(c, 1), config.prediction_tokens
