"""What goes over the API, with examples for its description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BoxIn",
    "Info",
    "JobOut",
    "LiveSource",
    "LookOut",
    "NameIn",
    "ObjectOut",
    "ObjectRows",
    "Problem",
    "Progress",
    "PromptOut",
    "ResultsOut",
    "SourceOut",
    "TrackIn",
    "TrackOut",
    "VideoOut",
]

_Pixel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Side = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
# Lists of a fixed length: readers of OpenAPI stumble over the way in which tuples are written.
_Row = Annotated[list[float], Field(min_length=6, max_length=6)]
_Box = Annotated[list[float], Field(min_length=4, max_length=4)]
_Square = Annotated[list[float], Field(min_length=3, max_length=3)]
_Size = Annotated[list[int], Field(min_length=2, max_length=2)]
_Status = Literal["preparing", "ready", "waiting", "tracking", "rendering", "failed"]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(examples=["draw a box first"])


class BoxIn(BaseModel):
    """A box drawn by hand: x, y of its top left corner, width, height, in pixels of the video."""

    model_config = ConfigDict(extra="forbid")
    box: tuple[_Pixel, _Pixel, _Side, _Side] = Field(examples=[[175.08, 136.59, 92.93, 86.37]])


class NameIn(BaseModel):
    """What an object is; nothing takes it back."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=100, examples=["cup"])


class TrackIn(BaseModel):
    """How to track."""

    model_config = ConfigDict(extra="forbid")
    backward: bool = Field(True, description="Also frames before an object's first box.")


class TrackOut(BaseModel):
    """Whether there was anything to do."""

    started: bool = Field(examples=[True])


class Progress(BaseModel):
    """Frames done, and in all where that is known."""

    done: int
    total: int | None


class VideoOut(BaseModel):
    """The video of a job; `count` and `broken` are known once it was read to its end."""

    width: int = Field(examples=[640])
    height: int = Field(examples=[360])
    view: _Size = Field(description="Size of the copy that the page plays.")
    fps: float | None = Field(examples=[30.0])
    count: int | None = Field(examples=[128])
    broken: list[int] = Field(default=[], description="Frames that cannot be decoded.")
    note: str | None = Field(None, description="Why the video ends before its header says.")


class PromptOut(BaseModel):
    """A box given by hand."""

    frame: int = Field(examples=[0])
    box: _Box = Field(examples=[[175.08, 136.59, 92.93, 86.37]])


class ObjectOut(BaseModel):
    """An object and its boxes given by hand."""

    id: int = Field(examples=[1])
    name: str | None = Field(None, description="What it is.", examples=["cup"])
    prompts: list[PromptOut]


class JobOut(BaseModel):
    """A job."""

    id: str = Field(examples=["fPOLTZjh7DAXKUSEYm10aw"])
    name: str = Field(examples=["clip.mp4"])
    created: float = Field(description="Seconds since the epoch.", examples=[1764000000.0])
    status: _Status
    video: VideoOut | None
    objects: list[ObjectOut]
    backward: bool
    wanted: bool = Field(description="Whether it is tracked, or will be when the video is read.")
    revision: int = Field(description="Counts changes that undo results or the annotated video.")
    rendered: bool = Field(description="Whether the annotated video is there.")
    outdated: bool = Field(
        description="Whether an annotated video was made that a change has overtaken since, or "
        "while it was drawn, as a name does: `render` makes it anew."
    )
    engine: dict[str, str] | None = Field(examples=[{"name": "t", "engine": "onnx fp32"}])
    error: str | None
    pending: int = Field(description="Frames that are still to be tracked, once each way.")
    progress: Progress | None


class ObjectRows(BaseModel):
    """One row a frame: x, y, w, h, score, state (0 tracked, 1 uncertain, 2 lost), or null."""

    id: int
    rows: list[_Row | None] = Field(examples=[[[175.08, 136.59, 92.93, 86.37, 1.0, 0], None]])


class ResultsOut(BaseModel):
    """Results of all objects from frame `start` on."""

    revision: int
    start: int
    times: list[float] = Field(description="Seconds of each frame.")
    objects: list[ObjectRows]


class LookOut(BaseModel):
    """What the network sees and answers in one frame. Pictures are `data:` addresses."""

    frame: int
    box: _Box = Field(description="What is answered.")
    found: _Box = Field(description="The network's own box, whose sides `sides` tell of.")
    score: float
    state: Literal["tracked", "uncertain", "lost"]
    search: _Square = Field(description="x, y and side of the search crop.")
    crop: str = Field(description="The search crop.")
    templates: list[str] = Field(description="The first template, and the one in use beside it.")
    online: bool = Field(description="Whether the second template is a later one.")
    attention: list[list[list[float]]] | None = Field(
        None,
        description="Where in the crop the prediction tokens look, by layer, if it was asked for.",
    )
    sides: list[list[float]] = Field(
        description="Distributions of left, top, right and bottom over the crop."
    )


class SourceOut(BaseModel):
    """A video of the server that a job can be made of."""

    id: int
    name: str = Field(examples=["demo.mp4"])


class LiveSource(BaseModel):
    """A camera or stream of the server."""

    id: int
    name: str = Field(examples=["camera 0"])


class Info(BaseModel):
    """What this server is and takes."""

    version: str
    model: str = Field(examples=["t"])
    engine: str = Field(examples=["auto"])
    limits: dict[str, float]
    library: list[SourceOut]
    live: list[LiveSource]
    attention: bool = Field(description="Whether `look` can show attention.")
    formats: list[str] = Field(examples=[["csv", "coco"]])
