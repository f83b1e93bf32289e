"""What an early exit could save, and what the network knows by then.

    python scripts/early_exit.py t --root .work/validation --every 4

The tracker follows every sequence as it is. In some of its frames the heads also read the
prediction tokens of earlier layers, as they would for an early exit without training. For each
layer the table has the multiply-adds that are saved if every frame ends there, the mean IoU of its
box with the last layer's, and the same of those frames whose score there is above a threshold, with
their share.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from try_settings import PROJECT

from mixformerv2.box import Box, iou
from mixformerv2.errors import MixFormerError
from mixformerv2.evaluation.benchmarks import read_sequences
from mixformerv2.export.graphs import Preprocess
from mixformerv2.models.count import multiply_adds
from mixformerv2.models.mixformerv2 import MixFormerV2
from mixformerv2.runtime.base import StepOutput
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking.tracker import Tracker
from mixformerv2.weights.bundle import find_bundle, load_model, read_config

Row = tuple[int, float, float]
"""A layer, the IoU of its box with the last layer's, and its score."""


class Probe:
    """The engine `onnx`, and every so many steps PyTorch's answers after each layer."""

    def __init__(self, bundle: str, every: int) -> None:
        folder = find_bundle(bundle)
        self.engine = load_engine(bundle, "onnx", threads=1)[0]
        self.info = self.engine.info
        self.config = read_config(folder)
        network = load_model(folder)
        if not isinstance(network, MixFormerV2):
            raise MixFormerError(f"{bundle} has no prediction tokens to exit with")
        self.network = network
        self.prepare = Preprocess(self.config.mean, self.config.std)
        torch.set_num_threads(1)
        self.every = every
        self.steps = 0
        self.rows: list[Row] = []

    def encode_templates(self, templates: NDArray[np.uint8]) -> Any:
        """As the engine."""
        return self.engine.encode_templates(templates)

    def step(self, search: NDArray[np.uint8], memory: Any) -> StepOutput:
        """As the engine; some steps are looked into."""
        out = self.engine.step(search, memory)
        if self.steps % self.every == 0:
            self._look(search, memory, out)
        self.steps += 1
        return out

    @torch.inference_mode()
    def _look(self, search: NDArray[np.uint8], memory: Any, out: StepOutput) -> None:
        # ONNX graphs keep tokens before heads.
        kept = torch.from_numpy(np.asarray(memory)).transpose(3, 4)
        pairs = [(layer[0], layer[1]) for layer in kept]
        looked = self.network.backbone.look(self.prepare(torch.from_numpy(search)), pairs)
        last = Box.from_xyxy(*map(float, out.boxes[0]))
        for number, tokens in enumerate(looked[:-1], start=1):
            found = self.network.read(tokens[:, -self.network.config.prediction_tokens :])
            left, top, right, bottom = map(float, found.boxes[0])
            box = Box.from_xyxy(left, top, max(right, left + 1e-6), max(bottom, top + 1e-6))
            score = 1.0 if found.score is None else float(found.score.sigmoid()[0])
            self.rows.append((number, iou(box.xywh, last.xywh), score))


def main() -> int:
    """Track, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("bundle")
    parser.add_argument("--root", type=Path, default=PROJECT / ".work" / "validation")
    parser.add_argument("--every", type=int, default=4, help="look into one step of so many")
    parser.add_argument("--above", type=float, default=0.9, help="score that would end a frame")
    args = parser.parse_args()
    try:
        probe = Probe(args.bundle, args.every)
        for sequence in read_sequences(args.root):
            tracker = Tracker.with_engine(probe, probe.config)
            for index in range(len(sequence.first(300))):
                frame = sequence.frame(index)
                if index == 0:
                    tracker.init(frame, sequence.truth[0])
                else:
                    tracker.update(frame)
    except MixFormerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print_table(probe, args.above)
    return 0


def print_table(probe: Probe, above: float) -> None:
    """The layers as Markdown."""
    arch = probe.network.config
    print(
        "| exit after layer | multiply-adds saved | IoU with the last layer's box | "
        f"frames scored above {above:g} | IoU in those |"
    )
    print("|---|---|---|---|---|")
    for layer in range(1, arch.depth):
        found = np.array([row[1:] for row in probe.rows if row[0] == layer])
        sure = found[found[:, 1] > above, 0]
        # All of the exit layer's tokens are made, for the frames that go on; what the heads' tokens
        # cost in one layer more, as counted here, is less than a hundredth.
        saved = 1 - multiply_adds(replace(arch, depth=layer + 1)) / multiply_adds(arch)
        inside = f"{sure.mean():.2f}" if len(sure) else "none"
        print(
            f"| {layer} of {arch.depth} | up to {100 * saved:.0f} % | {found[:, 0].mean():.2f} | "
            f"{100 * len(sure) / len(found):.0f} % | {inside} |"
        )


if __name__ == "__main__":
    raise SystemExit(main())
