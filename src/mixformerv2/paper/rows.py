"""Rows of Tables 1 and 2, each with the network that it is about, and what can be counted of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from ..models.config import BoxHeadKind, ModelConfig
from ..models.count import box_head_multiply_adds, multiply_adds, parameters
from ..models.registry import model_config

__all__ = ["Row", "counts", "head_loads", "paper_rows", "paper_tables"]

HEADS = {
    "four_tokens_shared": "tokens",
    "corner": "corner",
    "corner_pyramid": "pyramidal corner",
}
"""What a head is called in a table."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what was measured, and what the paper says of it.

    Attributes:
        table: 1 or 2, and 0 for a whole tracker (Tables 5 and 6, and our T).
        config: The network.
        paper: What is printed: `cpu_fps`, `gpu_fps`, `gflops`; only what is there.
        name: Of a tracker.
    """

    table: int
    config: ModelConfig
    paper: dict[str, float]
    name: str = ""

    @property
    def key(self) -> str:
        """A name by which figures of several ways of running it are put together."""
        c = self.config
        score = ", score" if c.score_head else ""
        return self.name or (
            f"{c.depth} layers, MLP {c.mlp_ratio:g}, {c.search_size}, {HEADS[c.box_head]}{score}"
        )


@cache
def paper_tables() -> dict[str, Any]:
    """The numbers of the paper, as they are printed."""
    text = files(__package__).joinpath("tables.json").read_text("utf-8")
    tables: dict[str, Any] = json.loads(text)
    return tables


def paper_rows() -> list[Row]:
    """The trackers B, S and our T, then the rows of Table 1 and of Table 2.

    Example:
        >>> row = paper_rows()[3]
        >>> row.key, row.paper["gflops"]
        ('8 layers, MLP 4, 288, pyramidal corner, score', 27.2)
    """
    tables = paper_tables()
    rows = [
        Row(0, model_config(line["model"]), _printed(line), line["name"])
        for line in tables["trackers"]
    ]
    base = model_config("mixformerv2_b")
    for line in tables["table1"]["rows"]:
        config = _with_head(base, line["head"], line["score"])
        rows.append(Row(1, replace(config, depth=line["layers"]), _printed(line)))
    plain = _with_head(base, "corner", score=False)
    for line in tables["table2"]["rows"]:
        size = line["search_size"]
        config = replace(
            plain,
            depth=line["layers"],
            mlp_ratio=float(line["mlp_ratio"]),
            search_size=size,
            template_size=112 if size == 224 else 128,
        )
        rows.append(Row(2, config, _printed(line)))
    return rows


def counts(config: ModelConfig) -> dict[str, float]:
    """What is known of a network without running it.

    `gflops_linear_one_template` is the way in which the paper's 22.5 G come out (22.4 G):
    multiply-adds of linear layers, convolutions and the patch projection with one template, without
    attention. `gflops` counts attention and both templates too; `gflops_kept` what runs on a frame
    where keys and values of the templates are kept.
    """
    alone = multiply_adds(config, cached=False, templates=1, attention=False)
    return {
        "parameters_m": parameters(config) / 1e6,
        "gflops_linear_one_template": alone / 1e9,
        "gflops": multiply_adds(config, cached=False) / 1e9,
        "gflops_kept": multiply_adds(config) / 1e9,
        "head_gflops": box_head_multiply_adds(config) / 1e9,
    }


def head_loads() -> dict[str, int]:
    """Multiply-adds of the localisation heads of section S.5, for B's 288-pixel search crop.

    Example:
        >>> head_loads()["tokens"]
        2580480
    """
    base = model_config("mixformerv2_b", bins=72)
    return {
        name: box_head_multiply_adds(_with_head(base, head, score=False))
        for head, name in HEADS.items()
    }


def _with_head(config: ModelConfig, head: str, score: bool) -> ModelConfig:
    kinds: dict[str, BoxHeadKind] = {
        "four_tokens_shared": "four_tokens_shared",
        "corner": "corner",
        "corner_pyramid": "corner_pyramid",
    }
    return replace(config, box_head=kinds[head], score_head=score)


def _printed(line: dict[str, Any]) -> dict[str, float]:
    return {key: float(line[key]) for key in ("cpu_fps", "gpu_fps", "gflops") if key in line}
