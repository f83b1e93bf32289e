"""The REST half of the API: jobs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse

from .. import __version__
from ..box import Box
from ..video.formats import FORMATS
from . import schemas
from .job import Job, RefusedError
from .media import REFUSED, SNIFF_BYTES, looks_like_video
from .store import TOOL, Store
from .tasks import jpeg

if TYPE_CHECKING:
    from .app import Settings

__all__ = ["router"]

DOWNLOADS = (*FORMATS, "json", "mp4")
_MIME = {
    "csv": "text/csv",
    "mot": "text/plain",
    "cvat": "application/xml",
    "jsonl": "application/jsonl",
    "mp4": "video/mp4",
}
_LONGEST_NAME = 120
_FRAME_HEADERS = {"Cache-Control": "private, max-age=86400, immutable"}

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
    507: "The folder of jobs is full.",
}


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Refusals, for the description of the API."""
    return {c: {"model": schemas.Problem, "description": _TEXTS[c]} for c in (401, 403, *codes)}


router = APIRouter(prefix="/api", responses=problems(422))

Id = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{22}$", examples=["fPOLTZjh7DAXKUSEYm10aw"])]
Frame = Annotated[int, InPath(ge=0, le=10_000_000, examples=[0])]
Number = Annotated[int, InPath(ge=1, le=9999, examples=[1])]
Name = Annotated[str, Query(max_length=1000, description="What to call it.", examples=["clip.mp4"])]
_OCTETS = {"type": "string", "format": "binary"}
_MEDIA: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {"schema": _OCTETS}}}
}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"description": "A JPEG.", "content": {"image/jpeg": {"schema": _OCTETS}}}
}


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _job(id: Id, request: Request) -> Job:  # noqa: A002
    return _store(request).get(id)


TheStore = Annotated[Store, Depends(_store)]
TheJob = Annotated[Job, Depends(_job)]


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
        "formats": list(DOWNLOADS),
    }


@router.get("/jobs", tags=["jobs"], response_model=list[schemas.JobOut])
async def list_jobs(store: TheStore) -> list[dict[str, Any]]:
    """All jobs, newest first."""
    jobs = sorted(store.jobs.values(), key=lambda job: -job.created)
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
            "content": {"application/octet-stream": {"schema": _OCTETS}},
        }
    },
)
async def upload(request: Request, store: TheStore, name: Name = "video") -> dict[str, Any]:
    """Make a job of a video: the request's body is the file as it is.

    What it is goes by its content; the name is for people. The answer comes when its first frame
    was decoded. `curl --data-binary @clip.mp4 'http://127.0.0.1:8000/api/jobs?name=clip.mp4'`
    """
    promised = request.headers.get("content-length", "0")
    if promised.isdecimal() and int(promised) > store.limits.upload_bytes:
        raise _too_large(store)
    folder = store.new_folder()
    try:
        await _receive(request, store, folder.file("upload"), folder.create("upload"))
    except BaseException:
        folder.remove()
        raise
    job = await store.add(folder, _shown(name))
    return job.public()


async def _receive(request: Request, store: Store, path: Path, file: Any) -> None:
    """Write the body to disk, and give up as soon as it is clear that it will not do."""
    limit, idle = store.limits.upload_bytes, store.limits.idle_seconds
    head, written, checked = b"", 0, False
    chunks = request.stream().__aiter__()
    with file:
        while True:
            try:
                async with asyncio.timeout(idle):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise RefusedError(408, f"nothing came for {idle:.0f} s; send it again") from None
            if chunk is None:
                break
            written += len(chunk)
            if written > limit:
                raise _too_large(store)
            if not checked:
                head += chunk[:SNIFF_BYTES]
                checked = len(head) >= SNIFF_BYTES
                if checked and not looks_like_video(head):
                    raise RefusedError(415, REFUSED)
            await asyncio.to_thread(file.write, chunk)
    if not written:
        raise RefusedError(415, "the body is empty; send the bytes of a video")
    if not looks_like_video(head):
        raise RefusedError(415, REFUSED)


def _too_large(store: Store) -> RefusedError:
    size = store.limits.upload_bytes / 1e6
    return RefusedError(413, f"this server takes videos up to {size:.0f} MB; cut or shrink it")


