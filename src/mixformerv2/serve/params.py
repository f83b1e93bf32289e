"""What all paths of the API share: types of parameters, refusals for the description, jobs."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import Depends, Request
from fastapi import Path as InPath

from . import schemas
from .job import Job
from .refused import RefusedError
from .store import Store

__all__ = [
    "OCTETS",
    "Frame",
    "Id",
    "Number",
    "TheJob",
    "TheStore",
    "problems",
    "result_rows",
]

_TEXTS = {
    401: "The token is missing.",
    403: "From a page of another site, or under a name that the server does not know.",
    404: "There is no such thing.",
    408: "Nothing came for too long.",
    409: "Not in this state of the job.",
    413: "Too large or too long.",
    415: "Not a video that is taken.",
    422: "Cannot be done with these values.",
    429: "Too much at once; `Retry-After` says when to try again.",
    507: "The folder of jobs or the disk is full.",
}


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Refusals, for the description of the API."""
    return {c: {"model": schemas.Problem, "description": _TEXTS[c]} for c in (401, 403, *codes)}


Id = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{22}$", examples=["fPOLTZjh7DAXKUSEYm10aw"])]
Frame = Annotated[int, InPath(ge=0, le=10_000_000, examples=[0])]
Number = Annotated[int, InPath(ge=1, le=9999, examples=[1])]
OCTETS = {"type": "string", "format": "binary"}


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _job(id: Id, request: Request) -> Job:  # noqa: A002
    return _store(request).get(id)


TheStore = Annotated[Store, Depends(_store)]
TheJob = Annotated[Job, Depends(_job)]


def result_rows(job: Job, start: int, stop: int | None) -> dict[str, Any]:
    """Results of all objects from one frame to another, as the API gives them.

    Raises:
        RefusedError: the video has not been read yet.
    """
    if not job.prepared:
        raise RefusedError(409, "this video has not been read to its end yet")
    objects = []
    for number, given in sorted(job.prompts.items()):
        merged = job.tracks.merged(number, given, start, stop)
        none = np.isnan(merged[:, 0])
        rows = [
            None if out else [*row[:5], int(row[5])]
            for out, row in zip(none, merged.tolist(), strict=True)
        ]
        objects.append({"id": number, "rows": rows})
    times = job.times()[start:stop].tolist()
    return {"revision": job.revision, "start": start, "times": times, "objects": objects}
