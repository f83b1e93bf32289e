"""A server in the test's own process, with workers as they are, and small videos."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from mixformerv2.serve.app import create_app
from mixformerv2.serve.limits import Limits
from mixformerv2.serve.settings import Settings

HOME = "http://localhost"


@contextlib.contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[TestClient]:
    """A client of a new server; `limits` as a mapping."""
    limits = Limits(**settings.pop("limits", {}))
    app = create_app(Settings(folder, limits=limits, **settings))
    with TestClient(app, base_url=HOME) as client:
        yield client


def socket(path: str) -> str:
    """Address of a WebSocket, under a name that the server knows."""
    return f"ws://localhost{path}"


def upload(client: TestClient, data: bytes, name: str = "clip.mp4") -> str:
    """Make a job and wait until its video was read."""
    answer = client.post("/api/jobs", params={"name": name}, content=data)
    assert answer.status_code == 201, answer.text
    job = str(answer.json()["id"])
    settle(client, job)
    return job


def settle(client: TestClient, job: str) -> dict[str, Any]:
    """The job, once nothing runs for it any more."""
    for _ in range(3000):
        content: dict[str, Any] = client.get(f"/api/jobs/{job}").json()
        if content["status"] in ("ready", "failed"):
            return content
        time.sleep(0.02)
    raise AssertionError(f"still {content['status']}")


def put(client: TestClient, job: str, box: Any, frame: int = 0, number: int = 1) -> Any:
    """Give a box."""
    place = f"/api/jobs/{job}/objects/{number}/prompts/{frame}"
    return client.put(place, json={"box": box})


def track(client: TestClient, job: str, **how: Any) -> dict[str, Any]:
    """Track all that is missing."""
    answer = client.post(f"/api/jobs/{job}/track", json=how)
    assert answer.status_code == 202, answer.text
    return settle(client, job)


def rows(client: TestClient, job: str, number: int = 1) -> list[Any]:
    """All rows of an object."""
    content = client.get(f"/api/jobs/{job}/results").json()
    found = [one for one in content["objects"] if one["id"] == number]
    return list(found[0]["rows"])
