"""Label Studio follows a rectangle that somebody drew: an ML backend for the `VideoRectangle` tag.

Results of a finished run go in as a file instead: `mixformerv2 track --boxes out.labelstudio.json`
writes a task with predictions (`video/formats/labelstudio.py`).

Source: `LabelStudioMLBase` of label-studio-ml, 1.0 and later. Predictions are plain dictionaries,
which all its versions take.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ..errors import ConfigError, DataError
from ..tracking import Tracker, TrackerSettings, TrackState
from ..video.formats.labelstudio import key_of
from ..video.source import SourceLike, open_source

if TYPE_CHECKING:
    from label_studio_ml.model import LabelStudioMLBase

__all__ = ["backend", "follow_regions"]

Region = dict[str, Any]


def backend(
    model: str | Path = "t",
    engine: str = "auto",
    threads: int | None = None,
    settings: TrackerSettings | Mapping[str, Any] | None = None,
    *,
    frames: int = 300,
) -> type[LabelStudioMLBase]:
    """The class that `label_studio_ml.api.init_app` serves.

    With "Auto-Annotation" switched on, a rectangle that is drawn or changed is followed from its
    last key frame on.

    Args:
        model: As for `Tracker`.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
        settings: As for `Tracker`.
        frames: So many frames are followed for one request, for Label Studio waits for the answer.

    Raises:
        ImportError: label-studio-ml is not installed.
        WeightsError, EngineError, ConfigError: as `Tracker` does.

    Example:
        >>> from label_studio_ml.api import init_app  # doctest: +SKIP
        >>> app = init_app(model_class=backend("t"))  # doctest: +SKIP
        >>> app.run(port=9090)  # doctest: +SKIP
    """
    from label_studio_ml.model import LabelStudioMLBase

    if frames < 1:
        raise ConfigError(f"frames must be at least 1, got {frames}")
    tracker = Tracker(model, engine, threads, settings=settings)

    class MixFormerBackend(LabelStudioMLBase):  # type: ignore[misc, unused-ignore]
        """Answers what Label Studio asks while somebody annotates."""

        def predict(
            self, tasks: list[dict[str, Any]], context: Any = None, **_: Any
        ) -> list[dict[str, Any]]:
            """The rectangles of the first task with keys for the frames that follow."""
            regions = (context or {}).get("result") or []
            if not tasks or not regions:
                return []
            key = _data_key(self.label_config, regions[0].get("to_name"))
            # Later versions find files of cloud storages by the task.
            named = signature(self.get_local_path).parameters
            task = {"task_id": tasks[0].get("id")} if "task_id" in named else {}
            video = self.get_local_path(tasks[0]["data"][key], **task)
            followed = follow_regions(tracker, video, regions, frames=frames)
            return [{"result": followed, "model_version": f"mixformerv2-{Path(model).name}"}]

    return MixFormerBackend


@dataclass
class _Followed:
    """One rectangle on its way: where it starts and what is known of it."""

    region: Mapping[str, Any]
    number: int
    percent: tuple[float, float, float, float]
    keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    state: TrackState | None = None

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The rectangle where it starts, in pixels of a frame of that size."""
        x, y, w, h = self.percent
        width, height = size
        return x * width / 100, y * height / 100, w * width / 100, h * height / 100

    def finished(self) -> Region:
        """The region with its own keys and the new ones, in order."""
        value = self.region["value"]
        keys = {**self.keys, **{int(key["frame"]): key for key in value["sequence"]}}
        sequence = [keys[number] for number in sorted(keys)]
        return {**self.region, "value": {**value, "sequence": sequence}}


def follow_regions(
    tracker: Tracker, video: SourceLike, regions: Iterable[Mapping[str, Any]], *, frames: int = 300
) -> list[Region]:
    """Rectangles with keys for the frames after their last key that is switched on.

    Label Studio counts frames by the rate of its `Video` tag, which need not be the video's own:
    frames are matched by their times where the two differ.

    Args:
        tracker: Model and settings; its own target is not touched.
        video: A file.
        regions: Results of an annotation; what is no rectangle of a video is left out.
        frames: So many frames for each.

    Returns:
        The same regions; keys that were there stay as they are. A lost target is switched off.

    Raises:
        DataError: a region that is damaged.
        SourceError: a video that cannot be read.
    """
    begun = [_begin(region) for region in regions if region.get("type") == "videorectangle"]
    followed = [one for one in begun if one is not None]
    if not followed:
        return []
    with open_source(video) as source:
        rate = _rate(followed[0].region)
        fps = source.fps or rate or 24.0  # what its Video tag takes where nobody says
        rate = rate or fps
        same = abs(rate - fps) < 0.01 * fps
        stop = max(one.number for one in followed) + frames
        for frame in source:
            number = frame.index if same else round(frame.time * rate)
            if number > stop:
                break
            if frame.image is not None:
                active = [one for one in followed if one.number <= number <= one.number + frames]
                _step(tracker, active, frame.image, number, 1 / rate)
    return [one.finished() for one in followed]


def _begin(region: Mapping[str, Any]) -> _Followed | None:
    """Where a rectangle's last key that is switched on lies; None where all are off."""
    try:
        keys = sorted(region["value"]["sequence"], key=lambda key: int(key["frame"]))
        enabled = [key for key in keys if key.get("enabled", True)]
        if not enabled:
            return None
        last = enabled[-1]
        x, y, w, h = (float(last[name]) for name in ("x", "y", "width", "height"))
        return _Followed(region, int(last["frame"]) - 1, (x, y, w, h))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"region {region.get('id')!r} is no rectangle of a video as Label Studio writes it: "
            f"{type(error).__name__}: {error}"
        ) from error


def _rate(region: Mapping[str, Any]) -> float | None:
    """Label Studio's frames a second; None where the region does not tell."""
    value = region["value"]
    count, duration = value.get("framesCount"), value.get("duration")
    known = isinstance(count, int | float) and isinstance(duration, int | float)
    if known and 0 < count < math.inf and 0 < duration < math.inf:
        return float(count / duration)
    return None


def _step(
    tracker: Tracker, active: list[_Followed], image: Any, number: int, seconds: float
) -> None:
    """One frame: start what starts here, follow the rest in one pass of the network."""
    size = (image.shape[1], image.shape[0])
    going = [one for one in active if one.state is not None]
    states = [one.state for one in going if one.state is not None]
    for one, (result, state) in zip(going, tracker.step_all(image, states), strict=True):
        one.state = state
        one.keys[number + 1] = key_of(replace(result, frame=number), size, seconds)
    for one in active:
        if one.state is None:
            one.state = tracker.start(image, one.box(size))[1]


def _data_key(config: str | None, name: str | None) -> str:
    """Under which key of a task's data the labelling interface looks for the video."""
    try:
        videos = ElementTree.fromstring(config or "").findall(".//Video")
    except ElementTree.ParseError as error:
        raise DataError(f"the labelling interface is no XML: {error}") from error
    for video in videos:
        if name in (None, video.get("name")):
            return str(video.get("value", "$video")).removeprefix("$")
    raise DataError(f"the labelling interface has no <Video> tag named {name!r}")
