"""An insight as one PNG (matplotlib, extra `eval`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from .attention import SIDES
from .frame import Insight

__all__ = ["save_picture"]

_COLOURS = ("#e8590c", "#1c7ed6", "#ae3ec9", "#2b8a3e")
"""Of left, top, right, bottom: they differ in brightness as well as in hue."""


def save_picture(insight: Insight, path: str | Path) -> Path:
    """Draw the crop with its four distributions, and where each token looks, layer by layer.

    Attention is the mean over heads; on templates it is that of the last layer.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    path = Path(path)
    layers, _, tokens = insight.attention.search.shape[:3]
    figure = Figure(figsize=(9.6, 5.2 + 1.9 * layers), dpi=100, layout="constrained")
    figures: Any = figure.subfigures(2, 1, height_ratios=[5.2, 1.9 * layers])
    top, bottom = figures
    _draw_distributions(top, insight)
    grid = bottom.subplots(layers, tokens, squeeze=False)
    for layer in range(layers):
        for token in range(tokens):
            axes = grid[layer][token]
            axes.imshow(_heat(insight.search, insight.attention.search[layer, :, token].mean(0)))
            _bare(axes)
            if layer == 0:
                axes.set_title(_token_name(token, tokens), fontsize=10)
        grid[layer][0].set_ylabel(f"layer {layer + 1}", fontsize=10)
    try:
        figure.savefig(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _draw_distributions(figure: Any, insight: Insight) -> None:
    """The crop; left and right above it, top and bottom beside it; the templates on the right."""
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    grid = figure.add_gridspec(1, 2, width_ratios=[3, 1.2])
    main = figure.add_subplot(grid[0])
    around = make_axes_locatable(main)  # keeps both plots as long as the crop's sides
    above = around.append_axes("top", size="28%", pad=0.05, sharex=main)
    beside = around.append_axes("right", size="28%", pad=0.05, sharey=main)
    size, bins = insight.search.shape[0], insight.probs.shape[1]
    main.imshow(insight.search[..., ::-1], extent=(0, 1, 1, 0), interpolation="nearest")
    for box, colour, line, name in (
        (insight.truth, "#40c057", "-", "truth"),
        (insight.box, "#fa5252", "-", "network's box"),
        (insight.answer, "#ffd43b", "--", "answer"),
    ):
        if box is not None:
            x1, y1, x2, y2 = box
            xs, ys = [x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1]
            main.plot(xs, ys, line, color=colour, lw=2, label=name)
    main.legend(loc="lower left", fontsize=8)
    main.set(xlim=(0, 1), ylim=(1, 0))
    main.set_xlabel(f"search crop, {size} px; frame {insight.result.frame}", fontsize=9)
    places = np.arange(bins) / bins
    for side in range(4):
        label = f"{SIDES[side]}  {insight.entropy[side]:.2f}"
        if side % 2 == 0:
            above.fill_between(places, insight.probs[side], alpha=0.5, color=_COLOURS[side])
            above.plot(places, insight.probs[side], color=_COLOURS[side], label=label)
        else:
            beside.fill_betweenx(places, insight.probs[side], alpha=0.5, color=_COLOURS[side])
            beside.plot(insight.probs[side], places, color=_COLOURS[side], label=label)
    main.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    for axes, place in ((above, "upper right"), (beside, "lower right")):
        axes.legend(fontsize=8, title="entropy", title_fontsize=8, loc=place)
        axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    score = f"score {insight.result.score:.2f}, {insight.result.state}"
    # Of the whole figure: its layout leaves no room for what stands above `above`.
    title = f"{insight.model}: {score}"
    figure.suptitle(title, fontsize=11, x=0.02, ha="left", parse_math=False)
    count = len(insight.templates)
    inner = grid[1].subgridspec(count, 1)
    for i, template in enumerate(insight.templates):
        axes = figure.add_subplot(inner[i])
        heat = insight.attention.templates[-1, :, :, i].mean((0, 1))
        axes.imshow(_heat(template, heat))
        axes.set_title(f"template {i + 1}, looked at by all tokens", fontsize=8)
        _bare(axes)


def _heat(image: NDArray[np.uint8], shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A BGR crop in grey under a heat map of shares `[rows, columns]`, as RGB."""
    side = 256
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2RGB)
    grey = cv2.resize(grey, (side, side), interpolation=cv2.INTER_LINEAR)
    scaled = (shares / max(float(shares.max()), 1e-9) * 255).astype(np.uint8)
    wide = cv2.resize(scaled, (side, side), interpolation=cv2.INTER_CUBIC)
    colour = cv2.cvtColor(cv2.applyColorMap(wide, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.addWeighted(grey, 0.45, colour, 0.75, 0), np.uint8)


def _token_name(token: int, tokens: int) -> str:
    return SIDES[token] if tokens == 4 else "the one token"


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
