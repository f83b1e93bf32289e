"""The REST half of the API: jobs, boxes, tracking."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from .. import __version__
from ..box import Box
from . import schemas
from .files import DOWNLOADS
from .job import Job
from .params import OCTETS, Frame, Number, TheJob, TheStore, problems, result_rows
from .refused import RefusedError, writing
from .tasks import has_attention
from .uploads import receive, shown_name, too_large

if TYPE_CHECKING:
    from .settings import Settings

__all__ = ["router"]

router = APIRouter(prefix="/api", responses=problems(422))

Name = Annotated[str, Query(max_length=1000, description="What to call it.", examples=["clip.mp4"])]


@router.get("/info", tags=["server"], response_model=schemas.Info)
async def info(request: Request, store: TheStore) -> dict[str, Any]:
    """What this server is, what it takes, and which videos and cameras it offers."""
    settings: Settings = request.app.state.settings
    limits = store.limits
    return {
        "version": __version__,
        "model": Path(settings.model).name,
        "engine": settings.engine,
        "limits": {n: getattr(limits, n) for n in ("upload_bytes", "seconds", "objects", "pixels")},
        "library": [{"id": n, "name": p.name} for n, p in enumerate(settings.library)],
        "live": [{"id": n, "name": name} for n, (name, _) in enumerate(settings.live)],
        "attention": has_attention(),
        "formats": list(DOWNLOADS),
    }


@router.get("/jobs", tags=["jobs"], response_model=list[schemas.JobOut])
async def list_jobs(store: TheStore) -> list[dict[str, Any]]:
    """All jobs, newest first."""
    jobs = sorted(store.all(), key=lambda job: -job.created)
    return [job.public() for job in jobs]


@router.post(
    "/jobs",
    tags=["jobs"],
    status_code=201,
    response_model=schemas.JobOut,
    responses=problems(408, 413, 415, 422, 429, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": OCTETS}},
        }
    },
)
async def upload(request: Request, store: TheStore, name: Name = "video") -> dict[str, Any]:
    """Make a job of a video: the request's body is the file as it is.

    What it is goes by its content; the name is for people. The answer comes when its first frame
    was decoded. `curl --data-binary @clip.mp4 'http://127.0.0.1:8321/api/jobs?name=clip.mp4'`
    """
    promised = request.headers.get("content-length", "0")
    if promised.isdecimal() and int(promised) > store.limits.upload_bytes:
        raise too_large(store.limits)
    folder = store.new_folder()
    try:
        with writing():
            file = folder.create("upload")
        await receive(request, store.limits, file)
    except BaseException:
        folder.remove()
        raise
    job = await store.add(folder, shown_name(name))
    return job.public()


@router.post(
    "/library/{number}",
    tags=["jobs"],
    status_code=201,
    response_model=schemas.JobOut,
    responses=problems(404, 413, 415, 422, 429, 507),
)
async def open_library(
    number: Annotated[int, InPath(ge=0, le=9999)], request: Request, store: TheStore
) -> dict[str, Any]:
    """Make a job of one of the server's own videos."""
    library = request.app.state.settings.library
    if number >= len(library):
        raise RefusedError(404, f"there is no video {number}; `GET /api/info` lists them")
    folder = store.new_folder()
    job = await store.add(folder, shown_name(library[number].name), library[number])
    return job.public()


@router.get("/jobs/{id}", tags=["jobs"], response_model=schemas.JobOut, responses=problems(404))
async def get_job(job: TheJob) -> dict[str, Any]:
    """A job."""
    return job.public()


@router.delete("/jobs/{id}", tags=["jobs"], status_code=204, responses=problems(404))
async def delete_job(job: TheJob, store: TheStore) -> None:
    """Delete a job and all its files."""
    await store.remove(job)


@router.put(
    "/jobs/{id}/objects/{number}/prompts/{frame}",
    tags=["boxes"],
    response_model=schemas.JobOut,
    responses=problems(404, 409, 413, 422, 507),
)
async def set_prompt(
    job: TheJob, number: Number, frame: Frame, given: schemas.BoxIn, store: TheStore
) -> dict[str, Any]:
    """Give or correct an object's box on a frame.

    Results up to the neighbouring boxes are undone; `track` makes them anew. Tracking that runs is
    paused.
    """
    await store.halt(job, boxes=True)
    job.set_prompt(number, frame, Box.parse(given.box), store.limits.objects)
    return _changed(job)


@router.delete(
    "/jobs/{id}/objects/{number}/prompts/{frame}",
    tags=["boxes"],
    response_model=schemas.JobOut,
    responses=problems(404),
)
async def delete_prompt(
    job: TheJob, number: Number, frame: Frame, store: TheStore
) -> dict[str, Any]:
    """Take a box back; an object without any is gone."""
    await store.halt(job, boxes=True)
    job.remove_prompt(number, frame)
    return _changed(job)


@router.delete(
    "/jobs/{id}/objects/{number}",
    tags=["boxes"],
    response_model=schemas.JobOut,
    responses=problems(404),
)
async def delete_object(job: TheJob, number: Number, store: TheStore) -> dict[str, Any]:
    """Drop an object and its results."""
    await store.halt(job, boxes=True)
    job.remove_object(number)
    return _changed(job)


@router.put(
    "/jobs/{id}/objects/{number}/name",
    tags=["boxes"],
    response_model=schemas.JobOut,
    responses=problems(404, 422, 507),
)
async def set_name(job: TheJob, number: Number, given: schemas.NameIn) -> dict[str, Any]:
    """Say what an object is: it stands in the annotated video and in files for label tools.

    A video that was made before, or that is being drawn, is `outdated` then.
    """
    job.set_name(number, given.name)
    return _changed(job)


def _changed(job: Job) -> dict[str, Any]:
    job.save()
    job.tell()
    return job.public()


@router.post(
    "/jobs/{id}/track",
    tags=["tracking"],
    status_code=202,
    response_model=schemas.TrackOut,
    responses=problems(404, 409, 413, 429, 507),
)
async def track(
    job: TheJob, store: TheStore, how: schemas.TrackIn | None = None
) -> dict[str, bool]:
    """Track what is missing, forward and backward from the boxes given by hand."""
    return {"started": await store.track(job, backward=how.backward if how else job.backward)}


@router.post(
    "/jobs/{id}/pause",
    tags=["tracking"],
    response_model=schemas.JobOut,
    responses=problems(404),
)
async def pause(job: TheJob, store: TheStore) -> dict[str, Any]:
    """End tracking or rendering after the present frame; `track` goes on from there."""
    await store.halt(job)
    return _changed(job)


@router.get(
    "/jobs/{id}/results",
    tags=["tracking"],
    response_model=schemas.ResultsOut,
    responses=problems(404, 409),
)
async def results(
    job: TheJob,
    start: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    stop: Annotated[int | None, Query(ge=0, le=10_000_000)] = None,
) -> Response:
    """Results of all objects, as far as they are."""
    return JSONResponse(await asyncio.to_thread(result_rows, job, start, stop))


@router.get(
    "/jobs/{id}/look/{number}/{frame}",
    tags=["tracking"],
    response_model=schemas.LookOut,
    responses=problems(404, 409, 422, 429),
)
async def look(
    job: TheJob,
    number: Number,
    frame: Frame,
    store: TheStore,
    attention: Annotated[bool, Query(description="Also where it looks; needs PyTorch.")] = False,
) -> dict[str, Any]:
    """What the network sees in a frame, from the box before it, and what it answers."""
    return await store.look(job, number, frame, attention=attention)
