"""Early exit as ONNX: what follows the exit runs only where a target is not sure enough there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["EARLY", "branch"]

EARLY = ("early_boxes", "early_scores", "early_probs")
"""Outputs of the exit; those of the whole network follow them."""


def branch(model: Any, sure: float) -> None:
    """Put the nodes that only the last outputs need behind an `If`, and drop the early outputs.

    Args:
        model: With six outputs: `EARLY`, then the same three of the whole network.
        sure: The lowest of the early scores from which on the early outputs are the answer.
    """
    graph = model.graph
    late = [output.name for output in graph.output[len(EARLY) :]]
    makers = {name: node for node in graph.node for name in node.output}
    first = _behind(makers, EARLY)
    given = {one.name for one in graph.input}
    fixed = _fixed(graph, given)
    tail = [n for n in graph.node if id(n) not in first and id(n) not in fixed]
    head = [n for n in graph.node if id(n) in first or id(n) in fixed]
    # A name may be made once in a graph and all that are inside of it.
    inner = {name: f"late_{name}" for name in late}
    for node in tail:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = inner.get(name, name)
    outputs = {one.name: one for one in graph.output}
    then = helper.make_graph(
        [
            helper.make_node("Identity", [e], [f"then_{n}"])
            for e, n in zip(EARLY, late, strict=True)
        ],
        "early",
        [],
        [_named(outputs[name], f"then_{name}") for name in late],
    )
    otherwise = helper.make_graph(
        tail, "late", [], [_named(outputs[name], inner[name]) for name in late]
    )
    graph.initializer.append(numpy_helper.from_array(np.array(sure, np.float32), "sure"))
    head += [
        helper.make_node("ReduceMin", [EARLY[1]], ["least_sure"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["least_sure", "sure"], ["all_sure"]),
        helper.make_node("If", ["all_sure"], late, then_branch=then, else_branch=otherwise),
    ]
    kept = [outputs[name] for name in late]
    for part, values in ((graph.node, head), (graph.output, kept)):
        copies = [type(value)() for value in values]
        for copy, value in zip(copies, values, strict=True):
            copy.CopyFrom(value)
        del part[:]
        part.extend(copies)
    # Shapes of what is inside of the branch now; the checker finds them anew.
    del graph.value_info[:]


def _named(output: Any, name: str) -> Any:
    copy = type(output)()
    copy.CopyFrom(output)
    copy.name = name
    assert copy.type.tensor_type.elem_type == TensorProto.FLOAT
    return copy


def _behind(makers: dict[str, Any], names: Iterable[str]) -> set[int]:
    """The nodes that some outputs need, by identity."""
    found: set[int] = set()
    wanted = list(names)
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and id(node) not in found:
            found.add(id(node))
            wanted += node.input
    return found


def _fixed(graph: Any, given: set[str]) -> set[int]:
    """Nodes that depend on no input: outside of branches engines work them out once."""
    moving = set(given)
    found = set()
    for node in graph.node:
        if any(name in moving for name in node.input):
            moving.update(node.output)
        else:
            found.add(id(node))
    return found
