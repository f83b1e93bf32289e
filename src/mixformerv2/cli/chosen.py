"""Options that several commands have, tracker settings among them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..tracking import MultiTracker, Tracker

__all__ = [
    "Labels",
    "LongTerm",
    "SelectPort",
    "Sets",
    "Sound",
    "Thin",
    "TrackerChoice",
    "WithoutLost",
    "chosen_settings",
]

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME",
        help="What the object is, in the video, COCO, CVAT and Label Studio. Once for all objects, "
        "or once for each in their order.",
    ),
]
LongTerm = Annotated[
    bool,
    typer.Option("--long-term", help="Look for a lost target in the whole frame, tile by tile."),
]
SelectPort = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        help="Of the page on which the box is drawn, for a tunnel; a free one else, as with 0.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A tracker setting in place of the model's, such as search_lead=1 or mirror=true; "
        "docs/tracker.md has them all. May be repeated.",
    ),
]
Sound = Annotated[
    bool,
    typer.Option("--sound/--no-sound", help="Keep the sound of a video file in the drawn video."),
]
Thin = Annotated[
    float,
    typer.Option(
        "--thin",
        min=0,
        max=1e6,  # which infinity is beyond
        metavar="PIXELS",
        help="In CVAT and Label Studio, a key frame only where the box leaves a straight line by "
        "more than this; 0 makes one of each frame.",
    ),
]
WithoutLost = Annotated[
    bool,
    typer.Option(
        "--without-lost",
        help="Leave out boxes of frames in which the target is lost, in CSV, MOT and COCO. The "
        "journal has all; CVAT and Label Studio hide them there.",
    ),
]


@dataclass(frozen=True, slots=True)
class TrackerChoice:
    """Which tracker runs, as `Tracker` takes it; loaded where it is needed."""

    model: str
    engine: str = "auto"
    threads: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def one(self) -> Tracker:
        """For one object at a time."""
        from ..tracking import Tracker

        return Tracker.for_video(self.model, self.engine, self.threads, self.settings)

    def many(self) -> MultiTracker:
        """For all objects at once."""
        from ..tracking import MultiTracker

        return MultiTracker.around(self.one())


def chosen_settings(sets: Iterable[str] | None, *, long_term: bool = False) -> dict[str, Any]:
    """The settings as a table; what they may be is checked where they meet a model.

    Raises:
        ConfigError: not `NAME=VALUE`.

    Example:
        >>> chosen_settings(["search_lead=0.5", "mirror=true"], long_term=True)
        {'search_lead': 0.5, 'mirror': True, 'long_term': True}
    """
    found: dict[str, Any] = {}
    for pair in sets or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {pair!r} must be NAME=VALUE, such as search_lead=1")
        try:
            # JSON and not YAML, which the runtime does without.
            found[name.strip()] = json.loads(text.lower())
        except ValueError as error:
            raise ConfigError(f"--set {pair!r}: a value is a number, true or false") from error
    return found | ({"long_term": True} if long_term else {})
