"""What workers do: prepare a video for the page, track, look into one frame, render."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import SourceError
from ..tracking.blend import row_of
from ..tracking.crop import Crop
from ..tracking.doubles import Doubles
from ..tracking.result import TrackResult
from ..tracking.state import TrackState
from ..tracking.tracker import Tracker
from ..video.clip import Clip
from ..video.readers import VideoFrame
from ..video.source import open_source
from ..video.writer import VideoWriter
from .media import TooLargeError, check_container
from .tracks import Run, Tracks
from .wire import Messages, Wire

if TYPE_CHECKING:
    from .engines import Engines

__all__ = ["choose", "has_attention", "jpeg", "look", "prepare", "track"]

VIEW_SIDE = 1280  # pixels; what the page plays
THUMB_SIDE = 320
TELL_EVERY = 0.1
"""Seconds between two messages of how far something is."""
_SAVE_EVERY = 3.0

Picture = NDArray[np.uint8]


def choose(task: dict[str, Any], wire: Wire, messages: Messages, engines: Engines) -> None:
    """Say which engine was chosen, by the name under which it can be asked for."""
    info = engines.get()[0].info
    precise = f"-{info.precision}" if info.name == "openvino" else ""
    wire.send("chosen", engine=f"{info.name}{precise}")


def prepare(task: dict[str, Any], wire: Wire, messages: Messages, engines: Engines) -> None:
    """Read a video once: check it, write down its times, make a copy that browsers can play."""
    folder, limits = Path(task["folder"]), task["limits"]
    path = Path(task["source"])
    length = check_container(path, limits["pixels"])
    if length is not None and length > limits["seconds"] + 1:
        raise TooLargeError(_too_long(length, limits))
    with open_source(path) as source:
        width, height = source.size
        if width * height > limits["pixels"]:
            raise TooLargeError(f"frames of {width} x {height} are more than this server takes")
        view = _view_size(width, height)
        first = source.peek()
        _save_jpeg(folder / "first.jpg", cv2.resize(first, view, interpolation=cv2.INTER_AREA))
        _save_jpeg(folder / "thumb.jpg", _thumb(first))
        known: dict[str, Any] = {"width": width, "height": height, "view": view, "fps": source.fps}
        expected = source.count
        wire.send("probed", **known, count=expected)
        times, broken = _write_view(source, folder, view, limits, wire, messages)
        if messages.stopped.is_set():
            return
        note = source.cut_short
    np.array(times, np.float64).tofile(folder / "times.bin")
    wire.send("prepared", **known, count=len(times), broken=broken, note=note)


def _write_view(
    source: Any,
    folder: Path,
    view: tuple[int, int],
    limits: dict[str, Any],
    wire: Wire,
    messages: Messages,
) -> tuple[list[float], list[int]]:
    times: list[float] = []
    broken: list[int] = []
    told = 0.0
    last: Picture = np.zeros((view[1], view[0], 3), np.uint8)
    part = folder / "view.part.mp4"
    with VideoWriter(part, fps=source.fps, quality=21) as writer:
        for frame in source:
            if frame.image is None:
                broken.append(frame.index)
            else:
                last = np.asarray(
                    cv2.resize(frame.image, view, interpolation=cv2.INTER_AREA), np.uint8
                )
            writer.write(last, frame.time)
            times.append(frame.time)
            if len(times) > limits["frames"] or frame.time > limits["seconds"] + 1:
                raise TooLargeError(_too_long(frame.time, limits))
            if messages.stopped.is_set():
                break
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                wire.send("progress", done=len(times), total=source.count)
    os.replace(part, folder / "view.mp4")
    return times, broken


def _too_long(seconds: float, limits: dict[str, Any]) -> str:
    return (
        f"{seconds:.0f} s of video are more than this server takes, which is "
        f"{limits['seconds']:.0f} s and {limits['frames']} frames; cut the video"
    )


def _view_size(width: int, height: int) -> tuple[int, int]:
    """Even sides, because H.264 wants them."""
    scale = min(1.0, VIEW_SIDE / max(width, height))
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


def _thumb(image: Picture) -> Picture:
    scale = THUMB_SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _save_jpeg(path: Path, image: Any) -> None:
    path.write_bytes(jpeg(image))


def jpeg(image: Any, quality: int = 88) -> bytes:
    """A picture as JPEG."""
    good, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise SourceError("a frame cannot be shown")
    return bytes(data.tobytes())


def track(task: dict[str, Any], wire: Wire, messages: Messages, engines: Engines) -> None:
    """Make the runs that are asked for, and tell each result as it comes."""
    times = np.fromfile(Path(task["folder"]) / "times.bin", np.float64)
    tracks = Tracks(Path(task["folder"]), len(times), writable=True)
    clip = Clip(Path(task["source"]), times)
    engine, config = engines.get()
    info = engine.info
    wire.send("engine", name=config.name, engine=f"{info.name} {info.precision}")
    tracker = Tracker.with_engine(engine, config)
    boxes = {int(n): {int(f): Box(*b) for f, b in g.items()} for n, g in task["prompts"].items()}
    for one in task["runs"]:
        run = Run(tuple(one[0]), *one[1:])
        _Pass(run, tracks, clip, tracker, boxes, wire).go(messages)
        if messages.stopped.is_set():
            break
    wire.send("tracked", stopped=messages.stopped.is_set())


class _Pass:
    """One run over the frames between two prompts."""

    def __init__(
        self,
        run: Run,
        tracks: Tracks,
        clip: Clip,
        tracker: Tracker,
        boxes: dict[int, dict[int, Box]],
        wire: Wire,
    ) -> None:
        self._run = run
        self._folder = tracks.folder
        self._clip = clip
        self._tracker = tracker
        self._boxes = {number: boxes[number][run.prompt] for number in run.objects}
        self._wire = wire
        self._rows = {number: tracks.rows(number, run.direction) for number in run.objects}
        self._states: dict[int, TrackState] = {}
        self._doubles = Doubles(tracker.settings.apart and tracker.has_score)
        for number in self._boxes:
            self._doubles.begin(number, self._boxes)
        self._untold: list[list[float]] = []
        self._told = self._saved = time.monotonic()

    def go(self, messages: Messages) -> None:
        """Track to the end of the run, or until a stop is asked for."""
        frame = None
        for frame in self._frames():
            self._take(frame)
            now = time.monotonic()
            if now - self._told > TELL_EVERY:
                self._tell(now)
            if now - self._saved > _SAVE_EVERY:
                self._save(frame.index)
                self._saved = now
            if messages.stopped.is_set():
                break
        self._tell(time.monotonic())
        if frame is not None:
            self._save(frame.index)

    def _frames(self) -> Iterator[VideoFrame]:
        run = self._run
        forward = run.direction == "forward"
        step = 1 if forward else -1
        saved = self._load((run.frontier - run.prompt) * step)
        begin = run.prompt if saved is None else saved + step
        frames = self._clip.forward if forward else self._clip.backward
        return frames(begin, run.stop)

    def _take(self, frame: VideoFrame) -> None:
        results = self._answers(frame)
        for number, result in results.items():
            row = row_of(result)
            self._rows[number][frame.index] = row
            self._untold.append([number, frame.index, *row])

    def _answers(self, frame: VideoFrame) -> dict[int, TrackResult]:
        if not self._states:
            given = self._boxes.items()
            if frame.image is None:  # the given box waits for the first frame that can be read
                return {n: TrackResult(box.xywh, 0.0, "lost", 0, 0.0) for n, box in given}
            started = {n: self._tracker.start(frame.image, b, frame.time) for n, b in given}
            self._keep(frame.index, {n: state for n, (_, state) in started.items()})
            return {n: result for n, (result, _) in started.items()}
        before = self._states
        if frame.image is None:
            answers = {n: self._tracker.miss(state, frame.time) for n, state in before.items()}
        else:
            found = self._tracker.step_all(frame.image, list(before.values()), frame.time)
            answers = dict(zip(before, found, strict=True))
            answers = self._doubles.settle(self._tracker, frame.image, before, answers)
        self._keep(frame.index, {n: state for n, (_, state) in answers.items()})
        return {n: result for n, (result, _) in answers.items()}

    def _keep(self, frame: int, states: dict[int, TrackState]) -> None:
        """Go on from these states; on disk, each set of templates for `look`."""
        for number, state in states.items():
            before = self._states.get(number)
            if before is None or before.templates.pair is not state.templates.pair:
                name = f"look-{number}-{self._run.direction}-{self._run.prompt}-{frame}.bin"
                _write_whole(self._folder / name, state.to_bytes())
        self._states = states

    def _tell(self, now: float) -> None:
        if self._untold:
            self._wire.send("rows", direction=self._run.direction, rows=self._untold)
            self._untold = []
        self._told = now

    def _checkpoint(self, number: int) -> Path:
        return self._folder / f"state-{number}-{self._run.direction}.bin"

    def _save(self, frame: int) -> None:
        for number, state in self._states.items():
            head = json.dumps({"prompt": self._run.prompt, "frame": frame}).encode()
            _write_whole(self._checkpoint(number), head + b"\n" + state.to_bytes())

    def _load(self, most: int) -> int | None:
        """Take up the states that the last run left; the frame that they are of, if there are any.

        Args:
            most: Frames of this run that have results. A killed worker has tracked some more
                frames than its last state knows of: those are tracked again.
        """
        states, frames = {}, set()
        for number in self._run.objects:
            with contextlib.suppress(OSError, ValueError, KeyError):  # StateError is a ValueError
                head, _, data = self._checkpoint(number).read_bytes().partition(b"\n")
                saved = json.loads(head)
                if saved["prompt"] == self._run.prompt:
                    states[number] = TrackState.from_bytes(data)
                    frames.add(int(saved["frame"]))
        if len(states) < len(self._run.objects) or len(frames) != 1:
            return None
        frame = frames.pop()
        if not 0 <= abs(frame - self._run.prompt) < most:
            return None
        self._states = states
        return frame


def _write_whole(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(data)
    os.replace(part, path)


def look(task: dict[str, Any], wire: Wire, messages: Messages, engines: Engines) -> None:
    """What the network sees and answers in one frame: crops, templates, sides, box."""
    times = np.fromfile(Path(task["folder"]) / "times.bin", np.float64)
    clip = Clip(Path(task["source"]), times)
    engine, config = engines.get()
    tracker = Tracker.with_engine(engine, config)
    if task["state"] is None:  # nothing was tracked from this prompt yet
        prompt, *box = task["prompt"]
        _, state = tracker.start(_decoded(clip.frame(prompt)), box)
    else:
        state = TrackState.from_bytes(Path(task["state"]).read_bytes())
    frame = clip.frame(task["frame"])
    image = _decoded(frame)
    height, width = image.shape[:2]
    # Rows are answers, drawn as the given box was; the network's own is what the tracker goes by.
    box = Box(*task["box"]) if task["given"] else state.style.undone(Box(*task["box"]))
    state = replace(state, box=box, given=task["given"], frame_size=(width, height))
    settings = tracker.settings
    crop = Crop.around(state.box, settings.search_factor, settings.search_size)
    search = crop.take(image)
    out = engine.step(search[None], engine.encode_templates(state.templates.pair[None]))
    found = crop.unit_to_frame(out.boxes[0]).clip(width, height, settings.min_size)
    result, _ = tracker.step(image, state, frame.time)
    wire.send(
        "looked",
        frame=frame.index,
        box=result.box,
        found=found.xywh,
        score=result.score,
        state=result.state,
        search=[crop.center[0] - crop.side / 2, crop.center[1] - crop.side / 2, crop.side],
        templates=[_inline(one) for one in state.templates.pair],
        online=not state.templates.online_is_first,
        crop=_inline(search),
        sides=[[round(float(p), 6) for p in side] for side in out.probs[0]],
        attention=_attention(engines.model, state.templates.pair, search)
        if task["attention"]
        else None,
    )


def has_attention() -> bool:
    """Whether `look` can show attention, which takes PyTorch."""
    return find_spec("torch") is not None and find_spec("safetensors") is not None


def _attention(model: str, templates: Picture, search: Picture) -> list[list[list[float]]]:
    """Where in the search crop the prediction tokens look: `[layers, rows, columns]`.

    The mean over heads and tokens. Engines do not give it away: PyTorch runs the network again.
    """
    import torch

    from ..explain.attention import prediction_attention
    from ..export.graphs import Preprocess
    from ..weights.bundle import find_bundle, load_model, read_config

    folder = find_bundle(model)
    config = read_config(folder)
    prepare = Preprocess(config.mean, config.std)
    first, online, crop = (
        prepare(torch.from_numpy(np.ascontiguousarray(one[None]))) for one in (*templates, search)
    )
    seen = prediction_attention(load_model(folder).eval(), (first, online), crop)
    heat = seen.search.mean(axis=(1, 2))  # heads, tokens
    return [[[round(float(v), 6) for v in row] for row in layer] for layer in heat]


def _decoded(frame: VideoFrame) -> Picture:
    if frame.image is None:
        raise SourceError(f"frame {frame.index} cannot be decoded")
    return frame.image


def _inline(picture: Picture) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture, 92)).decode()
