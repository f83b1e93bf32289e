"""Pictures, videos and results of a job as files."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse

from ..video.formats import FORMATS
from . import schemas
from .job import Job
from .params import OCTETS, Frame, TheJob, TheStore, problems, result_rows
from .refused import RefusedError, writing
from .store import TOOL
from .tasks import jpeg

__all__ = ["DOWNLOADS", "router"]

DOWNLOADS = (*FORMATS, "json", "mp4")
_MIME = {
    "csv": "text/csv",
    "mot": "text/plain",
    "cvat": "application/xml",
    "jsonl": "application/jsonl",
    "mp4": "video/mp4",
}
_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            kind: {"schema": {} if kind == "application/json" else OCTETS}
            for kind in ("application/json", *_MIME.values())
        },
    }
}
_VIDEO: dict[int | str, dict[str, Any]] = {
    200: {"description": "An MP4.", "content": {"video/mp4": {"schema": OCTETS}}}
}
_FRAME_HEADERS = {"Cache-Control": "private, max-age=86400, immutable"}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"description": "A JPEG.", "content": {"image/jpeg": {"schema": OCTETS}}}
}

router = APIRouter(prefix="/api", responses=problems(422))


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
    responses={**_VIDEO, **problems(404)},
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
    responses={**_DOWNLOAD, **problems(404, 409, 507)},
)
async def download(
    job: TheJob,
    form: Annotated[str, InPath(pattern=f"^({'|'.join(DOWNLOADS)})$", examples=["csv"])],
    thin: Annotated[
        float,
        Query(
            ge=0,
            le=1e6,
            allow_inf_nan=False,
            description="CVAT and Label Studio: key frames only where the box leaves a straight "
            "line by more than so many pixels.",
        ),
    ] = 0.0,
) -> Response:
    """Results as a file: the formats of `mixformerv2 formats`, plain JSON, or the annotated MP4."""
    if not job.prepared or not job.prompts:
        raise RefusedError(409, "there is nothing to download yet; track something first")
    suffix = FORMATS[form].suffixes[0] if form in FORMATS else f".{form}"
    name = quote(Path(job.name).stem + "_tracked" + suffix)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    if form == "mp4":
        if job.outdated:
            raise RefusedError(
                409, "the annotated video is of before the last change; POST .../render again"
            )
        if job.rendered != job.revision or not _plain(job, "render.mp4"):
            raise RefusedError(409, "the annotated video is not made yet; POST .../render first")
        return FileResponse(job.folder.file("render.mp4"), media_type="video/mp4", headers=headers)
    if form == "json":
        return JSONResponse(
            {"job": job.public(), **await asyncio.to_thread(result_rows, job, 0, None)},
            headers=headers,
        )
    async with job.lock:
        data = await asyncio.to_thread(_export, job, form, thin)
    return Response(data, media_type=_MIME.get(form, "application/json"), headers=headers)


def _export(job: Job, form: str, thin: float) -> bytes:
    from ..video.formats import export
    from ..video.formats.journal import Journal

    journal = job.write_journal(TOOL)
    path = job.folder.file(f"export-{form}.part.txt")
    try:
        if form == "jsonl":
            return journal.read_bytes()
        with writing():
            export(Journal(journal), path, form, thin=thin)
        return path.read_bytes()
    finally:
        if path.exists():
            os.unlink(path)
