"""An insight as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..weights.files import write_whole
from .attention import SIDES
from .frame import Insight

__all__ = ["save_page"]

_TEMPLATE = Path(__file__).with_name("page.html")


def save_page(insight: Insight, path: str | Path) -> Path:
    """Write a page on which layer, head and token are chosen by hand.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    # "<" never appears in the data, so no name of a video can end the script it stands in.
    data = json.dumps(_data(insight), separators=(",", ":")).replace("<", "\\u003c")
    title = html.escape(f"{insight.source}: frame {insight.result.frame}")
    parts = {"__TITLE__": title, "__DATA__": data}
    # In one pass, for a video may be called like a place in the template.
    text = re.sub("|".join(parts), lambda found: parts[found[0]], _TEMPLATE.read_text("utf-8"))
    write_whole(path, text.encode("utf-8", "backslashreplace"))  # names of files may be no UTF-8
    return path


def _data(insight: Insight) -> dict[str, Any]:
    attention = insight.attention
    layers, heads, tokens, grid, _ = attention.search.shape
    return {
        "model": insight.model,
        "source": insight.source,
        "frame": insight.result.frame,
        "score": round(insight.result.score, 4),
        "state": insight.result.state,
        "scores": [round(score, 3) for score in insight.scores],
        "box": insight.box,
        "truth": insight.truth,
        "answer": insight.answer,
        "sides": SIDES,
        "entropy": [round(float(v), 4) for v in insight.entropy],
        "probs": np.round(insight.probs.astype(float), 5).tolist(),
        "crop": _png(insight.search),
        "templates": [_png(template) for template in insight.templates],
        "layers": layers,
        "heads": heads,
        "tokens": tokens,
        "grid": grid,
        "templateGrid": attention.templates.shape[-1],
        "onTemplates": np.round(attention.templates.sum((3, 4, 5)).astype(float), 4).tolist(),
        "search": _maps(attention.search),
        "template": _maps(attention.templates),
    }


def _maps(shares: NDArray[np.float32]) -> dict[str, Any]:
    """Maps as bytes, each map's largest share at 255, in base64, and those largest shares."""
    peaks = shares.max((-2, -1))
    scaled = np.round(255 * shares / np.maximum(peaks, 1e-12)[..., None, None]).astype(np.uint8)
    return {
        "bytes": base64.b64encode(scaled.tobytes()).decode("ascii"),
        "peaks": [float(f"{peak:.3g}") for peak in peaks.ravel()],
    }


def _png(image: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".png", image)
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")
