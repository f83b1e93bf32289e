"""Addresses: what of them may be shown, and which files they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from mixformerv2.errors import SourceError
from mixformerv2.video import address
from mixformerv2.video.address import local_name, path_of, public_address, without_secrets


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rtsp://me:secret@cam.local:554/a?b=1", "rtsp://cam.local:554/a?b=1"),
        ("http://h/clip.mp4?user=a&password=secret", "http://h/clip.mp4?user=***&password=***"),
        ("http://h/c.mp4?X-Amz-Signature=secret#secret", "http://h/c.mp4?X-Amz-Signature=***#***"),
        ("http://h/c.mp4?secret", "http://h/c.mp4?***"),
        ("http://h/c.mp4?pin=1234&channel=12&flag=", "http://h/c.mp4?pin=***&channel=12&flag="),
        # Passwords that should have been quoted.
        ("rtsp://admin:pa/secret@host/live", "rtsp://host/live"),
        ("rtsp://admin:12/secret@host/live", "rtsp://host/live"),
        ("rtsp://admin:hun#secret@host/live", "rtsp://host/live"),
        ("rtsp://admin:12?secret@host/live", "rtsp://host/live"),
        ("http://me:pa/secret@host:80/a.mp4", "http://host:80/a.mp4"),
        ("http://me:p@a/secret@host/a.mp4", "http://host/a.mp4"),
        ("http://me:secret@[::1]:80/a.mp4", "http://[::1]:80/a.mp4"),
        # No password, though it looks like one.
        ("http://host:80/@me/a@2x.mp4", "http://host:80/@me/a@2x.mp4"),
        ("http://host/a.mp4?mail=a@b.c", "http://host/a.mp4?mail=***"),
        ("s3://bucket/a b.mp4", "s3://bucket/a b.mp4"),
        ("http://[::1/clip.mp4", "http://[::1/clip.mp4"),
        ("/data/a?b=secret#1@2.mp4", "/data/a?b=secret#1@2.mp4"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_what_is_shown_of_an_address(given: str, shown: str) -> None:
    assert public_address(given) == shown
    assert public_address(shown) == shown


def test_errors_of_others_are_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "404, url='http://me:secret@h/c.mp4?token=secret' (try again)"
    assert without_secrets(text) == "404, url='http://h/c.mp4?token=***' (try again)"
    monkeypatch.setattr(address.time, "sleep", lambda seconds: None)

    def fetch() -> Any:
        raise OSError(text)

    with pytest.raises(SourceError, match=r"token=\*\*\*") as caught:
        address.patiently(fetch, "http://h/c.mp4")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("file:///a/b%20c.mp4", "/a/b c.mp4"),
        ("FILE://localhost/a.mp4", "/a.mp4"),
        ("file:///a.mp4?x#y", "/a.mp4"),
        ("file://[::1/a.mp4", "/a.mp4"),
        ("http://h/a.mp4", "http://h/a.mp4"),
        ("a%20b.mp4", "a%20b.mp4"),
    ],
)
def test_files_by_their_address(place: str, path: str) -> None:
    assert local_name(place) == path


def test_names_without_their_query() -> None:
    assert path_of("http://[::1/a.csv?b#c") == "http://[::1/a.csv"
    assert path_of("a?b.csv") == "a?b.csv"