def _shown(name: str) -> str:
    """A name fit for people, reports and headers: its last part, nothing that is not printed."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(c if c.isprintable() else "_" for c in last).strip(" .")
    return clean[:_LONGEST_NAME] or "video"


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
    job = await store.add(folder, _shown(library[number].name), library[number])
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
    responses=problems(404, 409, 422),
)
async def set_prompt(
    job: TheJob, number: Number, frame: Frame, given: schemas.BoxIn, store: TheStore
) -> dict[str, Any]:
    """Give or correct an object's box on a frame.

    Results up to the neighbouring boxes are undone; `track` makes them anew. Tracking that runs is
    paused.
    """
    await store.halt(job)
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
    await store.halt(job)
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
    await store.halt(job)
    job.remove_object(number)
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
    responses=problems(404, 409, 429),
)
async def track(
    job: TheJob, store: TheStore, how: schemas.TrackIn | None = None
) -> dict[str, bool]:
    """Track what is missing, forward and backward from the boxes given by hand."""
    return {"started": store.track(job, backward=how.backward if how else job.backward)}


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
    return JSONResponse(await asyncio.to_thread(_results, job, start, stop))


def _results(job: Job, start: int, stop: int | None) -> dict[str, Any]:
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


@router.get(
    "/jobs/{id}/frames/{frame}",
    tags=["pictures"],
    response_class=Response,
    responses={**_JPEG, **problems(404)},
)
async def frame_picture(job: TheJob, frame: Frame) -> Response:
    """A frame as JPEG, as large as the copy that the page plays."""
    if frame == 0 and not job.prepared:
        data = job.folder.read("first.jpg")
    else:
        data = await asyncio.to_thread(_still, job, frame)
    if data is None:
        raise RefusedError(404, f"there is no frame {frame} yet")
    return Response(data, media_type="image/jpeg", headers=_FRAME_HEADERS)


def _still(job: Job, frame: int) -> bytes | None:
    from ..video.clip import Clip

    if not job.prepared or frame >= job.video["count"] or not _plain(job, "view.mp4"):
        return None
    # This copy was encoded here: unlike an upload it can be opened without a worker.
    times = job.times()
    picture = Clip(job.folder.file("view.mp4"), times - times[0]).frame(frame).image
    return None if picture is None else jpeg(picture)


@router.get(
    "/jobs/{id}/thumb",
    tags=["pictures"],
    response_class=Response,
    responses={**_JPEG, **problems(404)},
)
async def thumb(job: TheJob) -> Response:
    """The first frame, small."""
    data = job.folder.read("thumb.jpg")
    if data is None:
        raise RefusedError(404, "there is no picture yet")
    return Response(data, media_type="image/jpeg", headers=_FRAME_HEADERS)


@router.get(
    "/jobs/{id}/video",
    tags=["pictures"],
    response_class=FileResponse,
    responses={**_MEDIA, **problems(404)},
)
async def video(job: TheJob) -> Response:
    """The copy that browsers play: each frame of the video, nothing drawn."""
    if not job.prepared or not _plain(job, "view.mp4"):
        raise RefusedError(404, "this video has not been read to its end yet")
    path = job.folder.file("view.mp4")
    return FileResponse(path, media_type="video/mp4", headers=_FRAME_HEADERS)


def _plain(job: Job, name: str) -> bool:
    """Whether a file is there and is no link to another place."""
    file = job.folder.open(name)
    if file is None:
        return False
    file.close()
    return True


@router.get(
    "/jobs/{id}/look/{number}/{frame}",
    tags=["tracking"],
    response_model=schemas.LookOut,
    responses=problems(404, 422, 429),
)
async def look(job: TheJob, number: Number, frame: Frame, store: TheStore) -> dict[str, Any]:
    """What the network sees in a frame, from the box before it, and what it answers."""
    return await store.look(job, number, frame)


@router.post(
    "/jobs/{id}/render",
    tags=["downloads"],
    status_code=202,
    response_model=schemas.TrackOut,
    responses=problems(404, 409, 429),
)
async def render(job: TheJob, store: TheStore) -> dict[str, bool]:
    """Make the annotated video, which `download/mp4` then gives out."""
    return {"started": store.render(job)}


@router.get(
    "/jobs/{id}/download/{form}",
    tags=["downloads"],
    response_class=Response,
    responses={**_MEDIA, **problems(404, 409)},
)
async def download(
    job: TheJob,
    form: Annotated[str, InPath(pattern=f"^({'|'.join(DOWNLOADS)})$", examples=["csv"])],
) -> Response:
    """Results as a file: the formats of `mixformerv2 formats`, plain JSON, or the annotated MP4."""
    if not job.prepared or not job.prompts:
        raise RefusedError(409, "there is nothing to download yet; track something first")
    suffix = FORMATS[form].suffixes[0] if form in FORMATS else f".{form}"
    name = quote(Path(job.name).stem + "_tracked" + suffix)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    if form == "mp4":
        if job.rendered != job.revision or not _plain(job, "render.mp4"):
            raise RefusedError(409, "the annotated video is not made yet; POST .../render first")
        return FileResponse(job.folder.file("render.mp4"), media_type="video/mp4", headers=headers)
    if form == "json":
        return JSONResponse(
            {"job": job.public(), **await asyncio.to_thread(_results, job, 0, None)},
            headers=headers,
        )
    async with job.lock:
        data = await asyncio.to_thread(_export, job, form)
    return Response(data, media_type=_MIME.get(form, "application/json"), headers=headers)


def _export(job: Job, form: str) -> bytes:
    from ..video.formats import export
    from ..video.formats.journal import Journal

    journal = job.write_journal(TOOL)
    path = job.folder.file(f"export-{form}.part.txt")
    try:
        if form == "jsonl":
            return journal.read_bytes()
        export(Journal(journal), path, form)
        return path.read_bytes()
    finally:
        if path.exists():
            os.unlink(path)
