"""Who may talk to the server: its own page, and whoever has the token."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "LOOPBACK_NAMES", "UPLOADS", "Guard"]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
UPLOADS = "/api/jobs"
"""Where a body may be large: it goes to the disk piece by piece, and is counted there."""
_LONGEST_BODY = 64 << 10  # bytes of any other
_SAFE = ("GET", "HEAD", "OPTIONS")
_LOCKED = (
    "<!doctype html><html lang=en><meta charset=utf-8>"
    "<meta name=viewport content='width=device-width'><title>Locked</title>"
    "<h1>This server wants its token</h1><p>Open the address that it printed when it was started."
)


class Guard:
    """Answers strangers before anything else sees their request.

    Another site in the same browser can send requests here too. It is told apart by the `Origin`
    and `Sec-Fetch-Site` that browsers add, and by the name it called this machine (`Host`).

    Args:
        app: What is guarded.
        token: Secret that every request must bring, as a cookie or bearer; None on loopback.
        hosts: Names under which the server may be called; None for any.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else {name.lower() for name in hosts}
        self._token = token
        # The cookie is not the token itself, so that a leaked one cannot be typed in elsewhere.
        self._cookie = token and hashlib.sha256(f"cookie {token}".encode()).hexdigest()
        # Cookies know no ports: that of another server on this machine must not overwrite it.
        self._name = f"mixformerv2-{(self._cookie or '')[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._stranger(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, 403, refusal)
            return
        if not self._knows(headers):
            given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
            if scope["type"] == "http" and scope["path"] == "/" and self._same(given, self._token):
                await self._let_in(scope, send)
            else:
                await _refuse(scope, receive, send, 401, "this server wants its token")
            return

        if scope["type"] == "http" and scope["path"] != UPLOADS:
            receive = _sparing(receive)

        async def guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _dress(message)
            await send(message)

        await self._app(scope, receive, guarded)

    def _stranger(self, scope: Scope, headers: Headers) -> str | None:
        """Why a request does not come from this server's own page or a program; None if it may."""
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            origin = urlsplit(headers["origin"]).netloc if "origin" in headers else None
        except ValueError:
            return "the Host or Origin header cannot be read"
        if self._hosts is not None and name not in self._hosts:
            return (
                f"this server is not called {name[:80]!r}; start it with --allow-host {name[:80]}"
            )
        acts = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if acts and origin is not None and origin != host:
            return "requests from pages of other sites are not answered"
        site = headers.get("sec-fetch-site", "none")
        foreign = site not in ("same-origin", "none")
        if foreign and (acts or scope["path"].startswith("/api")):
            return "requests from pages of other sites are not answered"
        return None

    def _knows(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._same(bearer, self._token):
            return True
        # Python's own reader gives none where one of another program on this host is odd.
        cookies = cookie_parser(headers.get("cookie", ""))
        return self._same(cookies.get(self._name, ""), self._cookie)

    @staticmethod
    def _same(given: str, known: str | None) -> bool:
        return known is not None and hmac.compare_digest(given.encode(), known.encode())

    async def _let_in(self, scope: Scope, send: Send) -> None:
        """Keep the token as a cookie, and take it out of the address."""
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{self._name}={self._cookie}; Path=/; HttpOnly; SameSite=Lax{secure}"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        start: Message = {"type": "http.response.start", "status": 303, "headers": headers}
        _dress(start)
        await send(start)
        await send({"type": "http.response.body", "body": b""})


def _sparing(receive: Receive) -> Receive:
    """The same body as long as it is no longer than a box can be: it is kept in memory whole."""
    length = 0

    async def receive_some() -> Message:
        nonlocal length
        message = await receive()
        length += len(message.get("body", b""))
        if length > _LONGEST_BODY:
            most = _LONGEST_BODY >> 10
            raise HTTPException(413, f"more than {most} KB are no box; a video goes to {UPLOADS}")
        return message

    return receive_some


def _dress(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    socket = scope["type"] == "websocket"
    kind = "websocket.http.response" if socket else "http.response"
    if socket and "websocket.http.response" not in scope.get("extensions", {}):
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": sentence[:120]})
        return
    api = socket or scope["path"].startswith("/api")
    body = json.dumps({"detail": sentence}) if api else _LOCKED
    if not api and status == 403:
        body = f"<!doctype html><title>Refused</title><p>{sentence.replace('<', '&lt;')}"
    mime = b"application/json" if api else b"text/html; charset=utf-8"
    headers: list[Any] = [(b"content-type", mime)]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start: Message = {"type": f"{kind}.start", "status": status, "headers": headers}
    _dress(start)
    await send(start)
    await send({"type": f"{kind}.body", "body": body.encode()})
