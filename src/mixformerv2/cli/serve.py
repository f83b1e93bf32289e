"""`mixformerv2 serve`: the page and the API."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from ..errors import ConfigError, SourceError
from .terminal import say, sentences

if TYPE_CHECKING:
    from ..serve.settings import Settings

__all__ = ["EPILOG", "run"]

EPILOG = (
    "The token may also come from MIXFORMERV2_TOKEN. Jobs are kept in a folder of yours alone, "
    "and go on when the server is started again. Ctrl-C ends it."
)

_SHORTEST_TOKEN = 12
_ASSETS = Path(__file__).resolve().parent.parent / "assets"


def run(
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VIDEO]...",
            help="Videos of this machine to offer; a camera's number or an address is offered as "
            "a live picture.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all, with a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one.")
    ] = 8321,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="MIXFORMERV2_TOKEN", help="Ask for this secret; made up if needed."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Name of this machine behind a proxy, with a token; names that are not given are "
            "refused then.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Shipped model, or a bundle folder.")
    ] = "t",
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="auto, onnx, openvino or torch.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of each worker's engine.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where jobs are kept.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="Jobs that run at the same time.")
    ] = 4,
    streams: Annotated[
        int, typer.Option("--streams", min=1, max=256, help="Live streams at the same time.")
    ] = 4,
    max_upload: Annotated[
        int, typer.Option("--max-upload", min=1, metavar="MB", help="Largest upload.")
    ] = 1024,
    max_minutes: Annotated[
        float, typer.Option("--max-minutes", min=0.01, help="Longest video.")
    ] = 15.0,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", min=0.01, help="Largest frames.")
    ] = 9.5,
    keep_hours: Annotated[
        float,
        typer.Option("--keep-hours", min=0.01, help="Remove jobs that nobody used for so long."),
    ] = 24.0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Serve a page: draw boxes, watch the tracking, correct it, download the results.

    The page talks to an API that programs can use as well; its description is at
    /api/openapi.json. Everything stays on this machine unless --host says otherwise.
    """
    from ..runtime.select import ENGINES, check_threads
    from ..serve.limits import Limits
    from ..serve.security import LOOPBACK_NAMES
    from ..serve.settings import Settings
    from ..weights.bundle import find_bundle

    find_bundle(model)
    if engine not in ENGINES:
        raise ConfigError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    check_threads(threads)
    loopback = _is_loopback(host)
    # A proxy on this machine lets others in where loopback alone is listened to.
    private = loopback and all(map(_is_loopback, allow_host or ()))
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise ConfigError(
            f"a token has at least {_SHORTEST_TOKEN} characters; leave it out to get one made"
        )
    library, live = _offers(videos or [])
    settings = Settings(
        folder=folder or _home(port),
        model=model,
        engine=engine,
        threads=threads,
        library=library,
        live=live,
        token=token or (None if private else secrets.token_urlsafe(18)),
        # The address that is printed is answered in any case.
        hosts=LOOPBACK_NAMES | {_name(host), *(allow_host or ())}
        if loopback or allow_host
        else None,
        limits=Limits(
            upload_bytes=max_upload << 20,
            seconds=60 * max_minutes,
            frames=round(60 * 60 * max_minutes),
            pixels=round(1e6 * max_megapixels),
            workers=workers,
            streams=streams,
            keep_seconds=3600 * keep_hours,
        ),
    )
    with sentences(quiet=False):
        _serve(settings, host, port, open_browser)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _offers(videos: list[str]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files to choose from, and live pictures by their names."""
    from ..video.address import local_name, public_address

    library: list[Path] = []
    live: list[tuple[str, str]] = []
    for text in map(local_name, videos):
        path = Path(text)
        if path.is_file():
            library.append(path.resolve())
        elif text.isascii() and text.isdigit():
            live.append((f"camera {text}", text))
        elif "://" in text:
            live.append((public_address(text), text))
        else:
            raise SourceError(f"{text}: there is no such file here; check the name")
    demo = _ASSETS / "demo.mp4"
    return [*library, *([demo] if demo.is_file() else [])], live


def _home(port: int) -> Path:
    """Jobs outlive the server, but not in the folder that it happens to be started in."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "mixformerv2" / (f"serve-{port}" if port else "serve")


def _serve(settings: Settings, host: str, port: int, open_browser: bool) -> None:
    import uvicorn

    from ..serve.app import create_app
    from ..serve.browser import open_page
    from ..serve.folder import open_root

    open_root(settings.folder).close()  # a sentence now, where the server could only show a trace
    with _listen(host, port) as listener:
        address = _address(host, listener.getsockname()[1], settings.token)
        config = uvicorn.Config(
            create_app(settings),
            log_level="warning",
            access_log=False,  # addresses can hold the token
            server_header=False,
            ws_per_message_deflate=False,  # JPEGs do not get smaller
            ws_max_size=settings.limits.live_bytes + 1024,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
            limit_concurrency=400,
        )
        say(f"the page is at {address}")
        say(f"jobs are kept in {settings.folder} for {settings.limits.keep_seconds / 3600:g} hours")
        if open_browser:
            open_page(address)
        with contextlib.suppress(KeyboardInterrupt):  # the usual end of a server
            uvicorn.Server(config).run(sockets=[listener])


def _address(host: str, port: int, token: str | None) -> str:
    name = _name(host)
    query = f"?token={quote(token, safe='')}" if token else ""
    # An IPv6 number stands in brackets.
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/{query}"


def _name(host: str) -> str:
    """What to call a server that listens there; 0.0.0.0 is no place to go to."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host} port {port}: {reason}; try --port 0 for a free one"
        ) from error
    # asyncio leaves sockets that it did not make as they are: the boxes of a live stream would wait
    # until its next picture acknowledges the boxes before them. Connections inherit this.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
