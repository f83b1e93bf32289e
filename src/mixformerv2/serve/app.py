"""The server: its page, its API, and how it is put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from .. import __version__
from ..errors import MixFormerError
from . import files, routes, sockets
from .folder import open_root
from .pool import Pool
from .refused import RefusedError
from .security import HEADERS, Guard
from .settings import Settings
from .store import Store

__all__ = ["create_app"]

PAGE = Path(__file__).with_name("page")
_FILES = {
    "app.css": "text/css",
    "icon.svg": "image/svg+xml",
    **{f"{name}.js": "text/javascript" for name in ("app", "api", "stage", "timeline", "live")},
    **{f"{name}.js": "text/javascript" for name in ("player", "panel", "state", "start", "look")},
}
_NO_JSON = "the body cannot be read as JSON"

_ABOUT = """Follow any object through a video from one box.

1. `POST /api/jobs` with the bytes of a video makes a job.
2. `PUT /api/jobs/{id}/objects/1/prompts/0` gives the box of object 1 on frame 0.
3. `POST /api/jobs/{id}/track` tracks; `WS /api/jobs/{id}/events` tells results as they come.
4. `GET /api/jobs/{id}/download/csv` gets them.

A box on a later frame corrects: the stretch between the neighbouring boxes is tracked anew, from
both sides. `WS /api/live` tracks in JPEGs as they are sent."""


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI application.

    Example:
        >>> import tempfile
        >>> app = create_app(Settings(Path(tempfile.mkdtemp())))
        >>> sorted(app.openapi()["paths"])[0]
        '/api/info'
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        lock = open_root(settings.folder)
        pool = Pool(settings.limits, settings.model, settings.engine, settings.threads)
        store = Store(settings.folder, settings.limits, pool, settings.library)
        app.state.pool, app.state.store, app.state.streams = pool, store, 0
        pool.open()
        try:
            await store.open()
            yield
        finally:
            await store.close()
            await pool.close()
            lock.close()

    app = FastAPI(
        title="mixformerv2",
        version=__version__,
        summary="Follow any one object through a video.",
        description=_ABOUT,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        # FastAPI's own pages of documentation fetch scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.include_router(routes.router)
    app.include_router(files.router)
    app.include_router(sockets.router)
    app.add_api_route("/", _index, include_in_schema=False)
    app.add_api_route("/page/{name}", _file, include_in_schema=False)
    app.add_exception_handler(RefusedError, _refusal)
    app.add_exception_handler(MixFormerError, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _other)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(_guard, token=settings.token, hosts=settings.hosts)
    return app


def _guard(app: ASGIApp, token: str | None, hosts: frozenset[str] | None) -> ASGIApp:
    return Guard(app, token, hosts)


async def _index() -> Response:
    return Response((PAGE / "index.html").read_bytes(), media_type="text/html; charset=utf-8")


async def _file(name: str) -> Response:
    kind = _FILES.get(name)
    if kind is None:
        raise HTTPException(404, "not here")
    headers = {"Cache-Control": "no-cache"}
    return Response((PAGE / name).read_bytes(), media_type=kind, headers=headers)


async def _refusal(request: Request, error: Exception) -> Response:
    status, retry = getattr(error, "status", 422), getattr(error, "retry", None)
    headers = None if retry is None else {"Retry-After": str(retry)}
    return JSONResponse({"detail": str(error)}, status, headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = []
    for one in error.errors()[:3]:
        if one["type"] == "json_invalid":
            return JSONResponse({"detail": _NO_JSON}, 422)
        place = ".".join(str(word) for word in one["loc"] if word not in ("body", "path", "query"))
        parts.append(f"{place or 'the request'}: {one['msg']}")
    return JSONResponse({"detail": "; ".join(parts)}, 422)


async def _other(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # FastAPI's word for a body that is no JSON
        return JSONResponse({"detail": _NO_JSON}, 422)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return JSONResponse({"detail": str(error.detail)}, error.status_code, headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    # Answered outside of the guard, which dresses all else.
    sentence = "unexpected error; the server's log says which"
    return JSONResponse({"detail": sentence}, 500, HEADERS)


def _methods(request: Request) -> set[str]:
    """What a path can be asked for; each of its functions knows but its own."""
    paths = request.app.openapi()["paths"]
    asked = request.url.path.split("/")
    found: set[str] = set()
    for path, methods in paths.items():
        parts = path.split("/")
        if len(parts) == len(asked) and all(
            part == word or part.startswith("{") for part, word in zip(parts, asked, strict=True)
        ):
            found |= {method.upper() for method in methods}
    return found or {"GET"}
